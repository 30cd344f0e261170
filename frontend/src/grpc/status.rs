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

/// Whose reasons these are.
const DOMAIN: &str = "bazaar";

/// When to try again where that helps.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = classify(&error);
        if matches!(code, Code::Internal | Code::DataLoss) {
            error!(%error, "request failed");
        }
        status(code, reason, error.to_string(), figures(&error))
    }
}

/// What a method that takes a token says to a caller without one.
pub(super) fn token_required() -> Status {
    let message = "this method takes an access token, in the metadata authorization: Bearer …";
    status(
        Code::Unauthenticated,
        "ACCOUNT_REQUIRED",
        message.into(),
        HashMap::new(),
    )
}

fn status(code: Code, reason: &str, message: String, metadata: HashMap<String, String>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) && reason != MESSAGE_TOO_LARGE {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, message, details)
}

const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";

/// The code of an error, and the reason that is the same for all errors of its kind.
///
/// DEADLINE_EXCEEDED is the one code of which gRPC says that a change may have been made all the
/// same, so an unknown outcome has it, and nothing else that was to change something.
fn classify(error: &Error) -> (Code, &'static str) {
    match error {
        Error::Malformed(_) | Error::NotJson(_) | Error::NotGrpc => {
            (Code::InvalidArgument, "MALFORMED")
        }
        Error::BodyTooLarge { .. } => (Code::ResourceExhausted, MESSAGE_TOO_LARGE),
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
        _ => Vec::new(),
    };
    let owned = |(name, figure): (&str, String)| (name.to_owned(), figure);
    figures.into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{Quantity, ServiceKind};

    use super::*;

    #[test]
    fn an_error_says_its_reason_and_when_to_try_again() {
        let available = Quantity::new(3).unwrap();
        let status = Status::from(Error::Refused(Refusal::NotEnoughStock { available }));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (&*info.reason, &*info.domain),
            ("NOT_ENOUGH_STOCK", "bazaar")
        );
        assert_eq!(info.metadata["available"], "3");
        assert!(details.retry_info().is_none());

        for (error, reason) in [
            (Error::Busy, "OVERLOADED"),
            (Error::NoLeader(ServiceKind::Order), "NO_LEADER"),
        ] {
            let details = Status::from(error).get_error_details();
            assert_eq!(details.error_info().unwrap().reason, reason);
            assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
        }
        // The same message will be as long the next time.
        let status = Status::from(Error::BodyTooLarge { max: 7 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_error_details().retry_info().is_none());
    }

    #[test]
    fn only_an_unknown_outcome_of_a_change_has_the_code_of_one() {
        let unknown = Status::from(Error::OutcomeUnknown);
        assert_eq!(unknown.code(), Code::DeadlineExceeded);
        for known in [
            Error::Busy,
            Error::NoLeader(ServiceKind::Order),
            Error::KeyReused,
            Error::BodyTooSlow { limit: RETRY_AFTER },
            Error::Inconsistent(String::new()),
            Error::Refused(Refusal::StockFull),
        ] {
            let status = Status::from(known);
            let unknown_too = [Code::DeadlineExceeded, Code::Unknown, Code::Cancelled];
            assert!(!unknown_too.contains(&status.code()), "{status:?}");
        }
    }
}
