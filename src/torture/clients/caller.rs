//! A client that sends one request over one connection, and records what it is told.

use std::time::Duration;

use anyhow::Context as _;
use bazaar_client::BaseUrl;
use bazaar_history::{Answer, Call, Event, Reason};
use bazaar_rpc::http::{Data, Problem, TransactionNumber};
use bazaar_rpc::{ItemName, Quantity, Side};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::recorder::Session;
use super::{Clients, INSIST_FOR, Intent};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer may take: a frontend gives up before.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);

/// The longest answer, in bytes.
const MAX_BODY: usize = 1 << 20;

/// How long to wait before a trade is sent again, once every frontend was asked.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A client that records.
pub(crate) struct Caller {
    session: Session,
}

/// The body of a trade.
#[derive(Serialize)]
struct NewOrder<'a> {
    name: &'a ItemName,
    quantity: Quantity,
    #[serde(rename = "type")]
    side: Side,
}

/// The body of a trade of `intent`.
pub(super) fn body(intent: &Intent) -> Bytes {
    let Intent {
        item,
        side,
        quantity,
        ..
    } = intent;
    let order = NewOrder {
        name: item,
        quantity: *quantity,
        side: *side,
    };
    serde_json::to_vec(&order)
        .expect("a new order is JSON")
        .into()
}

/// The call that `intent` is, for its history.
pub(super) fn call(intent: &Intent) -> Call {
    Call::Trade {
        item: intent.item.clone(),
        side: intent.side,
        quantity: intent.quantity,
        key: intent.key.clone(),
    }
}

impl Caller {
    /// One that records as `session`.
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Sends a trade to one frontend, once; returns whether it is known what came of it.
    pub(crate) async fn trade(&mut self, at: &BaseUrl, intent: &Intent) -> anyhow::Result<bool> {
        let request = Request::post("/orders")
            .header("host", at.address())
            .header("content-type", "application/json")
            .header("idempotency-key", &intent.key)
            .body(Full::new(body(intent)))?;
        self.session.invoke(at.address(), call(intent))?;
        let event = match send(at, request).await {
            Ok((status, headers, body)) => outcome(at, status, &headers, &body),
            Err(Failure::Unreached(reason)) => Event::Refused {
                frontend: None,
                reason: Reason::Other(reason),
            },
            Err(Failure::Unanswered(reason)) => Event::Unknown { reason },
        };
        let is_known = match &event {
            Event::Ok { .. } => true,
            Event::Refused { frontend, .. } => frontend.is_some(),
            Event::Invoke { .. } | Event::Unknown { .. } => false,
        };
        self.session.complete(event)?;
        Ok(is_known)
    }

    /// Sends a trade through one frontend after the other until it is known what came of it.
    pub(crate) async fn insist(
        &mut self,
        clients: &Clients,
        first: usize,
        intent: &Intent,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + INSIST_FOR;
        for attempt in 1.. {
            let at = &clients.urls[(first + attempt) % clients.urls.len()];
            if self.trade(at, intent).await? || Instant::now() > deadline {
                break;
            }
            if attempt % clients.urls.len() == 0 {
                sleep(BACK_OFF).await;
            }
        }
        Ok(())
    }
}

/// The names of the items of the shop `stocks`.
pub(crate) async fn items(at: &BaseUrl) -> anyhow::Result<Vec<ItemName>> {
    #[derive(Deserialize)]
    struct Product {
        name: ItemName,
    }
    let request = Request::get("/products?shop=stocks&limit=1000")
        .header("host", at.address())
        .body(Full::default())?;
    let (status, _, body) = send(at, request).await?;
    anyhow::ensure!(status == StatusCode::OK, "{at} answered {status}");
    let products: Vec<Product> = serde_json::from_slice(&body).context("the list of items")?;
    Ok(products.into_iter().map(|product| product.name).collect())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody was reached, so nothing was asked.
    #[error("nobody was reached: {0}")]
    Unreached(String),
    /// It was asked.
    #[error("no answer: {0}")]
    Unanswered(String),
}

async fn send(
    at: &BaseUrl,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
    let unreached = |why: &dyn std::fmt::Display| Failure::Unreached(why.to_string());
    let unanswered = |why: &dyn std::fmt::Display| Failure::Unanswered(why.to_string());
    let stream = connect(at).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreached(&error))?;
    let exchange = async move {
        let response = sender.send_request(request).await;
        let (parts, body) = response.map_err(|error| unanswered(&error))?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| unanswered(&error))?.to_bytes();
        Ok((parts.status, parts.headers, body))
    };
    // The connection ends with the answer; whether it ends well is of no interest then.
    let both = async { tokio::join!(exchange, connection).0 };
    timeout(ANSWER_LIMIT, both)
        .await
        .unwrap_or_else(|elapsed| Err(unanswered(&elapsed)))
}

/// Opens a connection.
pub(super) async fn connect(at: &BaseUrl) -> Result<TcpStream, Failure> {
    let unreached = |why: &dyn std::fmt::Display| Failure::Unreached(why.to_string());
    let opened = timeout(CONNECT_LIMIT, TcpStream::connect(at.address())).await;
    opened
        .map_err(|elapsed| unreached(&elapsed))?
        .map_err(|error| unreached(&error))
}

fn outcome(at: &BaseUrl, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Event {
    let frontend = at.address().to_owned();
    if status.is_success() {
        let header = |name| headers.get(name)?.to_str().ok();
        return match serde_json::from_slice::<Data<TransactionNumber>>(body) {
            Ok(made) => Event::Ok {
                frontend,
                answer: Answer::Traded {
                    number: made.data.transaction_number,
                    version: header("item-version").and_then(|version| version.parse().ok()),
                    replayed: header("idempotent-replayed") == Some("true"),
                },
            },
            Err(error) => Event::Unknown {
                reason: format!("an acknowledgement without a number: {error}"),
            },
        };
    }
    let problem = serde_json::from_slice::<Problem>(body);
    let detail = problem.map_or_else(|_| status.to_string(), |problem| problem.detail);
    match status {
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Event::Refused {
            frontend: Some(frontend),
            reason: Reason::Other(detail),
        },
        _ => Event::Unknown { reason: detail },
    }
}
