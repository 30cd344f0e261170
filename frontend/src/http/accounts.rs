//! How the errors of accounts look to the client.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bazaar_rpc::accounts::AccountsError;

use super::time::whole_seconds;
use crate::Error;
use crate::auth::{AuthError, challenge};

/// The quota and what is left of it (draft-ietf-httpapi-ratelimit-headers-10).
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The status of an answer of the accounts service, and its few words.
pub(super) fn classify(error: &AccountsError) -> (StatusCode, &'static str) {
    match error {
        AccountsError::Taken { .. } => (StatusCode::CONFLICT, "already taken"),
        AccountsError::UnknownUser => (StatusCode::NOT_FOUND, "user not found"),
        AccountsError::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong credentials"),
        AccountsError::InvalidRefreshToken => (StatusCode::UNAUTHORIZED, "invalid refresh token"),
        AccountsError::WrongCurrentPassword => (StatusCode::FORBIDDEN, "wrong password"),
        AccountsError::AdminRequired => (StatusCode::FORBIDDEN, "admin required"),
        AccountsError::TooManyAttempts { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "too many attempts")
        }
        AccountsError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        AccountsError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
        AccountsError::Unknown => (StatusCode::GATEWAY_TIMEOUT, "outcome unknown"),
        AccountsError::Invalid(_) | AccountsError::Failed => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}

/// The status of a request that comes from nobody who is known, and its few words.
pub(super) fn classify_auth(error: AuthError) -> (StatusCode, &'static str) {
    match error {
        AuthError::Missing => (StatusCode::UNAUTHORIZED, "account required"),
        AuthError::Malformed
        | AuthError::WrongAlgorithm
        | AuthError::UnknownKey
        | AuthError::BadSignature
        | AuthError::WrongIssuer
        | AuthError::WrongAudience
        | AuthError::Expired
        | AuthError::Void => (StatusCode::UNAUTHORIZED, "invalid token"),
        AuthError::Stale => (StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
    }
}

/// Adds what headers say of an error of accounts.
pub(super) fn advise(error: &Error, status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::UNAUTHORIZED {
        let refused = match error {
            Error::Unauthenticated(refused) => Some(*refused),
            _ => None,
        };
        headers.insert(WWW_AUTHENTICATE, challenge(refused));
    }
    if let Error::Accounts(AccountsError::TooManyAttempts {
        limit,
        window,
        retry_after,
    }) = error
    {
        let seconds = whole_seconds(*retry_after);
        headers.insert(RETRY_AFTER, seconds.into());
        let policy = format!("\"logins\";q={limit};w={}", whole_seconds(*window));
        headers.insert(RATE_LIMIT_POLICY, number(policy));
        headers.insert(RATE_LIMIT, number(format!("\"logins\";r=0;t={seconds}")));
    }
}

fn number(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and ASCII signs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whoever_comes_too_early_by_a_moment_waits_a_second() {
        let error = Error::Accounts(AccountsError::TooManyAttempts {
            limit: 10,
            window: Duration::from_millis(1_500),
            retry_after: Duration::from_nanos(1),
        });
        let mut headers = HeaderMap::new();
        advise(&error, StatusCode::TOO_MANY_REQUESTS, &mut headers);
        assert_eq!(headers[RETRY_AFTER], "1");
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"logins\";q=10;w=2");
        assert_eq!(headers[RATE_LIMIT], "\"logins\";r=0;t=1");
    }
}
