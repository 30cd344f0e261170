//! What handlers take from a request that says who it comes from, and how one is refused (RFC 6750).

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use bazaar_rpc::UserId;
use bazaar_rpc::accounts::{AccountsError, Role};

use super::{AuthError, Identity, Verifier};
use crate::Error;
use crate::http::Frontend;

/// Whoever a request comes from; a request that comes from nobody is refused.
pub(crate) struct Authenticated(pub(crate) Identity);

/// Whoever a request comes from, if it says so. One that does so with a token that is not valid is
/// refused.
pub(crate) struct MaybeAuthenticated(pub(crate) Option<Identity>);

/// The administrator whom a request comes from; one that comes from anybody else is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin(pub(crate) UserId);

impl FromRequestParts<Arc<Frontend>> for Authenticated {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, it: &Arc<Frontend>) -> Result<Self, Error> {
        let identity = it.verifier.identify(&parts.headers)?;
        Ok(Self(identity.ok_or(AuthError::Missing)?))
    }
}

impl FromRequestParts<Arc<Frontend>> for MaybeAuthenticated {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, it: &Arc<Frontend>) -> Result<Self, Error> {
        Ok(Self(it.verifier.identify(&parts.headers)?))
    }
}

impl FromRequestParts<Arc<Frontend>> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, it: &Arc<Frontend>) -> Result<Self, Error> {
        let Authenticated(identity) = Authenticated::from_request_parts(parts, it).await?;
        match identity.role {
            Role::Admin => Ok(Self(identity.user)),
            Role::Customer => Err(Error::Accounts(AccountsError::AdminRequired)),
        }
    }
}

impl Verifier {
    /// Whoever a request with these headers comes from, if it says so.
    ///
    /// # Errors
    /// When it does so with a token that is not valid, or that nobody can verify now.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, AuthError> {
        let token = token(headers)?;
        token.map(|token| self.verify(token)).transpose()
    }
}

/// The bearer token of a request; none where it carries no credentials, or some of another scheme.
fn token(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let value = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(token.trim_matches(' ')))
    } else {
        Ok(None)
    }
}

/// The header `WWW-Authenticate` of a request that is refused with 401; `refused` is what was wrong
/// with its token, where it had one.
pub(crate) fn challenge(refused: Option<AuthError>) -> HeaderValue {
    const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"bazaar\"");
    match refused {
        None | Some(AuthError::Missing) => CHALLENGE,
        Some(error) => {
            let text = format!(
                "Bearer realm=\"bazaar\", error=\"invalid_token\", error_description=\"{error}\""
            );
            // The texts of errors are plain ASCII without quotes.
            HeaderValue::try_from(text).unwrap_or(CHALLENGE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(values: &[&'static str]) -> Result<Option<String>, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        token(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_token_stands_behind_its_scheme() {
        assert_eq!(token_of(&[]), Ok(None));
        assert_eq!(token_of(&["Bearer a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(token_of(&["bEARER  a.b.c "]), Ok(Some("a.b.c".into())));
        assert_eq!(token_of(&["Bearer"]), Ok(Some(String::new())));
        assert_eq!(token_of(&["Basic YTpi"]), Ok(None));
        assert_eq!(
            token_of(&["Bearer a", "Bearer b"]),
            Err(AuthError::Malformed)
        );
    }

    #[test]
    fn a_challenge_says_what_is_wrong_with_a_token() {
        assert_eq!(challenge(None), "Bearer realm=\"bazaar\"");
        assert_eq!(challenge(Some(AuthError::Missing)), challenge(None));
        assert_eq!(
            challenge(Some(AuthError::Expired)),
            "Bearer realm=\"bazaar\", error=\"invalid_token\", \
             error_description=\"the access token has expired\""
        );
    }
}
