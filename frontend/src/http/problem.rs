//! How an error looks to the client: RFC 9457, with the original lab's envelope as an extension
//! member.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bazaar_rpc::Refusal;
use bazaar_rpc::edit::EditRefusal;
use bazaar_rpc::http::{ErrorEnvelope, Problem};
use tracing::error;

use super::accounts;
use crate::{Error, request};

/// The media type of every error.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// When to try again where the reason is not expected to last, in seconds.
const SOON: u64 = 1;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, _) = classify(&self);
        let problem = self.problem(request::current_id());
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            error!(error = %self, request = problem.request_id, "request failed");
        }
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        self.advise(headers);
        response
    }
}

impl Error {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        classify(self).0
    }

    /// The body of the answer to the request `request_id`.
    pub(super) fn problem(&self, request_id: String) -> Problem {
        let (status, message) = classify(self);
        let code = status.as_u16();
        Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: code,
            detail: self.to_string(),
            request_id,
            error: ErrorEnvelope {
                code,
                message: message.into(),
            },
        }
    }

    /// Says what the client should do next, where a header can.
    fn advise(&self, headers: &mut HeaderMap) {
        let retry_after = match (self, self.status()) {
            (Self::TooManyRequests { retry_after }, _) => Some(*retry_after),
            (_, StatusCode::SERVICE_UNAVAILABLE) => Some(SOON),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        accounts::advise(self, self.status(), headers);
    }
}

/// The status of an error, and the words that are the same for all errors of its kind.
fn classify(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid request"),
        Error::NotJson(_) | Error::NotGrpc => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported content type",
        ),
        Error::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
        Error::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "request timeout"),
        Error::UnknownPath(_) => (StatusCode::NOT_FOUND, "path not found"),
        Error::UnknownMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        Error::UnknownItem(_) => (StatusCode::NOT_FOUND, "stock not found"),
        Error::UnknownOrder(_) => (StatusCode::NOT_FOUND, "order number not found"),
        Error::Unchangeable(_) => (StatusCode::CONFLICT, "order cannot be changed"),
        Error::OutOfStock => (StatusCode::CONFLICT, "out of stock"),
        Error::Refused(refusal) => classify_refusal(refusal),
        Error::EditRefused(refusal) => classify_edit_refusal(refusal),
        Error::NoMatch(_) => (StatusCode::PRECONDITION_FAILED, "version conflict"),
        Error::AccountRequired => (StatusCode::UNAUTHORIZED, "account required"),
        Error::Unauthenticated(error) => accounts::classify_auth(*error),
        Error::Accounts(error) => accounts::classify(error),
        Error::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
        Error::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency key reused"),
        Error::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        Error::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Error::NotReady { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        Error::NoLeader(_) => (StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
        Error::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, "no answer"),
        Error::OutcomeUnknown | Error::EditInDoubt => {
            (StatusCode::GATEWAY_TIMEOUT, "outcome unknown")
        }
        Error::Inconsistent(_) => (StatusCode::INTERNAL_SERVER_ERROR, "data inconsistent"),
        Error::Contract { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    }
}

fn classify_refusal(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::UnknownItem => (StatusCode::NOT_FOUND, "stock not found"),
        Refusal::NotEnoughStock { .. } => (StatusCode::BAD_REQUEST, "not enough stock"),
        Refusal::SideNotAllowed { .. } => (StatusCode::BAD_REQUEST, "order type not allowed"),
        Refusal::QuantityNotAllowed { .. } => (StatusCode::BAD_REQUEST, "quantity not allowed"),
        Refusal::AccountRequired => (StatusCode::UNAUTHORIZED, "account required"),
        Refusal::StockFull => (StatusCode::BAD_REQUEST, "stock full"),
    }
}

fn classify_edit_refusal(refusal: &EditRefusal) -> (StatusCode, &'static str) {
    match refusal {
        EditRefusal::UnknownItem(_) => (StatusCode::NOT_FOUND, "product not found"),
        EditRefusal::UnknownShop(_) => (StatusCode::NOT_FOUND, "shop not found"),
        EditRefusal::VersionConflict { .. } => {
            (StatusCode::PRECONDITION_FAILED, "version conflict")
        }
        EditRefusal::NameTaken { .. } => (StatusCode::CONFLICT, "name taken"),
        EditRefusal::NumberTaken { .. } => (StatusCode::CONFLICT, "number taken"),
        EditRefusal::NoNumberLeft | EditRefusal::TooManyItems => {
            (StatusCode::CONFLICT, "catalog full")
        }
        EditRefusal::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency key reused"),
        EditRefusal::StockFull => (StatusCode::BAD_REQUEST, "stock full"),
        EditRefusal::NumberTooHigh | EditRefusal::NothingToChange | EditRefusal::NoUnits => {
            (StatusCode::BAD_REQUEST, "invalid request")
        }
    }
}
