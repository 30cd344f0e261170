//! JSON bodies.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::Error;
use crate::http::excerpt;

/// The largest body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// A body above [`MAX_BODY`] is read this far and thrown away, in bytes: a client that is still
/// writing would otherwise find its connection reset in place of the answer.
const MAX_DISCARDED: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's body, read as JSON.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        parse(&read(&parts.headers, body).await?).map(Self)
    }
}

/// A request's body, which has nothing to say: none, or an empty JSON object.
pub(super) struct NoBody;

/// An empty object.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let body = read(&parts.headers, body).await?;
        if !body.is_empty() {
            check_content_type(&parts.headers)?;
            parse::<Nothing>(&body)?;
        }
        Ok(Self)
    }
}

/// A missing content type is taken as JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        Ok(())
    } else {
        Err(Error::NotJson(excerpt(&text)))
    }
}

/// Reads a body to its end.
///
/// # Errors
/// When it has more than [`MAX_BODY`] bytes, ends early, or takes longer than [`BODY_TIMEOUT`].
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > MAX_DISCARDED as u64 {
        return Err(Error::BodyTooLarge { max: MAX_BODY });
    }
    timeout(BODY_TIMEOUT, collect(body))
        .await
        .map_err(|_elapsed| Error::BodyTooSlow {
            limit: BODY_TIMEOUT,
        })?
}

async fn collect(mut body: Body) -> Result<Bytes, Error> {
    let mut collected = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::Malformed(format!("the body ended early: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= MAX_BODY {
            collected.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY {
        return Err(Error::BodyTooLarge { max: MAX_BODY });
    }
    Ok(collected.freeze())
}

/// A field that may be missing, and may not be null.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// Reads a body as JSON; says which field is wrong where one is.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // serde would read a struct from an array too.
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'{') {
        return Err(Error::Malformed("the body is not a JSON object".into()));
    }
    let malformed = |error: serde_json::Error, field: Option<String>| {
        Error::Malformed(match field {
            Some(field) => format!("{field}: {error}"),
            None => format!("the body is not the JSON object expected here: {error}"),
        })
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let field = (path != ".").then(|| excerpt(&path));
        malformed(error.into_inner(), field)
    })?;
    json.end().map_err(|error| malformed(error, None))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_json_by_its_content_type() {
        let check = |value: Option<&'static [u8]>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(value).unwrap());
            }
            check_content_type(&headers).is_ok()
        };
        assert!(check(None));
        assert!(check(Some(b"application/json")));
        assert!(check(Some(b"Application/JSON; charset=utf-8")));
        assert!(check(Some(b"application/merge-patch+json")));
        assert!(!check(Some(b"text/plain")));
        assert!(!check(Some(b"application/x-www-form-urlencoded")));
        assert!(!check(Some(b"")));
        assert!(!check(Some(b"\xff")));
    }
}
