//! What operations answer instead of what they were asked for.
//!
//! A group of problems is a list of errors. Each error's status and body come from the place that
//! makes the answers, so the document shows what is served.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use bazaar_rpc::accounts::AccountsError;
use bazaar_rpc::edit::EditRefusal;
use bazaar_rpc::http::Problem;
use bazaar_rpc::orders::Unchangeable;
use bazaar_rpc::{
    ItemName, ItemNumber, OrderNumber, Quantity, Refusal, ServiceKind, Side, Version,
};
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoResponses, ToSchema as _};

use super::common::header;
use crate::Error;
use crate::auth::AuthError;
use crate::http::problem::PROBLEM_JSON;

/// The id in the examples.
const EXAMPLE_ID: &str = "8f2d6c0a5e1b4f7393ad0c6b2e9f1d58";

/// Declares groups of problems for handlers to name among their responses.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident => $errors:expr;)*) => {$(
        $(#[$doc])*
        pub(in crate::http) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses($errors)
            }
        }
    )*};
}

problems! {
    /// Of a lookup of an item.
    ItemProblems => [vec![malformed("id: \"x\" is not a whole number"), unknown_item()], catalog()].concat();
    /// Of a list of items.
    ListProblems => [vec![malformed("limit: 0 is not from 1 to 1000")], catalog()].concat();
    /// Of a lookup of an order.
    OrderProblems => [
        vec![malformed("order number: \"x\" is not a whole number"), unknown_order()],
        orders(),
        token(),
    ].concat();
    /// Of a lookup of several orders.
    OrderListProblems => [
        vec![malformed("numbers: at most 1000 at a time"), unknown_order(), Error::AccountRequired],
        orders(),
        token(),
    ].concat();
    /// Of a change of an order.
    AmendProblems => [
        trade(),
        vec![
            unknown_order(),
            Error::Unchangeable(Unchangeable::Cancelled),
            Error::Unchangeable(Unchangeable::NoAccount),
            Error::Unchangeable(Unchangeable::TooOften),
            Error::Unauthenticated(AuthError::Missing),
        ],
    ].concat();
    /// Of an edit of a product.
    EditProblems => [edit(), token()].concat();
    /// Of a trade.
    TradeProblems => trade();
    /// Of a purchase of one copy.
    PurchaseProblems => [trade(), vec![Error::OutOfStock]].concat();
    /// Of a question whether the frontend is ready.
    ReadyProblems => vec![
        Error::NotReady { missing: "order leader that trades".into() },
        Error::Inconsistent("a gap after 7".into()),
    ];
}

fn malformed(detail: &str) -> Error {
    Error::Malformed(detail.into())
}

fn unknown_item() -> Error {
    Error::UnknownItem("Nobody".into())
}

fn unknown_order() -> Error {
    Error::UnknownOrder(OrderNumber(7))
}

/// What comes of asking the catalog.
fn catalog() -> Vec<Error> {
    let service = ServiceKind::Catalog;
    vec![
        Error::Busy,
        Error::NoLeader(service),
        Error::NoAnswer(service),
    ]
}

/// What comes of asking the order service.
fn orders() -> Vec<Error> {
    let service = ServiceKind::Order;
    vec![
        Error::Busy,
        Error::NoLeader(service),
        Error::NoAnswer(service),
        Error::Inconsistent("a gap after 7".into()),
    ]
}

fn trade() -> Vec<Error> {
    let one = Quantity::new(1).unwrap_or_default();
    vec![
        malformed("quantity: invalid value: integer `0`, expected a whole number from 1"),
        Error::Refused(Refusal::NotEnoughStock { available: one }),
        Error::Refused(Refusal::SideNotAllowed { side: Side::Sell }),
        Error::Refused(Refusal::QuantityNotAllowed { min: one, max: one }),
        Error::Refused(Refusal::StockFull),
        Error::Refused(Refusal::AccountRequired),
        Error::Refused(Refusal::UnknownItem),
        Error::BodyTooSlow {
            limit: std::time::Duration::from_secs(10),
        },
        Error::BodyTooLarge { max: 64 << 10 },
        Error::NotJson("text/plain".into()),
        Error::KeyReused,
        Error::Inconsistent("a gap after 7".into()),
        Error::Busy,
        Error::NoLeader(ServiceKind::Order),
        Error::OutcomeUnknown,
        Error::Unauthenticated(AuthError::Expired),
        Error::Unauthenticated(AuthError::Stale),
    ]
}

/// What comes of a token that is not valid, or cannot be verified.
fn token() -> Vec<Error> {
    vec![
        Error::Unauthenticated(AuthError::Expired),
        Error::Unauthenticated(AuthError::Stale),
    ]
}

fn edit() -> Vec<Error> {
    let (item, version) = (ItemNumber(7), Version(3));
    let name = |name: &str| ItemName::new(name).expect("it is one");
    vec![
        malformed("price: an amount is a number from 0 to 10000000 with at most two decimals"),
        Error::Unauthenticated(AuthError::Missing),
        Error::Accounts(AccountsError::AdminRequired),
        Error::EditRefused(EditRefusal::UnknownItem(item)),
        Error::EditRefused(EditRefusal::VersionConflict { current: version }),
        Error::EditRefused(EditRefusal::NameTaken {
            name: name("Hoodie"),
            by: item,
        }),
        Error::EditRefused(EditRefusal::NumberTaken {
            number: item,
            by: name("Hoodie"),
        }),
        Error::EditRefused(EditRefusal::TooManyItems),
        Error::EditRefused(EditRefusal::StockFull),
        Error::EditRefused(EditRefusal::KeyReused),
        Error::BodyTooSlow {
            limit: std::time::Duration::from_secs(10),
        },
        Error::BodyTooLarge { max: 64 << 10 },
        Error::NotJson("text/plain".into()),
        Error::Busy,
        Error::NoLeader(ServiceKind::Catalog),
        Error::EditInDoubt,
    ]
}

/// The responses of `errors`, by status; errors of one status are examples of one response.
pub(super) fn responses(errors: Vec<Error>) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<Problem>> = BTreeMap::new();
    for error in errors {
        let problems = by_status.entry(error.status()).or_default();
        problems.push(error.problem(EXAMPLE_ID.into()));
    }
    let response = |(status, problems): (StatusCode, Vec<Problem>)| {
        let response = response(status, &problems);
        (status.as_str().to_owned(), RefOr::T(response))
    };
    by_status.into_iter().map(response).collect()
}

fn response(status: StatusCode, problems: &[Problem]) -> Response {
    let mut messages: Vec<_> = problems.iter().map(|p| p.error.message.as_str()).collect();
    messages.dedup();
    let mut response = ResponseBuilder::new()
        .description(sentence(&messages.join(", or ")))
        .content(PROBLEM_JSON, content(problems));
    match status {
        StatusCode::UNAUTHORIZED => {
            let name = "WWW-Authenticate";
            response = response.header(name, header("How to authenticate: `Bearer`."));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let name = "Retry-After";
            response = response.header_ref(name, Ref::new("#/components/headers/RetryAfter"));
        }
        _ => {}
    }
    response.build()
}

fn content(problems: &[Problem]) -> Content {
    let example = |problem: &Problem| {
        let value = serde_json::to_value(problem).ok();
        let name = problem.error.message.replace(' ', "-");
        (name, ExampleBuilder::new().value(value).build())
    };
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(problems.iter().map(example))
        .build()
}

/// `words`, as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}
