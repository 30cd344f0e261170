//! What every request passes on its way to a handler, and every answer on its way back, outermost
//! first:
//!
//! 1. the request's id and trace, which the answer repeats ([`crate::request`]);
//! 2. cross-origin rules, where origins are allowed ([`cors`]);
//! 3. the rate limit, where there is one ([`rate_limit`]);
//! 4. the router, in which lists and documents pass through gzip;
//! 5. `Cache-Control: no-store`, where a handler has not said otherwise.
//!
//! These are plain calls and not layers of the router: what is switched off costs one comparison. All
//! that comes before the router is done before anything is waited for.

mod cors;
mod rate_limit;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use axum::routing::future::RouteFuture;
use tower::Service as _;
use tracing::{Instrument as _, debug_span};

use self::cors::Cors;
use self::rate_limit::{Budget, RateLimit};
use crate::Error;
use crate::config::EdgeFlags;
use crate::grpc;
use crate::request::{Ids, Request};

/// Paths that are served however much a client asks: a load balancer that is refused them would take
/// the frontend for dead.
const UNLIMITED: [&str; 3] = ["/livez", "/readyz", grpc::CHECK];

/// The router, and what lies before it.
pub(crate) struct Edge {
    ids: Ids,
    cors: Option<Cors>,
    rate_limit: Option<RateLimit>,
    router: Router,
}

impl Edge {
    /// Puts what `flags` ask for before `router`.
    #[must_use]
    pub(super) fn new(router: Router, flags: &EdgeFlags) -> Self {
        Self {
            ids: Ids::new(),
            cors: Cors::new(&flags.cors_origins),
            rate_limit: RateLimit::new(flags),
            router,
        }
    }

    /// Answers a request of `peer`.
    pub(super) fn answer(
        self: Arc<Self>,
        peer: IpAddr,
        http: HttpRequest,
    ) -> impl Future<Output = Response> {
        let request = Request::of(http.headers(), &self.ids);
        let span = debug_span!(
            "request", id = %request, %peer, method = %http.method(), path = http.uri().path()
        );
        let origin = self.cors.as_ref().and_then(|cors| cors.origin_of(&http));
        let origin = origin.cloned();
        let passage = self.admit(peer, origin.as_ref(), http);
        let this = request.clone();
        let work = async move {
            let (mut response, budget) = passage.outcome().await;
            let headers = response.headers_mut();
            headers
                .entry(CACHE_CONTROL)
                .or_insert(HeaderValue::from_static("no-store"));
            if let (Some(limit), Some(budget)) = (&self.rate_limit, budget) {
                limit.tell(budget, headers);
            }
            if let Some(cors) = &self.cors {
                cors.expose(origin.as_ref(), headers);
            }
            this.announce(headers);
            response
        };
        request.scope(work).instrument(span)
    }

    /// Sees how far a request comes.
    fn admit(&self, peer: IpAddr, origin: Option<&HeaderValue>, http: HttpRequest) -> Passage {
        if let Some(answer) = origin.and_then(|_| cors::preflight(&http)) {
            return Passage::Preflight(answer);
        }
        let limit = self.rate_limit.as_ref();
        let budget = limit
            .filter(|_| !UNLIMITED.contains(&http.uri().path()))
            .map(|limit| limit.take(peer));
        match budget.transpose() {
            Ok(budget) => Passage::Handled(self.router.clone().call(http), budget),
            Err(budget) => {
                let is_grpc = grpc::is_grpc(http.version(), http.headers());
                Passage::TooOften { budget, is_grpc }
            }
        }
    }
}

/// How far a request comes, and what is left of its address's budget then.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is a handled one, and does without a box"
)]
enum Passage {
    /// A browser has asked whether it may ask.
    Preflight(Response),
    /// Its address has asked too often.
    TooOften {
        /// There is none left of it.
        budget: Budget,
        /// Whether it reads statuses of gRPC, and not of HTTP.
        is_grpc: bool,
    },
    /// A handler has it.
    Handled(RouteFuture<Infallible>, Option<Budget>),
}

impl Passage {
    async fn outcome(self) -> (Response, Option<Budget>) {
        match self {
            Self::Preflight(response) => (response, None),
            Self::TooOften { budget, is_grpc } => {
                let retry_after = budget.wait();
                let error = Error::TooManyRequests { retry_after };
                let response = if is_grpc {
                    grpc::refusal(error)
                } else {
                    error.into_response()
                };
                (response, Some(budget))
            }
            Self::Handled(work, budget) => match work.await {
                Ok(response) => (response, budget),
                Err(never) => match never {},
            },
        }
    }
}
