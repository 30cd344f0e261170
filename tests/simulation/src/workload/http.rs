//! One session's connections to the frontends, and one attempt over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bazaar_history::Call;
use bazaar_history::http::{Request, Told};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::accounts::Tokens;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// A frontend, as clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Frontend {
    /// Its name, such as `frontend/1`.
    pub(crate) name: String,
    /// Where it serves HTTP.
    pub(crate) address: SocketAddr,
}

/// Connections to the frontends, kept open between requests.
pub(super) struct Connections {
    frontends: Arc<[Frontend]>,
    open: Vec<Option<SendRequest<Full<Bytes>>>>,
    tokens: Arc<Tokens>,
}

impl Connections {
    pub(super) fn new(frontends: Arc<[Frontend]>, tokens: Arc<Tokens>) -> Self {
        let open = frontends.iter().map(|_| None).collect();
        Self {
            frontends,
            open,
            tokens,
        }
    }

    /// Makes one attempt at `call` at the frontend in `place`, and waits for its answer for so long;
    /// then the connection is reset.
    pub(super) async fn attempt(&mut self, place: usize, call: &Call, patience: Duration) -> Told {
        let mut sender = match self.sender(place).await {
            Ok(sender) => sender,
            Err(problem) => return Told::NotDone(problem),
        };
        let exchange = async {
            let response = sender
                .send_request(request(call, self.tokens.of(call)))
                .await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::from_parts(head, body))
        };
        match timeout(patience, exchange).await {
            Ok(Ok(response)) => {
                self.open[place] = Some(sender);
                read(call, &response)
            }
            Ok(Err(error)) => Told::Unknown(format!("{error:?}")),
            Err(_) => Told::Unknown(format!("no answer within {patience:?}")),
        }
    }

    async fn sender(&mut self, place: usize) -> Result<SendRequest<Full<Bytes>>, String> {
        if let Some(sender) = self.open[place].take()
            && sender.is_ready()
        {
            return Ok(sender);
        }
        let connecting = async {
            let stream = connect(self.frontends[place].address).await?;
            handshake(TokioIo::new(stream))
                .await
                .map_err(std::io::Error::other)
        };
        match timeout(CONNECT, connecting).await {
            Ok(Ok((sender, connection))) => {
                // Ends with the sender, or with the connection.
                tokio::spawn(connection);
                Ok(sender)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the connection takes long".into()),
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<bazaar_rpc::net::TcpStream> {
    bazaar_rpc::net::TcpStream::connect(address).await
}

fn request(call: &Call, token: &str) -> hyper::Request<Full<Bytes>> {
    let Request {
        method,
        path,
        headers,
        body,
    } = Request::new(call, token);
    let mut request = hyper::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.header("host", "bazaar").body(Full::from(body));
    request.expect("what a history says is fit for a request")
}

fn read(call: &Call, response: &Response<Bytes>) -> Told {
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    Told::by(call, response.status().as_u16(), header, response.body())
}
