//! The HTTP interface: which handler serves which path.
//!
//! A handler extracts, makes one call and maps the result. Every error, those of the router and of
//! the extractors included, is an [`Error`] and leaves through [`problem`].

mod books;
mod extract;
mod json;
mod operators;
mod orders;
mod problem;
mod products;
mod server;
mod stocks;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use bazaar_daemon::GroupClient;
use bazaar_rpc::catalog::CatalogClient;
use bazaar_rpc::connect::Directory;
use bazaar_rpc::orders::OrdersClient;
use bazaar_rpc::{Item, ItemKey, ServiceName};

pub(crate) use server::{Listener, Server};

use crate::Error;
use crate::cache::Cache;
use crate::http::extract::Freshness;
use crate::items::Items;
use crate::trades::Trades;

/// What the handlers work with.
pub(crate) struct Frontend {
    /// Who this is.
    pub name: ServiceName,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Lookups.
    pub items: Items,
    /// Trades and recorded orders.
    pub trades: Trades,
    /// None when it is switched off.
    pub cache: Option<Arc<Cache>>,
    /// The catalog group, for its leader.
    pub catalog: GroupClient<CatalogClient>,
    /// The order group, for its leader.
    pub orders: GroupClient<OrdersClient>,
    /// Every service, by name.
    pub directory: Directory,
}

type Shared = axum::extract::State<Arc<Frontend>>;

impl Frontend {
    async fn item(&self, key: ItemKey, freshness: Freshness) -> Result<Arc<Item>, Error> {
        match freshness {
            Freshness::AsCached => self.items.lookup(key).await,
            Freshness::FromCatalog => self.items.lookup_past_cache(key).await,
        }
    }
}

/// The whole interface.
pub(crate) fn router(frontend: Frontend) -> Router {
    Router::new()
        .route("/", get(operators::greeting))
        .route("/stocks/{name}", get(stocks::stock))
        .route("/orders", get(orders::list).post(orders::place))
        .route("/orders/{number}", get(orders::order))
        .route("/search/{topic}", get(books::search))
        .route("/info/{id}", get(books::info))
        .route("/lookup/{id}", get(books::info))
        .route("/purchase/{id}", post(books::purchase))
        .route("/buy/{id}", post(books::purchase))
        .route("/products", get(products::list))
        .route("/products/{id}", get(products::product))
        .route("/livez", get(operators::livez))
        .route("/readyz", get(operators::readyz))
        .route("/cluster", get(operators::cluster))
        .route("/cache", get(operators::cache))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(Arc::new(frontend))
}

async fn unknown_path(uri: Uri) -> Error {
    Error::UnknownPath(excerpt(uri.path()))
}

async fn unknown_method(method: Method, uri: Uri) -> Error {
    Error::UnknownMethod {
        method: excerpt(method.as_str()),
        path: excerpt(uri.path()),
    }
}

/// The beginning of what a client sent, short enough to be repeated to it.
fn excerpt(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
