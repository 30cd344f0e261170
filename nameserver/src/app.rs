//! The name server's lifecycle.

use std::net::SocketAddr;

use anyhow::Context as _;
use bazaar_daemon::{Acceptor, DataDir, Routes, Tasks};
use bazaar_rpc::connect::serve;
use bazaar_rpc::naming::Naming as _;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName};
use tracing::{error, info};

use crate::Config;
use crate::server::NamingServer;
use crate::store::Store;

/// The name server.
pub struct App {
    address: SocketAddr,
    server: NamingServer,
    /// Held until the end.
    _dir: DataDir,
}

impl App {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl bazaar_daemon::App for App {
    type Config = Config;

    async fn build(Config { flags }: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let dir = DataDir::open(&flags.data_dir)?;
        let acceptor = Acceptor::bind(flags.listen).await.context("--listen")?;
        let address = acceptor.address();
        let server = NamingServer::open(Store::new(dir.path()))?;

        let served = server.clone();
        let naming = move |stream| serve(stream, served.clone().serve());
        let routes = Routes::new().with(Protocol::Naming, naming);
        let name = ServiceName::new(ServiceKind::Nameserver, 1);
        acceptor.serve(tasks, flags.cluster, name, routes);
        tasks.spawn_vital("expiry", server.clone().expire());
        tasks.spawn_vital("saving", server.clone().keep_saved());

        info!(%address, "serving names");
        Ok(Self {
            address,
            server,
            _dir: dir,
        })
    }

    async fn drain(self) {
        if let Err(error) = self.server.save().await {
            error!(%error, "could not save the table of names");
        }
    }
}
