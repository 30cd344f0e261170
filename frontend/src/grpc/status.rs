//! How an error looks to a gRPC client: a status, a `google.rpc.ErrorInfo` with the reason, and a
//! `google.rpc.RetryInfo` where trying again helps. The table is in `proto/bazaar.proto`.

use std::collections::HashMap;
use std::time::Duration;

use bazaar_rpc::Refusal;
use bazaar_rpc::accounts::AccountsError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::error;

use crate::Error;
use crate::auth::AuthError;
use crate::http::excerpt;

/// Whose reasons these are.
const DOMAIN: &str = "bazaar";

/// When to try again where the reason is not expected to last.
const SOON: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = classify(&error);
        if matches!(code, Code::Internal | Code::DataLoss) {
            error!(%error, "request failed");
        }
        let retry_after = retry_after(&error, code);
        status(
            code,
            reason,
            error.to_string(),
            figures(&error),
            retry_after,
        )
    }
}

/// What the health service says of a service that is not served here.
pub(super) fn unknown_service(name: &str) -> Status {
    let message = format!("there is no service {:?}", excerpt(name));
    status(
        Code::NotFound,
        "UNKNOWN_SERVICE",
        message,
        HashMap::new(),
        None,
    )
}

/// Adds a reason to a status that tonic has made without one: before any method was called, so
/// nothing has changed.
pub(super) fn with_reason(made: &Status, path: &str) -> Status {
    let (code, reason) = match made.code() {
        Code::Unimplemented if made.message().is_empty() => {
            return Error::UnknownPath(excerpt(path)).into();
        }
        // Its metadata names the compressions that there are.
        Code::Unimplemented => (Code::Unimplemented, "UNKNOWN_COMPRESSION"),
        _ => (Code::InvalidArgument, "MALFORMED"),
    };
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    let (message, metadata) = (made.message(), made.metadata().clone());
    Status::with_error_details_and_metadata(code, message, details, metadata)
}

fn status(
    code: Code,
    reason: &str,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code, message, details)
}

/// When the same request may succeed, from now.
fn retry_after(error: &Error, code: Code) -> Option<Duration> {
    match error {
        Error::Accounts(AccountsError::TooManyAttempts { retry_after, .. }) => Some(*retry_after),
        Error::TooManyRequests { retry_after } => Some(Duration::from_secs(*retry_after)),
        // The same message will be as long the next time.
        Error::BodyTooLarge { .. } => None,
        _ if matches!(code, Code::Unavailable | Code::ResourceExhausted) => Some(SOON),
        _ => None,
    }
}

/// The code of an error, and the reason that is the same for all errors of its kind.
///
/// DEADLINE_EXCEEDED is the one code of which gRPC says that a change may have been made all the
/// same, so an unknown outcome has it, and nothing else that was to change something.
fn classify(error: &Error) -> (Code, &'static str) {
    match error {
        Error::Malformed(_) | Error::NotJson(_) | Error::NotGrpc => {
            (Code::InvalidArgument, "MALFORMED")
        }
        Error::BodyTooLarge { .. } => (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        Error::BodyTooSlow { .. } => (Code::Unavailable, "REQUEST_TOO_SLOW"),
        Error::UnknownPath(_) | Error::UnknownMethod { .. } => {
            (Code::Unimplemented, "UNKNOWN_METHOD")
        }
        Error::UnknownItem(_) => (Code::NotFound, "UNKNOWN_ITEM"),
        Error::UnknownOrder(_) => (Code::NotFound, "UNKNOWN_ORDER"),
        Error::Unchangeable(_) => (Code::FailedPrecondition, "ORDER_UNCHANGEABLE"),
        Error::OutOfStock => (Code::FailedPrecondition, "NOT_ENOUGH_STOCK"),
        Error::Refused(refusal) => classify_refusal(refusal),
        Error::EditRefused(_) | Error::NoMatch(_) => (Code::FailedPrecondition, "EDIT_REFUSED"),
        Error::AccountRequired | Error::Unauthenticated(AuthError::Missing) => {
            (Code::Unauthenticated, "ACCOUNT_REQUIRED")
        }
        Error::Unauthenticated(AuthError::Stale) => (Code::Unavailable, "TOKENS_UNVERIFIABLE"),
        Error::Unauthenticated(_) => (Code::Unauthenticated, "INVALID_TOKEN"),
        Error::Accounts(error) => classify_accounts(error),
        Error::Unreachable(_) => (Code::Unavailable, "UNREACHABLE"),
        Error::TooManyRequests { .. } => (Code::ResourceExhausted, "TOO_MANY_REQUESTS"),
        Error::KeyReused => (Code::AlreadyExists, "KEY_REUSED"),
        Error::Busy => (Code::ResourceExhausted, "OVERLOADED"),
        Error::NotReady { .. } => (Code::Unavailable, "NOT_READY"),
        Error::NoLeader(_) => (Code::Unavailable, "NO_LEADER"),
        Error::NoAnswer(_) => (Code::DeadlineExceeded, "NO_ANSWER"),
        Error::OutcomeUnknown | Error::EditInDoubt => (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
        Error::Inconsistent(_) => (Code::DataLoss, "DATA_INCONSISTENT"),
        Error::Contract { .. } => (Code::Internal, "CONTRACT_BROKEN"),
    }
}

fn classify_refusal(refusal: &Refusal) -> (Code, &'static str) {
    match refusal {
        Refusal::UnknownItem => (Code::NotFound, "UNKNOWN_ITEM"),
        Refusal::NotEnoughStock { .. } => (Code::FailedPrecondition, "NOT_ENOUGH_STOCK"),
        Refusal::SideNotAllowed { .. } => (Code::FailedPrecondition, "SIDE_NOT_ALLOWED"),
        Refusal::QuantityNotAllowed { .. } => (Code::FailedPrecondition, "QUANTITY_NOT_ALLOWED"),
        Refusal::AccountRequired => (Code::Unauthenticated, "ACCOUNT_REQUIRED"),
        Refusal::StockFull => (Code::FailedPrecondition, "STOCK_FULL"),
    }
}

fn classify_accounts(error: &AccountsError) -> (Code, &'static str) {
    match error {
        AccountsError::Taken { .. } => (Code::AlreadyExists, "TAKEN"),
        AccountsError::UnknownUser => (Code::NotFound, "UNKNOWN_USER"),
        AccountsError::WrongCredentials => (Code::Unauthenticated, "WRONG_CREDENTIALS"),
        AccountsError::InvalidRefreshToken => (Code::Unauthenticated, "INVALID_REFRESH_TOKEN"),
        AccountsError::WrongCurrentPassword => (Code::PermissionDenied, "WRONG_PASSWORD"),
        AccountsError::AdminRequired => (Code::PermissionDenied, "ADMIN_REQUIRED"),
        AccountsError::TooManyAttempts { .. } => (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"),
        AccountsError::Busy => (Code::ResourceExhausted, "OVERLOADED"),
        AccountsError::Unavailable => (Code::Unavailable, "NO_DATABASE"),
        AccountsError::Unknown => (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
        AccountsError::Invalid(_) | AccountsError::Failed => (Code::Internal, "ACCOUNTS_FAILED"),
    }
}

/// What belongs to an error's reason, for programs.
fn figures(error: &Error) -> HashMap<String, String> {
    let figures = match error {
        Error::BodyTooLarge { max } => vec![("max_bytes", max.to_string())],
        Error::OutOfStock => vec![("available", "0".into())],
        Error::Refused(Refusal::NotEnoughStock { available }) => {
            vec![("available", available.to_string())]
        }
        Error::Refused(Refusal::SideNotAllowed { side }) => vec![("side", side.as_str().into())],
        Error::Refused(Refusal::QuantityNotAllowed { min, max }) => {
            vec![("min", min.to_string()), ("max", max.to_string())]
        }
        Error::Accounts(AccountsError::Taken { field }) => vec![("field", field.to_string())],
        _ => Vec::new(),
    };
    let owned = |(name, figure): (&str, String)| (name.to_owned(), figure);
    figures.into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests;
