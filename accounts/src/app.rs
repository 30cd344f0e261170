//! The lifecycle of the accounts service.

use std::net::SocketAddr;

use anyhow::Context as _;
use bazaar_daemon::{Acceptor, DataDir, Presence, Routes, Tasks};
use bazaar_machine::task::spawn_blocking;
use bazaar_rpc::accounts::Accounts as _;
use bazaar_rpc::connect::serve;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName, Timestamp};
use tracing::{info, warn};

use crate::Config;
use crate::error::StoreError;
use crate::keys::{KeyError, KeyFiles, KeyRing};
use crate::limits::Limits;
use crate::passwords::Passwords;
use crate::private;
use crate::server::AccountsServer;
use crate::service::Service;
use crate::store::{Patience, Store};
use crate::upkeep;

/// Where, under the data directory, the keys are.
pub(crate) const KEYS_DIR: &str = "keys";

/// The accounts service.
pub struct App {
    address: SocketAddr,
    service: Service,
    presence: Presence,
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

    async fn build(config: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let Config { flags, .. } = config;
        let me = ServiceName::new(ServiceKind::Accounts, flags.id);
        let directory = flags.directory();
        let dir = DataDir::open(&flags.data_dir)?;
        // The database and the keys are nobody else's.
        private::open_dir(dir.path()).with_context(|| dir.path().display().to_string())?;
        let acceptor = Acceptor::bind(flags.listen).await.context("--listen")?;
        let address = acceptor.address();

        let files = KeyFiles::open(&dir.path().join(KEYS_DIR))?;
        let keys = first_keys(&files)?;
        let passwords = spawn_blocking(Passwords::start).await??;
        let store = Store::new(config.database.url.as_ref(), dir.path(), Patience::REQUEST)
            .context("--database")?;
        let limits = Limits::new(config.logins_per_user, config.logins_per_address);
        let service = Service::new(store, passwords, limits, keys);
        match upkeep::look(&service).await {
            Ok(()) => {}
            // A server may come back, and a busy disk gets to it; until then every call is answered so.
            Err(error @ (StoreError::Unavailable(_) | StoreError::NoAnswer)) => {
                warn!(%error, "starting without a database");
            }
            Err(error) => return Err(error).context(service.raw_store().place()),
        }
        tasks.spawn_vital(
            "following the database",
            upkeep::follow_database(service.clone()),
        );
        tasks.spawn_vital(
            "following the keys",
            upkeep::follow_keys(service.clone(), files, config.rotate_keys.into()),
        );
        tasks.spawn_vital("forgetting sessions", upkeep::purge(service.clone()));

        let server = AccountsServer(service.clone());
        let accounts = move |stream| serve(stream, server.clone().serve());
        let routes = Routes::new().with(Protocol::Accounts, accounts);
        acceptor.serve(tasks, flags.cluster, me, routes);
        let metadata = [format!("kind:{}", me.kind)].into();
        let presence = Presence::spawn(tasks, directory, me, address, metadata);
        info!(%me, %address, "serving accounts");
        Ok(Self {
            address,
            service,
            presence,
            _dir: dir,
        })
    }

    async fn drain(self) {
        self.presence.withdraw().await;
        self.service.raw_store().close().await;
    }
}

/// The keys; the first one is made where there is none.
fn first_keys(files: &KeyFiles) -> Result<KeyRing, KeyError> {
    if let Some(ring) = files.load()? {
        return Ok(ring);
    }
    let key = files.create(Timestamp::now())?;
    info!(kid = key.kid(), "made the first key");
    KeyRing::new(vec![key.into()]).ok_or_else(|| files.missing())
}
