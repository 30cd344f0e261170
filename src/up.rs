//! `bazaar up`: a whole cluster, as children of this process.

use std::collections::BTreeSet;
use std::future::pending;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bazaar_daemon::{DataDir, Tasks, in_one_line};
use bazaar_rpc::ServiceKind;
use bazaar_rpc::connect::{Directory, ResolveError};
use bazaar_rpc::naming::Selector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::cluster::{Cluster, SizeFlags};
use crate::keeper::{Cause, Death};
use crate::launcher::{Launcher, Options};
use crate::layout::Layout;
use crate::observer::Observer;
use crate::roster::Roster;
use crate::supervisor::Supervisor;
use crate::{control, readiness};

/// How long a cluster may take to start. A large data directory takes its time.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How often to look for what a starting process is to do.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long the supervisor's own connections may take to end.
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// What to start, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// The directory under which everything is kept.
    #[arg(long, value_name = "DIR", default_value = "var")]
    data_dir: PathBuf,

    #[command(flatten)]
    size: SizeFlags,

    #[command(flatten)]
    options: Options,

    /// End when the process of this id, which must be the one that started this one, ends, however
    /// it ends.
    #[arg(long, value_name = "PID", hide = true)]
    supervised_by: Option<u32>,
}

/// Runs a cluster until SIGINT or SIGTERM, or until it turns out that it cannot start.
///
/// The children end with the *thread* that started them, so all is done on the calling one, which
/// must be the main thread.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    if let Some(parent) = config.supervised_by {
        bazaar_daemon::end_with_parent(parent).context("--supervised-by")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(up(config))
}

async fn up(config: Config) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let layout = Layout::new(&config.data_dir);
    let dir = DataDir::open(layout.root())?;
    std::fs::create_dir_all(layout.logs()).with_context(|| layout.logs().display().to_string())?;
    let cluster = Cluster::open(&layout, config.size)?;
    let roster = Roster::take_over(&layout).await?;
    let launcher = Launcher::new(layout.clone(), cluster, config.options)?;
    let (supervisor, mut deaths) = Supervisor::new(launcher, roster);

    let tasks = Tasks::new();
    let observer = Observer::new(supervisor.launcher().directory());
    control::listen(&supervisor, observer.clone(), &tasks).await?;
    tasks.spawn(observer.follow(supervisor.clone()));
    let outcome = tokio::select! {
        outcome = start(&supervisor, &mut deaths) => outcome,
        () = stop.recv() => Ok(Vec::new()),
    };
    let outcome = match outcome {
        Ok(addresses) if !addresses.is_empty() => {
            announce(&addresses)?;
            tokio::select! {
                () = stop.recv() => {}
                () = report(&mut deaths) => {}
            }
            Ok(())
        }
        // Told to stop before it was ready.
        Ok(_none) => Ok(()),
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = supervisor.stop() => {}
        // Asked twice: the children end when this process does, by the kernel's hand.
        () = stop.recv() => bail!("stopped in a hurry"),
    }
    tasks.stop(TASKS_LIMIT).await;
    std::fs::remove_file(layout.supervisor()).ok();
    drop(dir);
    outcome
}

/// The signals by which a cluster is told to stop.
pub(crate) struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Listens for them from now on.
    pub(crate) fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            interrupt,
            terminate,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Starts everything and waits until trades flow; returns where the frontends serve HTTP.
async fn start(
    supervisor: &Supervisor,
    deaths: &mut mpsc::Receiver<Death>,
) -> anyhow::Result<Vec<SocketAddr>> {
    let starting = timeout(START_LIMIT, launch(supervisor));
    tokio::select! {
        started = starting => started.unwrap_or_else(|_elapsed| {
            let logs = supervisor.launcher().layout().logs();
            bail!("no trades flow after {START_LIMIT:?}; see the logs in {}", logs.display())
        }),
        failure = fatal_death(supervisor.launcher(), deaths) => Err(failure),
    }
}

async fn launch(supervisor: &Supervisor) -> anyhow::Result<Vec<SocketAddr>> {
    let launcher = supervisor.launcher();
    supervisor.launch(ServiceKind::Nameserver);
    let directory = launcher.directory();
    // A frontend of a killed run may still have its entry, and is not the one to wait for.
    while forget_frontends(&directory).await.is_err() {
        sleep(LOOK_AGAIN).await;
    }
    for kind in [
        ServiceKind::Catalog,
        ServiceKind::Order,
        ServiceKind::Accounts,
        ServiceKind::Frontend,
    ] {
        supervisor.launch(kind);
    }
    let mut addresses = Vec::new();
    for frontend in launcher.processes(ServiceKind::Frontend) {
        // Registered, it is known to be the one that listens on its port.
        while directory.resolve(frontend).await.is_err() {
            sleep(LOOK_AGAIN).await;
        }
        let address = launcher
            .http(frontend)
            .context("a frontend without an address")?;
        readiness::wait(address).await?;
        if launcher.processes(ServiceKind::Accounts).next().is_some() {
            readiness::wait_for_accounts(address).await;
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Has the name server forget all frontends.
async fn forget_frontends(directory: &Directory) -> Result<u64, ResolveError> {
    let frontends = Selector::Prefix(format!("{}/", ServiceKind::Frontend));
    directory
        .ask(|naming, context| async move { naming.remove(context, frontends).await })
        .await
}

/// Waits until a process that the cluster cannot do without gives up while it starts, and says why it
/// did. One that was killed from outside has not given up, and a replicated group goes on without a
/// minority.
async fn fatal_death(launcher: &Launcher, deaths: &mut mpsc::Receiver<Death>) -> anyhow::Error {
    let mut given_up = BTreeSet::new();
    while let Some(death) = deaths.recv().await {
        if matches!(death.cause, Cause::Exit(status) if status.signal().is_some()) {
            report_one(&death);
            continue;
        }
        let name = death.name;
        let is_news = given_up.insert(name);
        let replicated = matches!(name.kind, ServiceKind::Catalog | ServiceKind::Order);
        let members = launcher.processes(name.kind).count();
        let down = given_up
            .iter()
            .filter(|other| other.kind == name.kind)
            .count();
        if replicated && down * 2 < members {
            if is_news {
                report_one(&death);
            }
            continue;
        }
        return match death.cause {
            Cause::Exit(status) if death.last_words.is_empty() => {
                anyhow::anyhow!("{name}: ended with {status}")
            }
            Cause::Exit(_) => anyhow::anyhow!("{name}: {}", death.last_words),
            Cause::Spawn(error) => error.context(name.to_string()),
        };
    }
    pending().await
}

/// Reports unasked deaths, for ever.
async fn report(deaths: &mut mpsc::Receiver<Death>) {
    while let Some(death) = deaths.recv().await {
        report_one(&death);
    }
}

fn report_one(
    Death {
        name,
        cause,
        last_words,
    }: &Death,
) {
    match cause {
        Cause::Exit(status) if status.signal().is_some() => {
            warn!(%name, %status, "killed, and will be started again");
        }
        Cause::Exit(status) => {
            warn!(%name, %status, last_words, "ended, and will be started again")
        }
        Cause::Spawn(error) => {
            warn!(%name, error = in_one_line(error), "could not be started, and will be tried again");
        }
    }
}

/// Says that trades flow, and where.
fn announce(addresses: &[SocketAddr]) -> io::Result<()> {
    let urls: Vec<_> = addresses
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let mut out = io::stdout().lock();
    writeln!(out, "ready {}", urls.join(" "))?;
    out.flush()
}
