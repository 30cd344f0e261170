//! The frontend's lifecycle.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bazaar_daemon::{Acceptor, GroupClient, Presence, Routes, Tasks};
use bazaar_rpc::cache::Invalidations as _;
use bazaar_rpc::catalog::CatalogClient;
use bazaar_rpc::connect::{client_config, client_transport, serve};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::OrdersClient;
use bazaar_rpc::{ServiceKind, ServiceName};
use tokio::sync::watch;
use tracing::info;

use crate::Config;
use crate::accounts::Accounts;
use crate::auth::{self, Verifier};
use crate::cache::Cache;
use crate::config::Switch;
use crate::http::{self, Frontend, Listener, Server};
use crate::items::Items;
use crate::lease::{self, InvalidationServer};
use crate::trades::Trades;

/// A frontend that runs.
pub struct App {
    http_address: SocketAddr,
    http: Server,
    presence: Presence,
}

impl App {
    /// Where it serves HTTP.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }
}

impl bazaar_daemon::App for App {
    type Config = Config;

    async fn build(config: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let Config {
            flags,
            http,
            cache,
            cache_items,
            edge,
        } = config;
        let name = ServiceName::new(ServiceKind::Frontend, flags.id);
        let acceptor = Acceptor::bind(flags.listen).await.context("--listen")?;
        let listener = Listener::bind(http).await.context("--http")?;
        let (address, http_address) = (acceptor.address(), listener.address());

        let directory = flags.directory();
        let catalog = GroupClient::spawn(
            tasks,
            directory.clone(),
            ServiceKind::Catalog,
            Protocol::Catalog,
            |stream| CatalogClient::new(client_config(), client_transport(stream)),
        );
        let orders = GroupClient::spawn(
            tasks,
            directory.clone(),
            ServiceKind::Order,
            Protocol::Orders,
            |stream| OrdersClient::new(client_config(), client_transport(stream)),
        );

        let capacity = usize::try_from(cache_items.get()).context("--cache-items")?;
        let cache = (cache == Switch::On).then(|| Arc::new(Cache::new(capacity)));
        let mut routes = Routes::new();
        if let Some(cache) = &cache {
            let invalidations = InvalidationServer::new(cache.clone());
            routes = routes.with(Protocol::Invalidations, move |stream| {
                serve(stream, invalidations.clone().serve())
            });
            tasks.spawn(lease::keep(catalog.clone(), cache.clone(), name, address));
        }
        acceptor.serve(tasks, flags.cluster, name, routes);

        let (accounts_sender, accounts) = watch::channel(None);
        let verifier = Verifier::new();
        let following = auth::follow(directory.clone(), verifier.clone(), accounts_sender);
        tasks.spawn(following);

        let frontend = Frontend {
            name,
            http: http_address,
            items: Items::new(catalog.clone(), cache.clone(), tasks.clone()),
            trades: Trades::new(orders.clone()),
            cache,
            catalog,
            orders,
            accounts: Accounts::new(accounts),
            verifier,
            directory: directory.clone(),
        };
        let http = listener.serve(tasks, http::edge(frontend, &edge));
        info!(address = %http_address, "serving http");
        let metadata = BTreeSet::from(["kind:frontend".into(), format!("http:{http_address}")]);
        let presence = Presence::spawn(tasks, directory, name, address, metadata);
        Ok(Self {
            http_address,
            http,
            presence,
        })
    }

    async fn drain(self) {
        self.presence.withdraw().await;
        self.http.drain().await;
    }
}
