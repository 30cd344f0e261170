//! HTTP over the simulated network, as a client of the frontends speaks it.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

/// A connection to a frontend. Requests go one after the other; when one is dropped before its
/// answer, the connection is closed.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to `frontend`. Waits as long as it takes: put it under a timeout.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(frontend: SocketAddr) -> io::Result<Self> {
        let stream = turmoil::net::TcpStream::connect(frontend).await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // How it ends shows in the requests.
        drop(tokio::spawn(async move { drop(connection.await) }));
        Ok(Self { sender })
    }

    /// Sends a request with a JSON body, or none where it is empty; returns the answer whole. `key`
    /// is its idempotency key.
    ///
    /// # Errors
    /// When the connection ends before the answer: what became of the request is unknown, unless
    /// [`is_canceled`](hyper::Error::is_canceled).
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: impl Into<Bytes>,
    ) -> hyper::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "bazaar");
        request = request.header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Full::new(body.into()))
            .expect("the path and the key are ASCII");
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// Whether no request can be sent any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
