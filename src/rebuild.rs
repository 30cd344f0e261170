//! `bazaar catalog rebuild`, for a cluster that `bazaar up` runs: it knows where everything is, and
//! where the cluster is down, it starts what is needed for as long as that takes.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bazaar_catalog::RebuildFlags;
use bazaar_catalog::rebuild::{Rebuild, Report};
use bazaar_daemon::{DataDir, DataDirError, Flags, Tasks};
use bazaar_frontend::{EdgeFlags, Switch};
use bazaar_rpc::connect::Directory;
use bazaar_rpc::{ServiceKind, ServiceName};

use crate::cluster::{Cluster, SizeFlags};
use crate::control;
use crate::launcher::{Launcher, Options};
use crate::layout::Layout;
use crate::roster::Roster;
use crate::supervisor::Supervisor;

/// How long the connections to the cluster may take to end.
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// Rebuilds the catalog of the cluster in the data directory that `flags` name.
///
/// The children that this may start end with the *thread* that started them, so all is done on the
/// calling one, which must be the main thread.
pub(crate) fn run(flags: RebuildFlags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(rebuild(flags))?;
    write!(io::stdout().lock(), "{report}").context("standard output")
}

async fn rebuild(flags: RebuildFlags) -> anyhow::Result<Report> {
    let layout = Layout::new(&flags.data_dir);
    let cluster = Cluster::open(&layout, SizeFlags::default())?;
    // Held as long as this runs, so that no cluster is started meanwhile.
    match DataDir::open(layout.root()) {
        Ok(_owned) => with_orders(flags, layout, cluster).await,
        Err(DataDirError::Locked { .. }) => {
            let directory = control::directory(layout.root())?;
            restore(flags, &layout, &cluster, directory).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Rebuilds with an order group that is started for it, for nobody else runs one.
async fn with_orders(
    flags: RebuildFlags,
    layout: Layout,
    cluster: Cluster,
) -> anyhow::Result<Report> {
    let orders = (1..=cluster.size.orders).map(|id| ServiceName::new(ServiceKind::Order, id));
    let has_log = |order| layout.process(order).join("raft").exists();
    ensure!(
        orders.into_iter().any(has_log),
        "data directory {}: no order replica has a log, so there is nothing to rebuild the catalog \
         from",
        layout.root().display()
    );
    std::fs::create_dir_all(layout.logs()).with_context(|| layout.logs().display().to_string())?;
    let roster = Roster::take_over(&layout).await?;
    let launcher = Launcher::new(layout.clone(), cluster.clone(), options())?;
    let directory = launcher.directory();
    let (supervisor, mut deaths) = Supervisor::new(launcher, roster);
    supervisor.launch(ServiceKind::Nameserver);
    supervisor.launch(ServiceKind::Order);
    let report = tokio::select! {
        report = registered(flags, &layout, &cluster, directory) => report,
        interrupted = tokio::signal::ctrl_c() => match interrupted {
            Ok(()) => Err(anyhow::anyhow!("interrupted")),
            Err(error) => Err(error.into()),
        },
    };
    supervisor.stop().await;
    // An order replica that gave up is why there is no majority.
    let mut last_words = Vec::new();
    while let Ok(death) = deaths.try_recv() {
        if !death.last_words.is_empty() {
            last_words.push(format!("{}: {}", death.name, death.last_words));
        }
    }
    last_words.sort();
    last_words.dedup();
    match report {
        Err(error) if !last_words.is_empty() => bail!("{error:#}; {}", last_words.join("; ")),
        report => report,
    }
}

/// Rebuilds once the name server answers.
async fn registered(
    flags: RebuildFlags,
    layout: &Layout,
    cluster: &Cluster,
    directory: Directory,
) -> anyhow::Result<Report> {
    while directory.list(ServiceKind::Order).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    restore(flags, layout, cluster, directory).await
}

async fn restore(
    flags: RebuildFlags,
    layout: &Layout,
    cluster: &Cluster,
    directory: Directory,
) -> anyhow::Result<Report> {
    let names = (1..=cluster.size.catalogs).map(|id| ServiceName::new(ServiceKind::Catalog, id));
    let rebuild = Rebuild {
        directory,
        dirs: names.map(|name| (name, layout.process(name))).collect(),
        shops: flags.shops,
        move_aside: flags.move_aside,
    };
    let tasks = Tasks::new();
    let report = rebuild.run(&tasks).await;
    tasks.stop(TASKS_LIMIT).await;
    Ok(report?)
}

/// Nobody is served over HTTP.
fn options() -> Options {
    Options {
        http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        frontends: 0,
        accounts: 0,
        database: None,
        cache: Switch::Off,
        cache_items: NonZeroU32::MIN,
        edge: EdgeFlags::default(),
        shops: Vec::new(),
        placements: None,
        log: Flags::LOG.into(),
    }
}
