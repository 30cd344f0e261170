//! One session's connections to the frontends, and one attempt over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bazaar_history::{Answer, Call, Reason};
use bazaar_rpc::http::{Data, OrderView, Stock, TransactionNumber};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

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

/// What came of an attempt.
pub(super) enum Attempt {
    /// It was done.
    Done(Answer),
    /// It was not done, and will not be.
    Refused(Reason),
    /// It cannot have reached the frontend, or was answered as not done and may be tried again.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// No frontend ever gives such an answer.
    Broken(String),
}

/// Connections to the frontends, kept open between requests.
pub(super) struct Connections {
    frontends: Arc<[Frontend]>,
    open: Vec<Option<SendRequest<Full<Bytes>>>>,
}

impl Connections {
    pub(super) fn new(frontends: Arc<[Frontend]>) -> Self {
        let open = frontends.iter().map(|_| None).collect();
        Self { frontends, open }
    }

    /// Makes one attempt at `call` at the frontend in `place`, and waits for its answer for so long;
    /// then the connection is reset.
    pub(super) async fn attempt(
        &mut self,
        place: usize,
        call: &Call,
        patience: Duration,
    ) -> Attempt {
        let mut sender = match self.sender(place).await {
            Ok(sender) => sender,
            Err(problem) => return Attempt::NotDone(problem),
        };
        let exchange = async {
            let response = sender.send_request(request(call)).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::from_parts(head, body))
        };
        match timeout(patience, exchange).await {
            Ok(Ok(response)) => {
                self.open[place] = Some(sender);
                read(call, &response)
            }
            Ok(Err(error)) => Attempt::Unknown(format!("{error:?}")),
            Err(_) => Attempt::Unknown(format!("no answer within {patience:?}")),
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

fn request(call: &Call) -> Request<Full<Bytes>> {
    let request = Request::builder().header("host", "bazaar");
    let built = match call {
        Call::Lookup { item } => request.uri(format!("/stocks/{item}")).body(Full::default()),
        Call::Query { number } => request
            .uri(format!("/orders/{number}"))
            .body(Full::default()),
        Call::Trade {
            item,
            side,
            quantity,
            key,
        } => {
            let body = json!({ "name": item, "type": side, "quantity": quantity }).to_string();
            request
                .method("POST")
                .uri("/orders")
                .header("content-type", "application/json")
                .header("idempotency-key", key)
                .body(Full::from(body))
        }
    };
    built.expect("the items' names are made for paths")
}

fn read(call: &Call, response: &Response<Bytes>) -> Attempt {
    let status = response.status();
    let text = || format!("{status}: {}", String::from_utf8_lossy(response.body()));
    match (status, call) {
        (StatusCode::OK, call) => match answer(call, response) {
            Some(answer) => Attempt::Done(answer),
            None => Attempt::Broken(text()),
        },
        (StatusCode::BAD_REQUEST, Call::Trade { .. }) if text().contains("not enough stock") => {
            Attempt::Refused(Reason::NotEnoughStock { available: None })
        }
        (StatusCode::NOT_FOUND, Call::Query { .. }) => Attempt::Refused(Reason::NotFound),
        (StatusCode::SERVICE_UNAVAILABLE, _) => Attempt::NotDone(text()),
        (StatusCode::GATEWAY_TIMEOUT, _) => Attempt::Unknown(text()),
        _ => Attempt::Broken(text()),
    }
}

fn answer(call: &Call, response: &Response<Bytes>) -> Option<Answer> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    Some(match call {
        Call::Lookup { .. } => {
            let stock: Stock = data(response)?;
            Answer::Stock {
                quantity: stock.quantity,
                version: Some(stock.version),
            }
        }
        Call::Trade { .. } => Answer::Traded {
            number: data::<TransactionNumber>(response)?.transaction_number,
            version: header("item-version").and_then(|version| version.parse().ok()),
            replayed: header("idempotent-replayed") == Some("true"),
        },
        Call::Query { .. } => {
            let order: OrderView = data(response)?;
            Answer::Order {
                item: order.name,
                side: order.side,
                quantity: order.quantity,
                version: Some(order.version),
            }
        }
    })
}

fn data<T: DeserializeOwned>(response: &Response<Bytes>) -> Option<T> {
    serde_json::from_slice::<Data<T>>(response.body())
        .ok()
        .map(|body| body.data)
}
