//! What operations answer instead of what they were asked for.
//!
//! A group of problems is a list of errors. Each error's status and body come from the place that
//! makes the answers, so the document shows what is served.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use bazaar_rpc::accounts::{AccountsError, UserField};
use bazaar_rpc::edit::EditRefusal;
use bazaar_rpc::http::Problem;
use bazaar_rpc::orders::Unchangeable;
use bazaar_rpc::{
    ItemName, ItemNumber, OrderNumber, Quantity, Refusal, ServiceKind, ShopName, Side, Text,
    Version,
};
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::{Example, ExampleBuilder};
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
        body(),
        token(),
        vec![
            unknown_order(),
            Error::Unchangeable(Unchangeable::Cancelled),
            Error::Unchangeable(Unchangeable::NoAccount),
            Error::Unchangeable(Unchangeable::TooOften),
            Error::Unauthenticated(AuthError::Missing),
        ],
    ].concat();
    /// Of a new product.
    CreateProblems => [
        vec![
            bad_price(),
            Error::EditRefused(EditRefusal::UnknownShop(antiques())),
            name_taken(),
            Error::EditRefused(EditRefusal::NumberTaken {
                number: ItemNumber(7),
                by: name("Hoodie"),
            }),
            Error::EditRefused(EditRefusal::TooManyItems),
        ],
        edit(),
    ].concat();
    /// Of a change of a product.
    ChangeProblems => [
        vec![bad_price(), name_taken(), Error::EditRefused(EditRefusal::StockFull)],
        edit_of_one(),
    ].concat();
    /// Of more units of a product.
    RestockProblems => [
        vec![
            malformed("quantity: a restock is of 1 unit at least"),
            Error::EditRefused(EditRefusal::StockFull),
        ],
        edit_of_one(),
    ].concat();
    /// Of a removal of a product.
    RemoveProblems => [
        vec![malformed("If-Match: one entity tag, or *")],
        edit_of_one(),
    ].concat();
    /// Of a trade.
    TradeProblems => [trade(), body(), token()].concat();
    /// Of a purchase of one copy.
    PurchaseProblems => [trade(), body(), token(), vec![Error::OutOfStock]].concat();
    /// Of a registration.
    RegisterProblems => [
        vec![malformed("password: a password has 8 to 128 characters")],
        taken(&[UserField::StudentId, UserField::UserName, UserField::Email]),
        body(),
        attempts(),
        hashing(),
        account_change(),
    ].concat();
    /// Of a login.
    LoginProblems => [
        vec![
            malformed("password: missing field `password`"),
            Error::Accounts(AccountsError::WrongCredentials),
        ],
        body(),
        attempts(),
        hashing(),
        account_question(),
    ].concat();
    /// Of a session's next tokens.
    RefreshProblems => [
        vec![
            malformed("refresh_token: a secret has 1 to 2048 characters"),
            Error::Accounts(AccountsError::InvalidRefreshToken),
        ],
        body(),
        account_change(),
    ].concat();
    /// Of the end of a session.
    LogoutProblems => [
        vec![malformed("refresh_token: a secret has 1 to 2048 characters")],
        body(),
        account_change(),
    ].concat();
    /// Of a lookup of a user.
    UserProblems => [user(), account_question()].concat();
    /// Of a change of a user.
    UserChangeProblems => [
        user(),
        vec![Error::Accounts(AccountsError::WrongCurrentPassword)],
        taken(&[UserField::UserName, UserField::Email]),
        body(),
        attempts(),
        hashing(),
        account_change(),
    ].concat();
    /// Of a deactivation.
    DeactivateProblems => [user(), body(), account_change()].concat();
    /// Of a reactivation.
    ReactivateProblems => [user(), admin(), body(), account_change()].concat();
    /// Of a list of users.
    UserListProblems => [
        vec![malformed("limit: 0 is not from 1 to 1000"), Error::Unauthenticated(AuthError::Missing)],
        token(),
        admin(),
        account_question(),
    ].concat();
    /// Of the keys of tokens.
    KeyProblems => vec![Error::Unauthenticated(AuthError::Stale)];
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
        Error::KeyReused,
        Error::Inconsistent("a gap after 7".into()),
        Error::Busy,
        Error::NoLeader(ServiceKind::Order),
        Error::OutcomeUnknown,
    ]
}

/// What comes of a body.
fn body() -> Vec<Error> {
    vec![
        Error::BodyTooSlow {
            limit: Duration::from_secs(10),
        },
        Error::BodyTooLarge { max: 64 << 10 },
        Error::NotJson("text/plain".into()),
    ]
}

/// What comes of a token that is not valid, or cannot be verified.
fn token() -> Vec<Error> {
    vec![
        Error::Unauthenticated(AuthError::Expired),
        Error::Unauthenticated(AuthError::Stale),
    ]
}

/// What comes of any edit.
fn edit() -> Vec<Error> {
    let edit = vec![
        Error::Unauthenticated(AuthError::Missing),
        Error::Accounts(AccountsError::AdminRequired),
        Error::EditRefused(EditRefusal::KeyReused),
        Error::Busy,
        Error::NoLeader(ServiceKind::Catalog),
        Error::EditInDoubt,
    ];
    [edit, body(), token()].concat()
}

/// What comes of an edit of a product that is there, on conditions or not.
fn edit_of_one() -> Vec<Error> {
    let of_one = vec![
        Error::EditRefused(EditRefusal::UnknownItem(ItemNumber(7))),
        Error::EditRefused(EditRefusal::VersionConflict {
            current: Version(3),
        }),
    ];
    [edit(), of_one].concat()
}

fn bad_price() -> Error {
    malformed("price: an amount is a number from 0 to 10000000 with at most two decimals")
}

fn name_taken() -> Error {
    Error::EditRefused(EditRefusal::NameTaken {
        name: name("Hoodie"),
        by: ItemNumber(7),
    })
}

fn antiques() -> ShopName {
    Text::new("antiques").expect("it is one")
}

fn name(name: &str) -> ItemName {
    ItemName::new(name).expect("it is one")
}

/// What comes of asking for one user on somebody's behalf.
fn user() -> Vec<Error> {
    let user = vec![
        malformed("id: \"x\" is not a whole number from 0 to 18446744073709551615"),
        Error::Unauthenticated(AuthError::Missing),
        Error::Accounts(AccountsError::UnknownUser),
    ];
    [user, token()].concat()
}

fn admin() -> Vec<Error> {
    vec![Error::Accounts(AccountsError::AdminRequired)]
}

fn taken(fields: &[UserField]) -> Vec<Error> {
    let taken = |field: &UserField| Error::Accounts(AccountsError::Taken { field: *field });
    fields.iter().map(taken).collect()
}

/// What comes of limits on how often a password is tried, beside the limit on requests.
fn attempts() -> Vec<Error> {
    vec![
        Error::Accounts(AccountsError::TooManyAttempts {
            limit: 10,
            window: Duration::from_secs(60),
            retry_after: Duration::from_secs(6),
        }),
        Error::TooManyRequests { retry_after: 1 },
    ]
}

/// What comes of hashing a password, which takes time.
fn hashing() -> Vec<Error> {
    vec![Error::Accounts(AccountsError::Busy)]
}

/// What comes of asking the accounts service.
fn account_question() -> Vec<Error> {
    let service = ServiceKind::Accounts;
    vec![
        Error::Unreachable(service),
        Error::Accounts(AccountsError::Unavailable),
        Error::NoAnswer(service),
    ]
}

/// What comes of asking the accounts service for a change.
fn account_change() -> Vec<Error> {
    vec![
        Error::Unreachable(ServiceKind::Accounts),
        Error::Accounts(AccountsError::Unavailable),
        Error::Accounts(AccountsError::Unknown),
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
    let mut messages: Vec<&str> = Vec::new();
    for problem in problems {
        let message = problem.error.message.as_str();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
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
    let mut examples: Vec<(String, Example)> = Vec::new();
    for problem in problems {
        let value = serde_json::to_value(problem).ok();
        let mut name = problem.error.message.replace(' ', "-");
        let namesakes = examples.iter().filter(|(of, _)| of.starts_with(&name));
        if let number @ 2.. = namesakes.count() + 1 {
            name = format!("{name}-{number}");
        }
        examples.push((name, ExampleBuilder::new().value(value).build()));
    }
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(examples)
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
