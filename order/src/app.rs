//! An order replica's lifecycle.

use anyhow::{Context as _, ensure};
use bazaar_daemon::{Acceptor, DataDir, GroupClient, Presence, Routes, Tasks};
use bazaar_machine::task::spawn_blocking;
use bazaar_replication::Group;
use bazaar_rpc::catalog::CatalogClient;
use bazaar_rpc::connect::{client_config, client_transport, serve};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::Orders as _;
use bazaar_rpc::{ServiceKind, ServiceName};
use tracing::{error, info};

use crate::Config;
use crate::lead::{Lead, Throne};
use crate::machine::Machine;
use crate::server::OrdersServer;
use crate::store::Store;

/// Where, under the data directory, the order history is.
pub(crate) const STORE_DIR: &str = "store";
/// Where, under the data directory, the replication keeps its log.
const RAFT_DIR: &str = "raft";

/// An order replica.
pub struct App {
    pub(crate) group: Group,
    presence: Presence,
    pub(crate) store: Store,
    /// Held until the end.
    _dir: DataDir,
}

impl bazaar_daemon::App for App {
    type Config = Config;

    async fn build(config: Config, tasks: &Tasks) -> anyhow::Result<Self> {
        let Config { flags, members, .. } = config;
        let me = ServiceName::new(ServiceKind::Order, flags.id);
        ensure!(
            flags.id <= members,
            "--id {} is not one of --members {members}",
            flags.id
        );
        let directory = flags.directory();
        let dir = DataDir::open(&flags.data_dir)?;
        let acceptor = Acceptor::bind(flags.listen).await.context("--listen")?;

        // In a task, so that a store which breaks its own code is reported as any other damage is.
        let store_dir = dir.path().join(STORE_DIR);
        let opened = spawn_blocking({
            let store_dir = store_dir.clone();
            move || Store::open(&store_dir)
        });
        let (store, checkpoint) = opened
            .await
            .with_context(|| format!("order store {}: damaged", store_dir.display()))??;
        info!(orders = %checkpoint.head.next_number, "opened the order store");

        let group = Group::open(
            bazaar_replication::Config {
                name: me,
                members: (1..=members).collect(),
                dir: dir.path().join(RAFT_DIR),
                snapshot_entries: config.snapshot_entries,
                kept_entries: config.kept_entries,
                snapshot_interval: config.snapshot_interval.into(),
            },
            directory.clone(),
            Machine::new(store.clone(), checkpoint),
            tasks,
        )
        .await?;
        let throne = Throne::default();
        let server = OrdersServer {
            group: group.clone(),
            store: store.clone(),
            reign: throne.subscribe(),
            tasks: tasks.clone(),
        };
        let lead = Lead {
            me,
            group: group.clone(),
            catalog: catalog(tasks, &flags),
            store: store.clone(),
            throne,
        };
        tasks.spawn_vital("leading", lead.run());

        let orders = move |stream| serve(stream, server.clone().serve());
        let routes = group.routes(Routes::new().with(Protocol::Orders, orders));
        let address = acceptor.address();
        acceptor.serve(tasks, flags.cluster, me, routes);
        let metadata = [format!("kind:{}", me.kind)].into();
        let presence = Presence::spawn(tasks, directory, me, address, metadata);
        info!(%me, %address, "serving orders");
        Ok(Self {
            group,
            presence,
            store,
            _dir: dir,
        })
    }

    async fn drain(self) {
        self.presence.withdraw().await;
        self.group.stop().await;
        if let Err(error) = self.store.persist() {
            error!(%error, "could not sync the order store");
        }
    }
}

/// Calls to the catalog.
fn catalog(tasks: &Tasks, flags: &bazaar_daemon::Flags) -> GroupClient<CatalogClient> {
    GroupClient::spawn(
        tasks,
        flags.directory(),
        ServiceKind::Catalog,
        Protocol::Catalog,
        |stream| CatalogClient::new(client_config(), client_transport(stream)),
    )
}
