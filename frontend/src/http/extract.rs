//! What handlers take from a request's path, query and headers. Each is checked here, and trusted
//! afterwards.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use bazaar_rpc::{ItemName, ItemNumber, OrderNumber, RequestId, Text};
use serde::de::DeserializeOwned;

use crate::Error;
use crate::http::excerpt;

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

/// How new a lookup's answer has to be. Either is as new as every acknowledged trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As the cache has it, where it has it.
    AsCached,
    /// As the catalog has it: the request carries `Cache-Control: no-cache`.
    FromCatalog,
}

impl<S: Send + Sync> FromRequestParts<S> for Freshness {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let asks = |value: &str| {
            value
                .split(',')
                .any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
        };
        let mut values = parts.headers.get_all(CACHE_CONTROL).iter();
        Ok(if values.any(|value| value.to_str().is_ok_and(asks)) {
            Self::FromCatalog
        } else {
            Self::AsCached
        })
    }
}

/// The id of a request to trade: of its `Idempotency-Key` where it has one, a new one otherwise.
pub(super) struct RequestKey(pub(super) RequestId);

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for RequestKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        request_id(&parts.headers).map(Self)
    }
}

fn request_id(headers: &HeaderMap) -> Result<RequestId, Error> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let (key, another) = (keys.next(), keys.next());
    let Some(key) = key else {
        return Ok(RequestId::fresh());
    };
    let valid = |key: &&str| {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.to_str().ok().filter(valid) {
        Some(key) if another.is_none() => Ok(RequestId::from_key(None, key)),
        _ => Err(Error::Malformed(format!(
            "Idempotency-Key: one key of 1 to {MAX_KEY} visible ASCII characters"
        ))),
    }
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
        request_id(&headers)
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
