//! The gRPC interface, on the address of the HTTP one: `proto/bazaar.proto` says what it promises.
//!
//! A handler reads the message, makes the same one call as its HTTP counterpart and maps the result.
//! Every error is an [`Error`] and leaves through [`status`].

mod caller;
mod convert;
mod health;
mod orders;
mod products;
mod status;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Version};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tonic::Status;
use tonic_health::pb::health_server::{self, HealthServer};

use self::proto::orders_server::{self, OrdersServer};
use self::proto::products_server::{self, ProductsServer};
use self::proto::users_server::{self, UsersServer};
use crate::Error;
use crate::http::{Frontend, excerpt, read_body};

/// What the build script makes of the contract.
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    reason = "it is generated, and its documentation is the contract's"
)]
mod proto {
    tonic::include_proto!("bazaar.v1");
}

/// The contract itself, for whoever writes a client.
const CONTRACT: &str = include_str!("../../proto/bazaar.proto");

/// The path of the question whether a service can be used.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The services, each under the path that gRPC gives it.
pub(crate) fn router(frontend: &Arc<Frontend>) -> Router<Arc<Frontend>> {
    let products = ProductsServer::new(products::Service(frontend.clone()));
    let orders = OrdersServer::new(orders::Service(frontend.clone()));
    let users = UsersServer::new(users::Service(frontend.clone()));
    let health = HealthServer::new(health::Service(frontend.clone()));
    Router::new()
        .route_service(&methods(products_server::SERVICE_NAME), products)
        .route_service(&methods(orders_server::SERVICE_NAME), orders)
        .route_service(&methods(users_server::SERVICE_NAME), users)
        .route_service(&methods(health_server::SERVICE_NAME), health)
        .route_layer(from_fn(receive))
        .route("/bazaar.proto", get(CONTRACT))
}

/// The path of every method of a service.
fn methods(service: &str) -> String {
    format!("/{service}/{{method}}")
}

/// Checks that a request is gRPC, and reads its message within the bounds of every body here. (tonic
/// alone would wait for it for ever.)
async fn receive(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let (method, path) = (excerpt(method), excerpt(path));
        return Error::UnknownMethod { method, path }.into_response();
    }
    if !is_grpc(parts.version, &parts.headers) {
        return Error::NotGrpc.into_response();
    }
    match read_body(&parts.headers, body).await {
        Ok(message) => {
            let path = excerpt(parts.uri.path());
            let request = Request::from_parts(parts, Body::from(message));
            reasoned(next.run(request).await, &path)
        }
        Err(error) => refusal(error),
    }
}

/// `response`, to a call of `path`. Every status of ours has details, so one without them is tonic's:
/// it knows no such method, or could not read the message.
fn reasoned(response: Response, path: &str) -> Response {
    match Status::from_header_map(response.headers()) {
        Some(made) if made.details().is_empty() => status::with_reason(&made, path).into_http(),
        _ => response,
    }
}

/// An error, as a client of gRPC reads it.
pub(crate) fn refusal(error: Error) -> Response {
    Status::from(error).into_http()
}

/// Whether a request is of gRPC. Over HTTP/1 it is not: its client may not see trailers, and so not
/// the status.
pub(crate) fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    let essence = content_type
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .map(str::trim);
    version == Version::HTTP_2
        && matches!(essence, Some("application/grpc" | "application/grpc+proto"))
}
