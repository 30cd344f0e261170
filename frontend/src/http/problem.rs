//! How an error looks to the client: RFC 9457, with the original lab's envelope as an extension
//! member.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bazaar_rpc::Refusal;
use bazaar_rpc::http::{ErrorEnvelope, Problem};
use tracing::error;

use crate::Error;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, message) = classify(&self);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            error!(error = %self, "request failed");
        }
        let code = status.as_u16();
        let problem = Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: code,
            detail: self.to_string(),
            error: ErrorEnvelope {
                code,
                message: message.into(),
            },
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some((name, value)) = advice(status) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The status of an error, and the words that are the same for all errors of its kind.
fn classify(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid request"),
        Error::NotJson(_) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported content type",
        ),
        Error::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
        Error::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "request timeout"),
        Error::UnknownPath(_) => (StatusCode::NOT_FOUND, "path not found"),
        Error::UnknownMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        Error::UnknownItem(_) => (StatusCode::NOT_FOUND, "stock not found"),
        Error::UnknownOrder(_) => (StatusCode::NOT_FOUND, "order number not found"),
        Error::OutOfStock => (StatusCode::CONFLICT, "out of stock"),
        Error::Refused(refusal) => classify_refusal(refusal),
        Error::AccountRequired => (StatusCode::UNAUTHORIZED, "account required"),
        Error::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency key reused"),
        Error::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Error::NotReady { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        Error::NoLeader(_) => (StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
        Error::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, "no answer"),
        Error::OutcomeUnknown => (StatusCode::GATEWAY_TIMEOUT, "outcome unknown"),
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

/// What the client should do next, where a header says it.
fn advice(status: StatusCode) -> Option<(HeaderName, &'static str)> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
        _ => None,
    }
}
