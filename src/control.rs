//! How the `bazaar` command talks to the supervisor that `bazaar up` runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bazaar_daemon::{Acceptor, Routes, Tasks};
use bazaar_rpc::connect::{Directory, call, client_config, client_transport, serve};
use bazaar_rpc::net::{Greeting, Protocol, dial};
use bazaar_rpc::replica::RemoveError;
use bazaar_rpc::{ServiceKind, ServiceName};
use serde::{Deserialize, Serialize};
use tarpc::context::Context;
use tokio::task::spawn_blocking;

use crate::identity;
use crate::keeper::View;
use crate::layout::{Layout, read_json, write_json};
use crate::lifecycle::{Event, Refusal, State};
use crate::observer::{ClusterStatus, Observer};
use crate::replacement;
use crate::supervisor::Supervisor;

/// How long a command may take. The kernel may need seconds to end a process with much memory.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a replacement may take: the process ends, its group agrees, and another one starts.
const REPLACE_LIMIT: Duration = Duration::from_secs(30);

/// How often to look whether a process is paused.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Who answers.
const SUPERVISOR: ServiceName = ServiceName {
    kind: ServiceKind::Supervisor,
    id: 1,
};

/// Served by the supervisor.
#[tarpc::service]
pub(crate) trait Control {
    /// How the processes are.
    async fn status() -> ClusterStatus;

    /// Kills a process, which then stays down. It has ended when this returns.
    async fn kill(name: ServiceName) -> Result<(), ControlError>;

    /// Pauses a process. It is paused when this returns.
    async fn pause(name: ServiceName) -> Result<(), ControlError>;

    /// Lets a paused process go on.
    async fn resume(name: ServiceName) -> Result<(), ControlError>;

    /// Starts a process that was killed, or died. It is there when this returns, and may not serve
    /// yet.
    async fn start(name: ServiceName) -> Result<(), ControlError>;

    /// Kills a replica, has its group remove it, sets its files aside and starts it without any.
    /// Returns where the files are, where there were any. It is there when this returns, and may not
    /// have caught up yet.
    async fn replace(name: ServiceName) -> Result<Option<PathBuf>, ControlError>;
}

/// Why the supervisor did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum ControlError {
    /// There is no such process.
    #[error("there is no process {0}; `bazaar status` lists them")]
    Unknown(ServiceName),
    /// It is not in a state for that.
    #[error("{name} {refusal}")]
    Refused {
        /// The process.
        name: ServiceName,
        /// Why not.
        refusal: Refusal,
    },
    /// It runs already, and is paused.
    #[error("{0} is paused; `bazaar resume {0}` lets it go on")]
    Paused(ServiceName),
    /// It was told, and nothing has come of it yet.
    #[error("{0} takes long; look at `bazaar status`")]
    TooSlow(ServiceName),
    /// It is not one of several replicas.
    #[error(
        "{0} is not one of several replicas, so nobody has what it had; where a catalog is alone, \
         `bazaar catalog rebuild` restores it"
    )]
    NotReplicated(ServiceName),
    /// Its group did not remove it.
    #[error("{name} was not replaced: {reason}")]
    NotRemoved {
        /// The process.
        name: ServiceName,
        /// Why not.
        reason: RemoveError,
    },
    /// Its files are in the way.
    #[error("{name} is down, for its files cannot be set aside: {}: {reason}", dir.display())]
    Files {
        /// The process.
        name: ServiceName,
        /// Its data directory.
        dir: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// What `supervisor.json` holds.
#[derive(Serialize, Deserialize)]
struct Listening {
    pid: u32,
    cluster: String,
    address: SocketAddr,
    nameserver: SocketAddr,
}

/// Serves [`Control`].
#[derive(Clone)]
struct ControlServer {
    supervisor: Supervisor,
    observer: Observer,
}

/// Serves [`Control`] for `supervisor`, and writes down where.
pub(crate) async fn listen(
    supervisor: &Supervisor,
    observer: Observer,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let launcher = supervisor.launcher();
    let acceptor = Acceptor::bind(([127, 0, 0, 1], 0).into()).await?;
    let listening = Listening {
        pid: std::process::id(),
        cluster: launcher.cluster().to_string(),
        address: acceptor.address(),
        nameserver: launcher.nameserver(),
    };
    let server = ControlServer {
        supervisor: supervisor.clone(),
        observer,
    };
    let routes = Routes::new().with(Protocol::Control, move |stream| {
        serve(stream, server.clone().serve())
    });
    acceptor.serve(tasks, launcher.cluster().clone(), SUPERVISOR, routes);
    write_json(&launcher.layout().supervisor(), &listening)
}

/// Connects to the supervisor of the data directory `dir`.
///
/// # Errors
/// When none runs there.
pub(crate) async fn connect(dir: &Path) -> anyhow::Result<ControlClient> {
    let Listening {
        cluster, address, ..
    } = listening(dir)?;
    let greeting = Greeting {
        cluster: cluster.parse()?,
        protocol: Protocol::Control,
        service: SUPERVISOR,
    };
    let stream = dial(address, &greeting)
        .await
        .with_context(|| nobody(dir))?;
    Ok(ControlClient::new(client_config(), client_transport(stream)).spawn())
}

/// The directory of the services of the cluster that runs on data directory `dir`.
///
/// # Errors
/// When none runs there.
pub(crate) fn directory(dir: &Path) -> anyhow::Result<Directory> {
    let Listening {
        cluster,
        nameserver,
        ..
    } = listening(dir)?;
    Ok(Directory::new(cluster.parse()?, nameserver))
}

fn listening(dir: &Path) -> anyhow::Result<Listening> {
    read_json(&Layout::new(dir).supervisor())?.with_context(|| nobody(dir))
}

fn nobody(dir: &Path) -> String {
    format!("no cluster runs on data directory {}", dir.display())
}

/// What to do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Kill,
    Pause,
    Resume,
    Start,
}

/// Has the supervisor do `verb` to the process `name`.
pub(crate) async fn command(
    control: &ControlClient,
    verb: Verb,
    name: ServiceName,
) -> anyhow::Result<()> {
    let limit = LIMIT + Duration::from_secs(1);
    call(limit, async |context| match verb {
        Verb::Kill => control.kill(context, name).await,
        Verb::Pause => control.pause(context, name).await,
        Verb::Resume => control.resume(context, name).await,
        Verb::Start => control.start(context, name).await,
    })
    .await
    .context("the supervisor did not answer")?
    .map_err(Into::into)
}

/// Has the supervisor replace the replica `name` by one without files; returns where its files are,
/// where it had any.
pub(crate) async fn replace(
    control: &ControlClient,
    name: ServiceName,
) -> anyhow::Result<Option<PathBuf>> {
    call(REPLACE_LIMIT, |context| control.replace(context, name))
        .await
        .context("the supervisor did not answer")?
        .map_err(Into::into)
}

impl ControlServer {
    /// Has the process `name` take notice of `event`, and waits until that shows.
    async fn tell(
        &self,
        name: ServiceName,
        event: Event,
        is_done: fn(&View) -> bool,
    ) -> Result<(), ControlError> {
        let keepers = self.supervisor.keepers();
        let keeper = keepers.get(&name).ok_or(ControlError::Unknown(name))?;
        let told = keeper.tell(event).await;
        told.map_err(|refusal| ControlError::Refused { name, refusal })?;
        let done = tokio::time::timeout(LIMIT, keeper.wait_until(is_done)).await;
        done.map_err(|_elapsed| ControlError::TooSlow(name))
    }
}

impl Control for ControlServer {
    async fn status(self, _: Context) -> ClusterStatus {
        self.observer.observe(&self.supervisor).await
    }

    async fn kill(self, _: Context, name: ServiceName) -> Result<(), ControlError> {
        let is_dead = |view: &View| view.state != State::Killed || view.pid.is_none();
        self.tell(name, Event::Kill, is_dead).await
    }

    async fn pause(self, _: Context, name: ServiceName) -> Result<(), ControlError> {
        self.tell(name, Event::Pause, |_| true).await?;
        let keeper = self.supervisor.keepers().remove(&name);
        let paused = async {
            // The kernel stops one thread after the other.
            while let Some(pid) = keeper.as_ref().and_then(|keeper| keeper.view().pid)
                && identity::state(pid).is_some_and(|state| !state.is_paused())
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let paused = tokio::time::timeout(LIMIT, paused).await;
        paused.map_err(|_elapsed| ControlError::TooSlow(name))
    }

    async fn resume(self, _: Context, name: ServiceName) -> Result<(), ControlError> {
        self.tell(name, Event::Resume, |_| true).await
    }

    async fn replace(
        self,
        context: Context,
        name: ServiceName,
    ) -> Result<Option<PathBuf>, ControlError> {
        let launcher = self.supervisor.launcher();
        let is_replica = matches!(name.kind, ServiceKind::Catalog | ServiceKind::Order);
        let others = launcher.processes(name.kind);
        let others: Vec<_> = others.filter(|it| is_replica && *it != name).collect();
        let keepers = self.supervisor.keepers();
        let keeper = keepers.get(&name).ok_or(ControlError::Unknown(name))?;
        if others.is_empty() {
            return Err(ControlError::NotReplicated(name));
        }
        let was_down = keeper.view().state == State::Killed;
        self.clone().kill(context, name).await?;
        let removed = bazaar_replication::remove(&launcher.directory(), name, &others).await;
        if let Err(reason) = removed {
            if !was_down {
                self.clone().start(context, name).await?;
            }
            return Err(ControlError::NotRemoved { name, reason });
        }
        let dir = launcher.data_dir(name);
        let moved = {
            let dir = dir.clone();
            spawn_blocking(move || replacement::set_aside(&dir)).await
        };
        let aside = moved.map_err(std::io::Error::other).flatten();
        let aside = aside.map_err(|error| ControlError::Files {
            name,
            dir,
            reason: error.to_string(),
        })?;
        self.start(context, name).await?;
        Ok(aside)
    }

    async fn start(self, _: Context, name: ServiceName) -> Result<(), ControlError> {
        self.tell(name, Event::Start, |view| view.state == State::Running)
            .await?;
        // One that is paused was never down.
        let keepers = self.supervisor.keepers();
        let pid = keepers.get(&name).and_then(|keeper| keeper.view().pid);
        match pid.and_then(identity::state) {
            Some(state) if state.is_paused() => Err(ControlError::Paused(name)),
            Some(_) | None => Ok(()),
        }
    }
}
