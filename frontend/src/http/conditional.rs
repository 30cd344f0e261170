//! Lookups on conditions: how new the answer has to be, and whether the client has it already
//! (RFC 9110, section 13).

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bazaar_rpc::{ServiceKind, Version};
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::Error;
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
        let body = serde_json::to_vec(body).map_err(|error| Error::Contract {
            service: ServiceKind::Frontend,
            reason: error.to_string(),
        })?;
        let tag = tag(version, &body);
        let held = self.held.iter().any(|held| names(held.as_bytes(), &tag));
        let mut response = if held {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(Body::from(body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        };
        let headers = response.headers_mut();
        let tag = HeaderValue::from_bytes(&tag).expect("it is visible ASCII");
        headers.insert(ETAG, tag);
        // It may be kept, and has to be asked for again each time: the next trade changes it.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(response)
    }
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

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, description: &str| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build()
        };
        vec![
            header(
                "If-None-Match",
                "The tags of what the client has: where one is still right, the answer is 304.",
            ),
            header(
                "Cache-Control",
                "`no-cache` has the catalog asked, and not the frontend's cache.",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
