//! The HTTP interface: which handler serves which path.
//!
//! A handler extracts, makes one call and maps the result. Every error, those of the router and of
//! the extractors included, is an [`Error`] and leaves through [`problem`]. A new handler is listed in
//! [`interface`], and with that in the published [`contract`].

mod accounts;
mod admin;
mod books;
mod conditional;
mod contract;
mod documents;
mod edge;
mod extract;
mod json;
mod new_order;
mod operators;
mod order_view;
mod orders;
mod page;
mod peer;
mod problem;
mod products;
mod server;
mod stocks;
mod time;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use bazaar_daemon::GroupClient;
use bazaar_rpc::catalog::CatalogClient;
use bazaar_rpc::connect::Directory;
use bazaar_rpc::orders::OrdersClient;
use bazaar_rpc::{Item, ItemKey, ServiceName};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::conditional::Freshness;
pub(crate) use self::edge::Edge;
pub(crate) use self::extract::{MAX_KEY, request_id_of_key};
pub(crate) use self::json::read as read_body;
pub(crate) use self::peer::ClientAddress;
pub(crate) use self::server::{Listener, Server};
use crate::Error;
use crate::accounts::Accounts;
use crate::auth::Verifier;
use crate::cache::Cache;
use crate::config::EdgeFlags;
use crate::grpc;
use crate::items::Items;
use crate::trades::Trades;

/// The smallest body that is compressed, in bytes.
const MIN_COMPRESSED: u64 = 1 << 10;

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
    /// The accounts service.
    pub accounts: Accounts,
    /// Who requests come from.
    pub verifier: Verifier,
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

/// The interface, and what requests pass before they reach it.
pub(crate) fn edge(frontend: Frontend, flags: &EdgeFlags) -> Edge {
    let frontend = Arc::new(frontend);
    let (router, document) = interface();
    let document = contract::json(&document).expect("the document is JSON");
    let documents = documents::router(document).layer(gzip());
    let router = router
        .merge(axum::Router::from(documents))
        .merge(grpc::router(&frontend))
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .with_state(frontend);
    Edge::new(router, flags)
}

/// The published contract: an OpenAPI 3.1 document, as JSON.
///
/// # Errors
/// When it has no form in JSON.
pub fn openapi() -> serde_json::Result<String> {
    contract::json(&interface().1)
}

/// Every handler, and the document that describes them.
fn interface() -> (axum::Router<Arc<Frontend>>, OpenApi) {
    let lists = OpenApiRouter::new()
        .routes(routes!(orders::list))
        .routes(routes!(books::search))
        .routes(routes!(products::list))
        .routes(routes!(users::list))
        .routes(routes!(operators::cluster))
        .routes(routes!(operators::cache))
        .layer(gzip());
    // Their answers are small: to compress them would cost more than it spares.
    let single = OpenApiRouter::new()
        .routes(routes!(operators::greeting))
        .routes(routes!(operators::livez))
        .routes(routes!(operators::readyz))
        .routes(routes!(stocks::stock))
        .routes(routes!(books::info))
        .route("/lookup/{id}", get(books::info))
        .routes(routes!(books::purchase))
        .route("/buy/{id}", post(books::purchase))
        .routes(routes!(products::product, admin::change, admin::remove))
        .routes(routes!(admin::create))
        .routes(routes!(admin::restock))
        .routes(routes!(orders::place))
        .routes(routes!(orders::order, orders::update, orders::cancel))
        .routes(routes!(users::register))
        .routes(routes!(users::login))
        .routes(routes!(users::refresh))
        .routes(routes!(users::logout))
        .routes(routes!(users::user, users::update, users::deactivate))
        .routes(routes!(users::reactivate))
        .routes(routes!(users::keys));
    let (router, mut document) = OpenApiRouter::with_openapi(contract::base())
        .merge(lists)
        .merge(single)
        .split_for_parts();
    contract::alias(&mut document, "/lookup/{id}", "/info/{id}", "lookupBook");
    contract::alias(&mut document, "/buy/{id}", "/purchase/{id}", "buyBook");
    (router, contract::complete(document))
}

/// Compresses bodies from 1 KiB on, for clients that take that, at the level that costs least.
fn gzip() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new()
        .gzip(true)
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_COMPRESSED))
}

async fn unknown_path(uri: Uri) -> Error {
    Error::UnknownPath(excerpt(uri.path()))
}

/// Answers `OPTIONS`, and refuses every other method that a path is not served with. The router adds
/// `Allow` to either.
async fn other_method(method: Method, uri: Uri) -> Result<StatusCode, Error> {
    if method == Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Error::UnknownMethod {
        method: excerpt(method.as_str()),
        path: excerpt(uri.path()),
    })
}

/// The beginning of what a client sent, short enough to be repeated to it.
pub(crate) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
