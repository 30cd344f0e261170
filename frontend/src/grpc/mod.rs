//! The gRPC interface, on the address of the HTTP one: `proto/bazaar.proto` says what it promises.
//!
//! A handler reads the message, makes the same one call as its HTTP counterpart and maps the result.
//! Every error is an [`Error`] and leaves through [`status`].

mod convert;
mod orders;
mod products;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, Uri, Version};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tonic::Status;

use self::proto::orders_server::{self, OrdersServer};
use self::proto::products_server::{self, ProductsServer};
use self::proto::users_server;
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

/// The services, each under the path that gRPC gives it.
pub(crate) fn router(frontend: &Arc<Frontend>) -> Router<Arc<Frontend>> {
    let products = ProductsServer::new(products::Service(frontend.clone()));
    let orders = OrdersServer::new(orders::Service(frontend.clone()));
    Router::new()
        .route_service(&methods(products_server::SERVICE_NAME), products)
        .route_service(&methods(orders_server::SERVICE_NAME), orders)
        .route(&methods(users_server::SERVICE_NAME), any(unserved))
        .route_layer(from_fn(receive))
        .route("/bazaar.proto", get(CONTRACT))
}

/// The path of every method of a service.
fn methods(service: &str) -> String {
    format!("/{service}/{{method}}")
}

/// The answer of a service that the contract has and this frontend does not serve.
async fn unserved(uri: Uri) -> Response {
    Status::from(Error::UnknownPath(excerpt(uri.path()))).into_http()
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
    if !is_grpc(&parts) {
        return Error::NotGrpc.into_response();
    }
    match read_body(&parts.headers, body).await {
        Ok(message) => {
            next.run(Request::from_parts(parts, Body::from(message)))
                .await
        }
        Err(error) => Status::from(error).into_http(),
    }
}

/// Over HTTP/1 a client may not see trailers, and so not the status.
fn is_grpc(parts: &Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE);
    let essence = content_type
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .map(str::trim);
    parts.version == Version::HTTP_2
        && matches!(essence, Some("application/grpc" | "application/grpc+proto"))
}
