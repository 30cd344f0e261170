//! Health, as gRPC's own protocol has it (`grpc.health.v1`): whether trades and lookups are served.

use std::sync::Arc;

use futures::stream::Empty;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, Health};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing::debug;

use super::proto::{orders_server, products_server, users_server};
use super::status::unknown_service;
use crate::Error;
use crate::http::Frontend;

/// What may be asked about; nothing stands for the whole.
const SERVICES: [&str; 5] = [
    "",
    products_server::SERVICE_NAME,
    orders_server::SERVICE_NAME,
    users_server::SERVICE_NAME,
    health_server::SERVICE_NAME,
];

/// Serves `grpc.health.v1.Health`.
pub(super) struct Service(pub(super) Arc<Frontend>);

#[tonic::async_trait]
impl Health for Service {
    /// Answers as `GET /readyz` does: the services are ready all at once.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(unknown_service(&service));
        }
        let status = match self.0.ready().await {
            Ok(()) => ServingStatus::Serving,
            Err(error) => {
                debug!(%error, "not serving");
                ServingStatus::NotServing
            }
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    /// Readiness is found by asking, and a stream of it would hold the process up when it stops.
    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let path = format!("/{}/Watch", health_server::SERVICE_NAME);
        Err(Error::UnknownPath(path).into())
    }
}
