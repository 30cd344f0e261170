//! Cross-origin requests of browsers: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::config::Origin;

/// What pages of other origins may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, cache-control, content-type, idempotency-key, if-match, if-none-match, \
     traceparent, x-request-id",
);

/// What they may read beside the body.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, item-version, link, ratelimit, ratelimit-policy, retry-after, \
     traceparent, x-request-id",
);

/// How long a browser may remember that, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may read answers. They are sent no credentials by the browser: tokens
/// travel in a header that the page sets.
pub(super) struct Cors {
    allowed: Vec<HeaderValue>,
}

impl Cors {
    /// Allows `origins`; none where there are none.
    #[must_use]
    pub(super) fn new(origins: &[Origin]) -> Option<Self> {
        let allowed: Vec<_> = origins.iter().map(Origin::header).collect();
        (!allowed.is_empty()).then_some(Self { allowed })
    }

    /// The origin of the page that sends `request`, where it is an allowed one.
    #[must_use]
    pub(super) fn origin_of(&self, request: &Request) -> Option<&HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        self.allowed.iter().find(|allowed| *allowed == origin)
    }

    /// Lets a page of `origin` read an answer with `headers`. Without one, caches are told all the
    /// same that it depends on the origin.
    pub(super) fn expose(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        }
    }
}

/// The answer to `request` where a browser asks with it whether a page of an allowed origin may send
/// another one.
#[must_use]
pub(super) fn preflight(request: &Request) -> Option<Response> {
    let asks = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| {
        let headers = [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        (StatusCode::NO_CONTENT, headers).into_response()
    })
}
