//! The catalog's process: what it opens, serves and closes.

use std::sync::Arc;

use anyhow::ensure;
use bazaar_daemon::{Acceptor, DataDir, Presence, Routes, Tasks};
use bazaar_replication::Group;
use bazaar_rpc::catalog::Catalog;
use bazaar_rpc::connect::serve;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{ServiceKind, ServiceName};
use tracing::{error, info};

use crate::machine::{Machine, Replica};
use crate::reign::Ruler;
use crate::server::Server;
use crate::settle::Settlement;
use crate::snapshot_file::SnapshotFile;
use crate::{Config, shop};

/// How many of the last entries stay in the log, for replicas that were absent briefly.
const KEPT_ENTRIES: u64 = 5_000;

/// A catalog process.
pub struct App {
    address: std::net::SocketAddr,
    pub(crate) group: Group,
    #[cfg(feature = "simulation")]
    pub(crate) replica: Arc<Replica>,
    presence: Presence,
    /// Locked as long as this lives.
    _dir: DataDir,
}

impl App {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

impl bazaar_daemon::App for App {
    type Config = Config;

    async fn build(config: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let Config {
            flags,
            shops,
            members,
            lease,
            snapshot_interval,
            snapshot_entries,
        } = config;
        ensure!(
            flags.id <= members,
            "--id {} is not among the {members} members",
            flags.id
        );
        let name = ServiceName::new(ServiceKind::Catalog, flags.id);
        let directory = flags.directory();
        let shops = shop::load(&shops)?;
        let dir = DataDir::open(&flags.data_dir)?;
        let file = SnapshotFile::new(dir.path());
        let (state, mark) = file
            .read()?
            .map_or_else(Default::default, |(s, m)| (s, Some(m)));
        let acceptor = Acceptor::bind(flags.listen).await?;
        let address = acceptor.address();

        let replica = Arc::new(Replica::new(state, Settlement::new(lease)));
        let group = bazaar_replication::Config {
            name,
            members: (1..=members).collect(),
            dir: dir.path().into(),
            snapshot_entries,
            snapshot_interval,
            kept_entries: KEPT_ENTRIES,
        };
        let machine = Machine::new(replica.clone(), file, mark);
        let group = Group::open(group, directory.clone(), machine, tasks).await?;
        let ruler = Arc::new(Ruler::new(name, group.clone(), replica.clone(), shops));
        tasks.spawn_vital("reign", ruler.clone().follow());
        let server = Server {
            ruler,
            replica: replica.clone(),
            directory: directory.clone(),
            tasks: tasks.clone(),
        };
        let routes = group
            .routes(Routes::new())
            .with(Protocol::Catalog, move |stream| {
                serve(stream, server.clone().serve())
            });
        acceptor.serve(tasks, directory.cluster().clone(), name, routes);
        let metadata = ["kind:catalog".into()].into();
        let presence = Presence::spawn(tasks, directory, name, address, metadata);
        info!(%name, %address, "serving");
        Ok(Self {
            address,
            group,
            #[cfg(feature = "simulation")]
            replica,
            presence,
            _dir: dir,
        })
    }

    async fn drain(self) {
        self.presence.withdraw().await;
        if let Err(error) = self.group.snapshot().await {
            error!(%error, "no snapshot at the end; the log has everything");
        }
        self.group.stop().await;
    }
}
