//! A small HTTP client: one connection a request unless a test keeps one, and one more try while it
//! is told that nothing was done and that it may try again, as it may be on a machine that does many
//! other things.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any deadline of the service.
const PATIENCE: Duration = Duration::from_secs(20);

const JSON: (&str, &str) = ("content-type", "application/json");

/// How long to wait before a request is made again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// A header as text; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Checks that this is a problem document of `status`, well-formed and with a detail; returns
    /// the detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["error"]["code"], status);
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(!message.is_empty());
        let detail = body["detail"].as_str().expect("a detail");
        assert!(!detail.is_empty());
        detail.into()
    }
}

/// A kept connection.
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            host: address.to_string(),
            sender,
        })
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        timeout(PATIENCE, async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        })
        .await?
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }
}

/// One request on a connection of its own, made again while it is told to try again later.
pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let body = body.into();
    let begun = Instant::now();
    loop {
        let answer = send_once(address, method.clone(), path, headers, body.clone()).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE || begun.elapsed() > PATIENCE {
            return answer;
        }
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// One request on a connection of its own.
pub(crate) async fn send_once(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut connection = Connection::open(address).await.unwrap();
    connection.send(method, path, headers, body).await.unwrap()
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, Method::GET, path, &[], Bytes::new()).await
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    post_with(address, path, &[], body).await
}

pub(crate) async fn post_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let headers = [&[JSON], headers].concat();
    send(address, Method::POST, path, &headers, body.to_string()).await
}

/// One request, as [`post`] makes it.
pub(crate) async fn post_once(address: SocketAddr, path: &str, body: &Value) -> Answer {
    send_once(address, Method::POST, path, &[JSON], body.to_string()).await
}
