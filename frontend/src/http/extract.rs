//! What handlers take from a request's path, query and headers. Each is checked here, and trusted
//! afterwards.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bazaar_rpc::{ItemName, ItemNumber, OrderNumber, RequestId, Text, UserId};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::Error;
use crate::auth::{Admin, Authenticated, MaybeAuthenticated};
use crate::http::{Frontend, excerpt};

/// The one parameter of a path.
pub(super) struct Param<T>(pub(super) T);

/// What a path can have for a parameter.
pub(super) trait Segment: Sized {
    /// Reads a percent-decoded segment; says what is wrong with it, and where.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Segment for ItemName {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("name: {error}"))
    }
}

impl Segment for Text<200> {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("topic: {error}"))
    }
}

impl Segment for ItemNumber {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text)
            .map(Self)
            .ok_or_else(|| not_a_number("id", text))
    }
}

impl Segment for UserId {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text)
            .map(Self)
            .ok_or_else(|| not_a_number("id", text))
    }
}

impl Segment for OrderNumber {
    fn parse(text: &str) -> Result<Self, String> {
        parse_number(text)
            .map(Self)
            .ok_or_else(|| not_a_number("order number", text))
    }
}

/// Reads decimal digits, without a sign.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn not_a_number(field: &str, text: &str) -> String {
    format!(
        "{field}: {:?} is not a whole number from 0 to {}",
        excerpt(text),
        u64::MAX
    )
}

impl<S: Send + Sync, T: Segment> FromRequestParts<S> for Param<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Error::Malformed(rejection.body_text()))?;
        T::parse(&text).map(Self).map_err(Error::Malformed)
    }
}

/// The query, as a struct.
pub(super) struct QueryOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Error::Malformed(rejection.body_text()))?;
        Ok(Self(query))
    }
}

/// The numbers in a list such as `0,3,7`, at most `max` of them.
pub(super) fn parse_numbers(list: &str, max: usize) -> Result<Vec<OrderNumber>, Error> {
    let numbers: Result<Vec<_>, _> = list
        .split(',')
        .take(max + 1)
        .map(OrderNumber::parse)
        .collect();
    let numbers = numbers.map_err(|error| Error::Malformed(format!("numbers: {error}")))?;
    if numbers.len() > max {
        return Err(Error::Malformed(format!(
            "numbers: at most {max} at a time"
        )));
    }
    Ok(numbers)
}

/// The header that makes a request safe to repeat.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest idempotency key, in bytes.
pub(crate) const MAX_KEY: usize = 255;

/// A request that changes something, and who it comes from. Its id is of its `Idempotency-Key` where
/// it has one, in the scope of its user's keys, and a new one otherwise.
pub(super) struct Keyed<By>(pub(super) By, pub(super) RequestId);

/// Who a request comes from, if it says so.
pub(super) trait By {
    /// Whose idempotency keys it has.
    fn user(&self) -> Option<UserId>;
}

impl By for MaybeAuthenticated {
    fn user(&self) -> Option<UserId> {
        self.0.map(|identity| identity.user)
    }
}

impl By for Authenticated {
    fn user(&self) -> Option<UserId> {
        Some(self.0.user)
    }
}

impl By for Admin {
    fn user(&self) -> Option<UserId> {
        Some(self.0)
    }
}

impl<By> FromRequestParts<Arc<Frontend>> for Keyed<By>
where
    By: self::By + FromRequestParts<Arc<Frontend>, Rejection = Error>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, it: &Arc<Frontend>) -> Result<Self, Error> {
        let by = By::from_request_parts(parts, it).await?;
        let request = request_id(&parts.headers, by.user())?;
        Ok(Self(by, request))
    }
}

/// The parameter of a request that has a key, for the contract.
pub(super) struct RequestKey;

impl IntoParams for RequestKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_KEY))
            .pattern(Some("^[!-~]+$"));
        let parameter = ParameterBuilder::new()
            .name(IDEMPOTENCY_KEY)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "Makes the request safe to repeat: the same key and the same request are one order, \
                 or one change, however often they are sent. Each user's keys are their own.",
            ))
            .schema(Some(key));
        vec![parameter.build()]
    }
}

/// The id of a request with these headers, in the scope of the keys of `user`.
fn request_id(headers: &HeaderMap, user: Option<UserId>) -> Result<RequestId, Error> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, another) = (keys.next(), keys.next());
    let Some(key) = key else {
        return Ok(RequestId::fresh());
    };
    match key
        .to_str()
        .ok()
        .and_then(|key| request_id_of_key(user, key))
    {
        Some(id) if another.is_none() => Ok(id),
        _ => Err(Error::Malformed(format!(
            "{IDEMPOTENCY_KEY}: one key of 1 to {MAX_KEY} visible ASCII characters"
        ))),
    }
}

/// The id of the request that `user` sent under `key`; none where that is no key.
pub(crate) fn request_id_of_key(user: Option<UserId>, key: &str) -> Option<RequestId> {
    let valid =
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then(|| RequestId::from_key(user, key))
}

/// `text` as a segment of a path (RFC 3986, section 2).
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn id_of(keys: &[&[u8]]) -> Result<RequestId, Error> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append("idempotency-key", HeaderValue::from_bytes(key).unwrap());
        }
        request_id(&headers, None)
    }

    #[test]
    fn a_key_is_one_short_word_of_visible_ascii() {
        assert_eq!(id_of(&[b"k"]).unwrap(), RequestId::from_key(None, "k"));
        id_of(&[&[b'x'; 255]]).unwrap();
        for bad in [&b""[..], b"a b", b"\xff", "é".as_bytes(), &[b'x'; 256]] {
            id_of(&[bad]).unwrap_err();
        }
        id_of(&[b"k", b"k"]).unwrap_err();
        assert_ne!(id_of(&[]).unwrap(), id_of(&[]).unwrap());
    }

    #[test]
    fn numbers_are_digits_and_not_too_many() {
        let numbers = |list| parse_numbers(list, 3).map(|all| all.iter().map(|n| n.0).collect());
        assert_eq!(numbers("0,3,7"), Ok(vec![0, 3, 7]));
        for bad in [
            "",
            "1,",
            "1,,2",
            "+1",
            "-1",
            "1.5",
            "x",
            "1,2,3,4",
            "99999999999999999999",
        ] {
            numbers(bad).unwrap_err();
        }
    }
}
