//! An HTTP/1.1 client that sends whatever it is told to.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::in_time;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// Read, and not yet part of a reply.
    unread: Vec<u8>,
}

/// A reply. The body is read as JSON; null where it is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Checks that this is a problem document of `status` whose detail contains `detail`.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, detail: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(self.json["status"], status, "{self:?}");
        assert_eq!(self.json["error"]["code"], status, "{self:?}");
        assert!(self.json["error"]["message"].is_string(), "{self:?}");
        let told = self.json["detail"].as_str().unwrap();
        assert!(
            told.contains(detail),
            "{told:?} does not contain {detail:?}"
        );
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends a request, and reads the reply to it. The body has no content type unless `headers`
    /// give one.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bazaar\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.write(&[head.as_bytes(), body.as_bytes()].concat())
            .await;
        self.read(method != "HEAD").await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        in_time(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Reads one reply.
    pub(crate) async fn read(&mut self, with_body: bool) -> Reply {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.read_more().await;
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        let with_body = with_body && !matches!(status, 204 | 304);
        let headers = lines.map(header).collect();
        let mut reply = Reply {
            status,
            headers,
            body: String::new(),
            json: Value::Null,
        };
        if with_body {
            let length = reply.header("content-length").unwrap().parse().unwrap();
            while self.unread.len() < length {
                self.read_more().await;
            }
            reply.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        }
        if !reply.body.is_empty() {
            reply.json = serde_json::from_str(&reply.body).unwrap();
        }
        reply
    }

    /// Waits until the other end has closed the connection.
    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(in_time(self.stream.read(&mut [0])).await.unwrap_or(0), 0);
    }

    async fn read_more(&mut self) {
        let read = in_time(self.stream.read_buf(&mut self.unread))
            .await
            .unwrap();
        assert!(read > 0, "the connection was closed");
    }
}
