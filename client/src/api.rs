//! Bazaar's HTTP interface, as far as the client uses it: what to send, and what an answer means.

use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::http::{Data, OrderView, StandingOrder, Stock, TransactionNumber, percent_encoded};
use bazaar_rpc::{ItemName, ItemNumber, OrderNumber, Quantity, Side, Version};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::connection::{Answer, Call, Connection};
use crate::history::Recorder;
use crate::{BaseUrl, Config, history};

/// The most orders that are asked for at a time.
pub(crate) const PAGE: usize = 1000;

/// The most items that are asked for at a time.
const ITEMS_PAGE: usize = 1000;

/// A trade that is to be made, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) name: ItemName,
    pub(crate) side: Side,
    pub(crate) quantity: Quantity,
    /// The idempotency key.
    pub(crate) key: String,
}

/// What became of a trade.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is made, under this number.
    Done(Done),
    /// It is not made, for a reason that a correct client must expect, such as too little stock.
    Refused(Error),
    /// It is not made, for a reason that a correct client need not expect.
    Rejected(Error),
    /// It never left this process.
    Unsent(String),
    /// It may have been made, or may still be.
    Unknown(String),
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) number: OrderNumber,
    /// The item's version after it, where the answer says.
    pub(crate) version: Option<Version>,
    /// Whether the answer is marked as one that was given before.
    pub(crate) replayed: bool,
}

/// An answer that is none.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody answered in time.
    #[error("no answer: {0}")]
    Unanswered(String),
    /// An error was answered.
    #[error("answered with {status}: {message}")]
    Status { status: StatusCode, message: String },
    /// The body is not what the interface promises.
    #[error("the answer breaks the interface: {0}")]
    Malformed(String),
}

/// One session's way to Bazaar.
#[derive(Debug)]
pub(crate) struct Api {
    connection: Connection,
    recorder: Option<Recorder>,
    retry_for: Duration,
    /// Attempts beyond the first, since they were last asked for.
    retries: u64,
}

/// The body of a trade.
#[derive(Serialize)]
struct NewOrder<'a> {
    name: &'a ItemName,
    quantity: Quantity,
    #[serde(rename = "type")]
    side: Side,
}

/// What of a product the client reads.
#[derive(Debug, Deserialize)]
struct Product {
    id: ItemNumber,
    name: ItemName,
}

impl Api {
    /// Session number `session`'s way, on which `recorder` records what is asked and answered.
    pub(crate) fn new(
        targets: Arc<[BaseUrl]>,
        session: u32,
        config: &Config,
        recorder: Option<Recorder>,
    ) -> Self {
        Self {
            connection: Connection::new(targets, session as usize, config.timeout),
            recorder,
            retry_for: config.retry_for,
            retries: 0,
        }
    }

    /// The attempts beyond the first that requests took, since the last call.
    pub(crate) fn take_retries(&mut self) -> u64 {
        std::mem::take(&mut self.retries)
    }

    /// The request that [`Api::lookup`] of `name` sends.
    pub(crate) fn lookup_call(name: &ItemName, no_cache: bool) -> Call {
        let path = format!("/stocks/{}", percent_encoded(name.as_str()));
        Call {
            no_cache,
            ..Call::get(uri(&path))
        }
    }

    /// Whether what is asked and answered was to be recorded, and no longer can be.
    pub(crate) fn has_lost_history(&self) -> bool {
        self.recorder.as_ref().is_some_and(Recorder::is_broken)
    }

    /// Looks `name` up by `call`, which is made for it.
    pub(crate) async fn lookup(&mut self, name: &ItemName, call: &Call) -> Result<Stock, Error> {
        let asked = || history::Call::Lookup { item: name.clone() };
        self.invoke(asked).await;
        let stock = self.get::<Data<Stock>>(call).await.map(|stock| stock.data);
        self.complete(|| history::looked_up(&stock)).await;
        stock
    }

    /// Trades, once, however many attempts it takes.
    pub(crate) async fn trade(&mut self, intent: &Intent) -> Outcome {
        self.invoke(|| history::asked(intent)).await;
        let outcome = self.send_trade(intent).await;
        self.complete(|| history::traded(&outcome)).await;
        outcome
    }

    async fn send_trade(&mut self, intent: &Intent) -> Outcome {
        let Intent {
            name,
            side,
            quantity,
            key,
        } = intent;
        let body = serde_json::to_vec(&NewOrder {
            name,
            quantity: *quantity,
            side: *side,
        });
        let call = Call {
            method: Method::POST,
            path: Uri::from_static("/orders"),
            key: Some(HeaderValue::from_str(key).expect("keys are made of ASCII")),
            no_cache: false,
            body: body.expect("a new order is JSON").into(),
        };
        let exchange = self.connection.exchange(&call, self.deadline()).await;
        self.retries += u64::from(exchange.attempts - 1);
        match exchange.answer {
            Ok(answer) if answer.status.is_success() => match done(&answer) {
                Some(done) => Outcome::Done(done),
                None => Outcome::Unknown("an acknowledgement without a number".into()),
            },
            // An earlier attempt may still be under way, and a refusal is not pinned to the key.
            Ok(answer) if exchange.ambiguous => {
                let why = "after an attempt that may have been made";
                Outcome::Unknown(format!("{} {why}", answer.status))
            }
            Ok(answer) => {
                let error = Error::Status {
                    status: answer.status,
                    message: answer.message(),
                };
                match answer.status {
                    StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Outcome::Refused(error),
                    _ => Outcome::Rejected(error),
                }
            }
            Err(problem) if exchange.ambiguous => Outcome::Unknown(problem),
            Err(problem) => Outcome::Unsent(problem),
        }
    }

    /// The order of `number`; none where there is no such order.
    pub(crate) async fn order(
        &mut self,
        number: OrderNumber,
    ) -> Result<Option<StandingOrder>, Error> {
        self.invoke(|| history::Call::Query { number }).await;
        let call = Call::get(uri(&format!("/orders/{number}")));
        let order = self.get::<Data<StandingOrder>>(&call).await;
        let order = found(order.map(|order| order.data));
        self.complete(|| history::queried(&order)).await;
        order
    }

    /// Those of `numbers` (at most [`PAGE`]) that are orders. Bazaar answers "not found" for a whole
    /// page when one is missing, so such a page is halved until the missing ones stand alone.
    pub(crate) async fn orders(
        &mut self,
        numbers: &[OrderNumber],
    ) -> Result<Vec<OrderView>, Error> {
        let mut orders = Vec::with_capacity(numbers.len());
        let mut pages = vec![numbers];
        while let Some(page) = pages.pop() {
            let list: Vec<_> = page.iter().map(ToString::to_string).collect();
            let call = Call::get(uri(&format!("/orders?numbers={}", list.join(","))));
            match found(self.get::<Data<Vec<OrderView>>>(&call).await)? {
                Some(found) => orders.extend(found.data),
                None if page.len() > 1 => {
                    let (left, right) = page.split_at(page.len() / 2);
                    pages.extend([left, right]);
                }
                None => {}
            }
        }
        Ok(orders)
    }

    /// The names of the items in `shop`, at most `limit`.
    pub(crate) async fn items(&mut self, shop: &str, limit: usize) -> Result<Vec<ItemName>, Error> {
        let mut names = Vec::new();
        let mut after = String::new();
        while names.len() < limit {
            let path = format!(
                "/products?shop={}&limit={ITEMS_PAGE}{after}",
                percent_encoded(shop)
            );
            let page: Vec<Product> = self.get(&Call::get(uri(&path))).await?;
            let Some(last) = page.last() else { break };
            after = format!("&after={}", last.id);
            let is_last = page.len() < ITEMS_PAGE;
            names.extend(page.into_iter().map(|product| product.name));
            if is_last {
                break;
            }
        }
        names.truncate(limit);
        Ok(names)
    }

    async fn get<T: DeserializeOwned>(&mut self, call: &Call) -> Result<T, Error> {
        let exchange = self.connection.exchange(call, self.deadline()).await;
        self.retries += u64::from(exchange.attempts - 1);
        let answer = exchange.answer.map_err(Error::Unanswered)?;
        if !answer.status.is_success() {
            return Err(Error::Status {
                status: answer.status,
                message: answer.message(),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|error| Error::Malformed(error.to_string()))
    }

    async fn invoke(&mut self, call: impl FnOnce() -> history::Call) {
        self.connection.return_home();
        if let Some(recorder) = &mut self.recorder {
            recorder
                .invoke(self.connection.target().address().to_owned(), call())
                .await;
        }
    }

    async fn complete(&mut self, completion: impl FnOnce() -> history::Completion) {
        if let Some(recorder) = &mut self.recorder {
            recorder
                .complete(self.connection.target().address().to_owned(), completion())
                .await;
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.retry_for
    }
}

/// Turns "404" into none.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::Status {
            status: StatusCode::NOT_FOUND,
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn done(answer: &Answer) -> Option<Done> {
    let header = |name| answer.headers.get(name)?.to_str().ok();
    let body: Data<TransactionNumber> = serde_json::from_slice(&answer.body).ok()?;
    Some(Done {
        number: body.data.transaction_number,
        version: header("item-version").and_then(|version| version.parse().ok()),
        replayed: header("idempotent-replayed") == Some("true"),
    })
}

fn uri(path: &str) -> Uri {
    path.parse().expect("an encoded path is a URI")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_makes_a_path(name in "[^/]{1,60}") {
            let path = format!("/stocks/{}", percent_encoded(&name));
            let uri = uri(&path);
            prop_assert_eq!(uri.path(), path);
        }
    }

    #[test]
    fn names_are_encoded_byte_by_byte() {
        assert_eq!(percent_encoded("Xen & é"), "Xen%20%26%20%C3%A9");
    }
}
