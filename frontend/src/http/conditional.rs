//! Requests on conditions: how new a lookup's answer has to be, whether the client has it already, and
//! which version of an item is to be edited (RFC 9110, section 13).

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bazaar_rpc::{ServiceKind, Version};
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::contract::header_parameter;
use crate::Error;
use crate::http::excerpt;
use crate::request::hexadecimal;

/// How new a lookup's answer has to be. Either is as new as every acknowledged trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As the cache has it, where it has it.
    AsCached,
    /// As the catalog has it: the request carries `Cache-Control: no-cache`.
    FromCatalog,
}

/// On what conditions an item is asked for.
pub(super) struct Conditions {
    /// How new it has to be.
    pub(super) freshness: Freshness,
    /// The tags of what the client has: the values of `If-None-Match`.
    held: Vec<HeaderValue>,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let held = parts.headers.get_all(IF_NONE_MATCH).iter().cloned();
        Ok(Self {
            freshness: freshness(&parts.headers),
            held: held.collect(),
        })
    }
}

fn freshness(headers: &HeaderMap) -> Freshness {
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value
                .split(',')
                .any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
        })
    };
    if headers.get_all(CACHE_CONTROL).iter().any(asks) {
        Freshness::FromCatalog
    } else {
        Freshness::AsCached
    }
}

impl Conditions {
    /// The answer that shows `body`, of an item's `version`, under a strong tag; where the client
    /// has that already, an answer without the body.
    ///
    /// The tag is the version and a checksum of the body: the same version of another cluster's
    /// item, or in another representation, has another tag.
    ///
    /// # Errors
    /// When `body` is nothing that JSON has.
    pub(super) fn answer(
        &self,
        version: Version,
        body: &impl Serialize,
    ) -> Result<Response, Error> {
        let mut response = tagged(version, body)?;
        let headers = response.headers_mut();
        // It may be kept, and has to be asked for again each time: the next trade changes it.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let tag = headers[ETAG].as_bytes();
        if self.held.iter().any(|held| names(held.as_bytes(), tag)) {
            headers.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
        }
        Ok(response)
    }
}

/// The answer that shows `body`, of an item's `version`, under a strong tag.
///
/// # Errors
/// When `body` is nothing that JSON has.
pub(super) fn tagged(version: Version, body: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_vec(body).map_err(|error| Error::Contract {
        service: ServiceKind::Frontend,
        reason: error.to_string(),
    })?;
    let tag = HeaderValue::from_bytes(&tag(version, &body)).expect("it is visible ASCII");
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    Ok(response)
}

/// The version that an item must have to be edited, from `If-Match`. It is asked for when all else is
/// known to be right (RFC 9110, section 13.2.1).
pub(super) struct IfMatch(Result<Option<Version>, Error>);

impl IfMatch {
    /// The version; none where any will do.
    ///
    /// # Errors
    /// When the tag is of no version.
    pub(super) fn version(self) -> Result<Option<Version>, Error> {
        self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let mut conditions = parts.headers.get_all(IF_MATCH).iter();
        let (condition, another) = (conditions.next(), conditions.next());
        let Some(condition) = condition else {
            return Ok(Self(Ok(None)));
        };
        let text = String::from_utf8_lossy(condition.as_bytes());
        if another.is_some() || text.contains(',') {
            let problem = "If-Match: one entity tag, or *".into();
            return Err(Error::Malformed(problem));
        }
        if text.trim() == "*" {
            return Ok(Self(Ok(None)));
        }
        let version = version_of_tag(text.trim()).map(Some);
        Ok(Self(version.ok_or_else(|| Error::NoMatch(excerpt(&text)))))
    }
}

/// The version in a tag, with or without the checksum that lookups show. A tag without one, a weak
/// one too, is a tag that no item has.
fn version_of_tag(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (version, checksum) = text.split_once('-').unwrap_or((text, "00000000"));
    let is_tag = version.bytes().all(|byte| byte.is_ascii_digit())
        && checksum.len() == 8
        && checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
    version.parse().ok().filter(|_| is_tag)
}

/// The tag of `body`, which shows an item's `version`.
fn tag(version: Version, body: &[u8]) -> Vec<u8> {
    let mut tag = Vec::with_capacity(32);
    tag.push(b'"');
    tag.extend_from_slice(version.to_string().as_bytes());
    tag.push(b'-');
    tag.extend_from_slice(&hexadecimal::<8>(crc32fast::hash(body).into()));
    tag.push(b'"');
    tag
}

/// Whether a value of `If-None-Match` names `tag`, in the weak comparison. What is no list of tags
/// names none.
fn names(list: &[u8], tag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        if rest.first() != Some(&b'"') {
            return false;
        }
        let Some(length) = rest[1..].iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let (first, others) = rest.split_at(length + 2);
        if first == tag {
            return true;
        }
        match others.trim_ascii_start().strip_prefix(b",") {
            Some(others) => rest = others.trim_ascii_start(),
            None => return false,
        }
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The tag of the version that is to be edited, or `*`: where the item has \
             another, the answer is 412.";
        // One tag, and not a list of them.
        let tag = text().pattern(Some("^[^,]*$"));
        vec![header_parameter("If-Match", description, tag.build())]
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            header_parameter(
                "If-None-Match",
                "The tags of what the client has: where one is still right, the answer is 304.",
                text().build(),
            ),
            header_parameter(
                "Cache-Control",
                "`no-cache` has the catalog asked, and not the frontend's cache.",
                text().build(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn if_match(conditions: &[&'static str]) -> Result<Option<Version>, Error> {
        let mut request = axum::http::Request::builder();
        for condition in conditions {
            request = request.header(IF_MATCH, *condition);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        IfMatch::from_request_parts(&mut parts, &())
            .await?
            .version()
    }

    #[tokio::test]
    async fn if_match_is_a_tag_or_anything() {
        assert_eq!(if_match(&[]).await, Ok(None));
        assert_eq!(if_match(&["*"]).await, Ok(None));
        for tag in [" \"17\" ", "\"17-00c0ffee\""] {
            assert_eq!(if_match(&[tag]).await, Ok(Some(Version(17))));
        }
        let tag = String::from_utf8(tag(Version(17), b"{}")).unwrap();
        assert_eq!(version_of_tag(&tag), Some(Version(17)));
        for other in [
            "17",
            "\"\"",
            "\"+1\"",
            "W/\"17\"",
            "\"x\"",
            "\"17",
            "\"",
            "\"17-\"",
            "\"17-00c0ffe\"",
            "\"-00c0ffee\"",
        ] {
            let outcome = if_match(&[other]).await;
            assert!(matches!(outcome, Err(Error::NoMatch(_))), "{other}");
        }
        for several in [&["\"1\", \"2\""][..], &["\"1\"", "\"2\""]] {
            let outcome = if_match(several).await;
            assert!(matches!(outcome, Err(Error::Malformed(_))));
        }
    }

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = "\"7-00c0ffee\"";
        for list in [
            "*",
            " * ",
            tag,
            "W/\"7-00c0ffee\"",
            "\"a,b\", \"7-00c0ffee\"",
            "\"\" ,W/\"x\",  \"7-00c0ffee\" , \"y\"",
        ] {
            assert!(names(list.as_bytes(), tag.as_bytes()), "{list}");
        }
        for list in [
            "",
            "7-00c0ffee",
            "\"7-00c0ffe\"",
            "\"7-00c0ffee",
            "\"8-00c0ffee\"",
            "\"a\" \"7-00c0ffee\"",
            "w/\"7-00c0ffee\"",
            "a, \"7-00c0ffee\"",
        ] {
            assert!(!names(list.as_bytes(), tag.as_bytes()), "{list}");
        }
    }
}
