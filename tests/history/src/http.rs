//! Calls as requests of Bazaar's HTTP interface, and what the answers to them mean: for clients that
//! make the calls of a history one attempt at a time. Plain data; how it is sent is theirs.

use bazaar_rpc::Quantity;
use bazaar_rpc::http::{Data, Problem, StandingOrder, Stock, TransactionNumber, percent_encoded};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{Answer, Call, Reason, ShownOrder};

/// A request, without what every request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty where there is none.
    pub body: String,
}

/// What came of one attempt at a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done(Answer),
    /// It was not done by this attempt, and would not be by another.
    Refused(Reason),
    /// It was not done by this attempt, and might be by another.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// No frontend ever gives such an answer.
    Broken(String),
}

impl Request {
    /// The request that `call` is, by the user whose access token is `token` where it takes one.
    #[must_use]
    pub fn new(call: &Call, token: &str) -> Self {
        let (method, path) = match call {
            Call::Lookup { item } => ("GET", format!("/stocks/{}", percent_encoded(item.as_str()))),
            Call::Query { number } => ("GET", format!("/orders/{number}")),
            Call::Trade { .. } => ("POST", "/orders".into()),
            Call::Amend { order, to, .. } if is_cancel(*to) => {
                ("DELETE", format!("/orders/{order}"))
            }
            Call::Amend { order, .. } => ("PUT", format!("/orders/{order}")),
            Call::Restock { item, .. } => ("POST", format!("/products/{item}/restock")),
        };
        let body = match call {
            Call::Trade {
                item,
                side,
                quantity,
                ..
            } => json!({ "name": item, "type": side, "quantity": quantity }).to_string(),
            Call::Amend { to, .. } if !is_cancel(*to) => json!({ "quantity": to }).to_string(),
            Call::Restock { units, .. } => json!({ "quantity": units }).to_string(),
            Call::Lookup { .. } | Call::Query { .. } | Call::Amend { .. } => String::new(),
        };
        let mut headers = Vec::new();
        if !body.is_empty() {
            headers.push(("content-type", "application/json".into()));
        }
        if let Call::Trade { key, .. } | Call::Amend { key, .. } | Call::Restock { key, .. } = call
        {
            headers.push(("idempotency-key", key.clone()));
        }
        if !matches!(call, Call::Lookup { .. } | Call::Trade { user: None, .. }) {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        Self {
            method,
            path,
            headers,
            body,
        }
    }
}

impl Told {
    /// What the answer to `call` says that has `status`, `body`, and of each name that `header`.
    #[must_use]
    pub fn by<'a>(
        call: &Call,
        status: u16,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
    ) -> Self {
        if status == 200 {
            let broken = || Self::Broken(String::from_utf8_lossy(body).into_owned());
            return answer(call, header, body).map_or_else(broken, Self::Done);
        }
        let detail = serde_json::from_slice(body).map(|problem: Problem| problem.detail);
        let detail = detail.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
        let said = format!("{status}: {detail}");
        match (status, call) {
            (400, Call::Trade { .. } | Call::Amend { .. })
                if detail.starts_with("not enough stock") =>
            {
                Self::Refused(Reason::NotEnoughStock { available: None })
            }
            (404, Call::Query { .. } | Call::Amend { .. }) => Self::Refused(Reason::NotFound),
            (409, Call::Amend { .. }) => Self::Refused(Reason::Unchangeable),
            // Another frontend may do it, or another token.
            (401 | 503, _) => Self::NotDone(said),
            (504, _) => Self::Unknown(said),
            _ => Self::Broken(said),
        }
    }
}

/// Whether an order that is to be for so many units is to be cancelled.
fn is_cancel(to: Quantity) -> bool {
    to == Quantity::default()
}

fn answer<'a>(
    call: &Call,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
) -> Option<Answer> {
    let version = || header("item-version").and_then(|version| version.parse().ok());
    let replayed = header("idempotent-replayed") == Some("true");
    Some(match call {
        Call::Lookup { .. } => {
            let stock: Stock = data(body)?;
            Answer::Stock {
                quantity: stock.quantity,
                version: Some(stock.version),
            }
        }
        Call::Trade { .. } => Answer::Traded {
            number: data::<TransactionNumber>(body)?.transaction_number,
            version: version(),
            replayed,
        },
        Call::Amend { .. } => {
            let standing: StandingOrder = data(body)?;
            let last = standing.history.last();
            Answer::Amended {
                number: last.map_or(standing.order.number, |change| change.number),
                version: version(),
                replayed,
                order: ShownOrder::from(&standing),
            }
        }
        Call::Restock { .. } => {
            // As every product, which has more to it.
            let stock: Stock = serde_json::from_slice(body).ok()?;
            Answer::Restocked {
                item: stock.name,
                quantity: stock.quantity,
                version: stock.version,
            }
        }
        Call::Query { .. } => Answer::Order(ShownOrder::from(&data::<StandingOrder>(body)?)),
    })
}

fn data<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let body: Data<T> = serde_json::from_slice(body).ok()?;
    Some(body.data)
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{ItemName, OrderNumber, Side, UserId, Version};

    use super::*;
    use crate::samples::{amend, item, trade, units};

    fn told(call: &Call, status: u16, body: &str) -> Told {
        let headers = |name: &str| (name == "item-version").then_some("9");
        Told::by(call, status, headers, body.as_bytes())
    }

    fn refusal(status: u16, detail: &str) -> String {
        json!({
            "type": "about:blank", "title": "", "status": status, "detail": detail,
            "request_id": "", "error": { "code": status, "message": "" },
        })
        .to_string()
    }

    #[test]
    fn calls_are_requests() {
        let headers = |call: &Call| {
            let headers = Request::new(call, "t").headers;
            headers
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        let line = |call: &Call| {
            let Request {
                method, path, body, ..
            } = Request::new(call, "t");
            format!("{method} {path} {body}")
        };
        let named = Call::Lookup {
            item: ItemName::new("Xen & more").unwrap(),
        };
        assert_eq!(line(&named), "GET /stocks/Xen%20%26%20more ");
        assert_eq!(headers(&named), [""; 0]);
        let mut buy = trade(Side::Buy, 2, "k");
        assert_eq!(
            line(&buy),
            r#"POST /orders {"name":"GameStart","quantity":2,"type":"buy"}"#
        );
        assert_eq!(headers(&buy), ["content-type", "idempotency-key"]);
        if let Call::Trade { user, .. } = &mut buy {
            *user = Some(UserId(1));
        }
        assert!(headers(&buy).contains(&"authorization"));
        assert_eq!(line(&amend(7, 3, "k")), r#"PUT /orders/7 {"quantity":3}"#);
        assert_eq!(line(&amend(7, 0, "k")), "DELETE /orders/7 ");
        assert_eq!(
            headers(&amend(7, 0, "k")),
            ["idempotency-key", "authorization"]
        );
    }

    #[test]
    fn answers_say_what_was_done() {
        let amended = r#"{"data":{"number":7,"name":"GameStart","product_id":1,"type":"buy",
            "quantity":3,"price":1.5,"version":4,"shop":"stocks","status":"placed","history":[
            {"number":8,"from":1,"to":3,"version":9,"made_at":"1970-01-01T00:00:00Z"}]}}"#;
        let order = ShownOrder {
            item: item(),
            side: Side::Buy,
            quantity: units(3),
            version: Some(Version(4)),
            changes: 1,
        };
        let answer = Answer::Amended {
            number: OrderNumber(8),
            version: Some(Version(9)),
            replayed: false,
            order: order.clone(),
        };
        assert_eq!(told(&amend(7, 3, "k"), 200, amended), Told::Done(answer));
        let query = Call::Query {
            number: OrderNumber(7),
        };
        assert_eq!(told(&query, 200, amended), Told::Done(Answer::Order(order)));
        assert!(matches!(told(&query, 200, "{}"), Told::Broken(_)));
    }

    #[test]
    fn answers_say_whether_it_may_have_been_done() {
        let (buy, amend) = (trade(Side::Buy, 2, "k"), amend(7, 3, "k"));
        let short = refusal(400, "not enough stock: 1 available");
        let not_enough = Told::Refused(Reason::NotEnoughStock { available: None });
        assert_eq!(told(&buy, 400, &short), not_enough);
        assert_eq!(told(&amend, 400, &short), not_enough);
        assert!(matches!(told(&amend, 401, ""), Told::NotDone(_)));
        assert_eq!(told(&amend, 404, ""), Told::Refused(Reason::NotFound));
        assert_eq!(told(&amend, 409, ""), Told::Refused(Reason::Unchangeable));
        let (not_done, unknown) = (refusal(503, "no leader"), refusal(504, "no answer"));
        assert_eq!(
            told(&buy, 503, &not_done),
            Told::NotDone("503: no leader".into())
        );
        assert_eq!(
            told(&buy, 504, &unknown),
            Told::Unknown("504: no answer".into())
        );
        for status in [400, 404, 409, 500] {
            assert!(
                matches!(told(&buy, status, ""), Told::Broken(_)),
                "{status}"
            );
        }
    }
}
