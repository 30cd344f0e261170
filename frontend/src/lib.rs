//! The frontend: the shops' HTTP interface, with a cache of items under a lease from the catalog.
//!
//! It keeps nothing that must survive it. Lookups are answered from the cache where its lease
//! allows, and by the catalog's leader otherwise; trades go to the leader of the order group, under
//! one request id however often they have to be sent.

mod cache;

mod accounts;
mod app;
mod auth;
mod config;
mod error;
mod grpc;
mod http;
mod items;
mod lease;
mod request;
mod trades;

pub use app::App;
pub use config::{Config, EdgeFlags, InvalidOrigin, Origin, Switch};
use error::Error;
pub use http::openapi;
