//! A client that sends one request over one connection, and records what it is told.

use std::time::Duration;

use anyhow::Context as _;
use bazaar_client::BaseUrl;
use bazaar_history::http::{self, Told};
use bazaar_history::{Answer, Call, Event, Reason};
use bazaar_rpc::ItemName;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::recorder::Session;
use super::{Clients, INSIST_FOR};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer may take: a frontend gives up before.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);

/// The longest answer, in bytes.
const MAX_BODY: usize = 1 << 20;

/// How long to wait before a request is sent again, once every frontend was asked.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A client that records.
pub(crate) struct Caller {
    session: Session,
}

impl Caller {
    /// One that records as `session`.
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Makes a call at one frontend, by its place, once; returns whether it is known what came of it.
    pub(crate) async fn call(
        &mut self,
        clients: &Clients,
        place: usize,
        call: &Call,
    ) -> anyhow::Result<bool> {
        let at = &clients.urls[place % clients.urls.len()];
        let request = request(at, call, &clients.account.token())?;
        self.session.invoke(at.address(), call.clone())?;
        let frontend = at.address().to_owned();
        let event = match send(at, request).await {
            Ok((status, headers, body)) => {
                if status == StatusCode::UNAUTHORIZED {
                    clients.account.is_refused();
                }
                let header = |name: &str| headers.get(name)?.to_str().ok();
                match Told::by(call, status.as_u16(), header, &body) {
                    Told::Done(answer) => Event::Ok { frontend, answer },
                    Told::Refused(reason) => Event::Refused {
                        frontend: Some(frontend),
                        reason,
                    },
                    Told::NotDone(reason) | Told::Unknown(reason) | Told::Broken(reason) => {
                        Event::Unknown { reason }
                    }
                }
            }
            Err(Failure::Unreached(reason)) => Event::Refused {
                frontend: None,
                reason: Reason::Other(reason),
            },
            Err(Failure::Unanswered(reason)) => Event::Unknown { reason },
        };
        let is_known = match &event {
            Event::Ok { answer, .. } => {
                if let Answer::Traded { number, .. } = answer {
                    clients.placed(*number, call);
                }
                true
            }
            Event::Refused { frontend, .. } => frontend.is_some(),
            Event::Invoke { .. } | Event::Unknown { .. } => false,
        };
        self.session.complete(event)?;
        Ok(is_known)
    }

    /// Makes a call at one frontend after the other until it is known what came of it.
    pub(crate) async fn insist(
        &mut self,
        clients: &Clients,
        first: usize,
        call: &Call,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + INSIST_FOR;
        for attempt in 1.. {
            if self.call(clients, first + attempt, call).await? || Instant::now() > deadline {
                break;
            }
            if attempt % clients.urls.len() == 0 {
                sleep(BACK_OFF).await;
            }
        }
        Ok(())
    }
}

/// The request that `call` is.
fn request(at: &BaseUrl, call: &Call, token: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    let http::Request {
        method,
        path,
        headers,
        body,
    } = http::Request::new(call, token);
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    Ok(request
        .header("host", at.address())
        .body(Full::from(body))?)
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

pub(super) async fn send(
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
