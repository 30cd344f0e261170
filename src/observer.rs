//! How the processes of a cluster are: what the supervisor knows of them, and what they say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_rpc::connect::{Directory, call, client_config, client_transport};
use bazaar_rpc::naming::Selector;
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::{ReplicaClient, ReplicaStatus, Role};
use bazaar_rpc::{ServiceKind, ServiceName, Term};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::identity;
use crate::keeper::View;
use crate::lifecycle::State;
use crate::supervisor::Supervisor;

/// How long a process may take to say how it is. Those that hang must not hold up the others.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// How long the name server may take. When it hangs, what it said before is good enough.
const NAMES_LIMIT: Duration = Duration::from_millis(300);

/// How often the name server is asked, whether or not anybody wants to know.
const NAMES_INTERVAL: Duration = Duration::from_secs(1);

/// How a cluster is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    /// Its name.
    pub(crate) cluster: String,
    /// Where its name server listens.
    pub(crate) nameserver: SocketAddr,
    /// Its processes, by name.
    pub(crate) processes: Vec<ProcessStatus>,
}

/// How a process is. What is unknown, or means nothing for it, is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessStatus {
    pub(crate) name: ServiceName,
    pub(crate) pid: Option<u32>,
    pub(crate) state: State,
    /// What it does in its replicated group.
    pub(crate) role: Option<Role>,
    /// Where it listens for other services.
    pub(crate) address: Option<SocketAddr>,
    /// Where it serves HTTP.
    pub(crate) http: Option<SocketAddr>,
    /// The term that it is in.
    pub(crate) term: Option<Term>,
    /// The index of the last log entry it has applied.
    pub(crate) last_applied: Option<u64>,
    /// How many entries the leader had applied and it had not.
    pub(crate) lag: Option<u64>,
    /// The index of the last log entry it has.
    pub(crate) last_log: Option<u64>,
    /// The index of the last log entry that its newest snapshot covers.
    pub(crate) snapshot: Option<u64>,
    /// Up to this index its log has been purged.
    pub(crate) purged: Option<u64>,
    /// The snapshots it received from another replica since it started.
    pub(crate) snapshots_installed: Option<u64>,
    /// How often it was started again.
    pub(crate) restarts: u64,
}

/// Observes the processes of a cluster. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Observer {
    directory: Directory,
    /// Where each process was registered last, and under which process id: the name server may be
    /// down when it matters.
    addresses: Arc<Mutex<BTreeMap<ServiceName, (u32, SocketAddr)>>>,
}

impl Observer {
    /// Observes processes that are found by `directory`.
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            addresses: Arc::default(),
        }
    }

    /// Keeps in mind where the processes of `supervisor` listen, for ever.
    pub(crate) async fn follow(self, supervisor: Supervisor) {
        loop {
            tokio::time::sleep(NAMES_INTERVAL).await;
            self.look_up(&views(&supervisor)).await;
        }
    }

    /// How the processes of `supervisor` are, call a second.
    pub(crate) async fn observe(&self, supervisor: &Supervisor) -> ClusterStatus {
        let views = views(supervisor);
        self.look_up(&views).await;
        let answers = self.ask_replicas(&views).await;
        let leaders = leaders_progress(&answers);
        let launcher = supervisor.launcher();
        let status = |(name, view): (ServiceName, View)| {
            let http = launcher.http(name).filter(|_| view.pid.is_some());
            let address = match name.kind {
                ServiceKind::Nameserver => view.pid.map(|_| launcher.nameserver()),
                _ => self.address(name, &view),
            };
            let leader_applied = leaders.get(&name.kind).copied();
            process_status(
                name,
                view,
                answers.get(&name),
                address,
                http,
                leader_applied,
            )
        };
        ClusterStatus {
            cluster: launcher.cluster().to_string(),
            nameserver: launcher.nameserver(),
            processes: views.into_iter().map(status).collect(),
        }
    }

    /// Where a process listens, as far as was heard in its life.
    fn address(&self, name: ServiceName, view: &View) -> Option<SocketAddr> {
        let addresses = lock(&self.addresses);
        let (pid, address) = addresses.get(&name)?;
        (Some(*pid) == view.pid).then_some(*address)
    }

    /// Asks the name server where the processes listen.
    async fn look_up(&self, views: &Views) {
        let list = self
            .directory
            .ask(|naming, context| async move { naming.list(context, Selector::All).await });
        let Ok(Ok(entries)) = timeout(NAMES_LIMIT, list).await else {
            return;
        };
        let mut addresses = lock(&self.addresses);
        for entry in entries {
            let Ok(name) = entry.name.parse() else {
                continue;
            };
            if let Some(pid) = views.get(&name).and_then(|view| view.pid) {
                addresses.insert(name, (pid, entry.address));
            }
        }
    }

    /// Asks every running replica how far it is, all at once.
    async fn ask_replicas(&self, views: &Views) -> Answers {
        let replicas = views.iter().filter(|(name, view)| {
            matches!(name.kind, ServiceKind::Catalog | ServiceKind::Order)
                && state_of(view) == State::Running
        });
        let answers = join_all(replicas.map(async |(name, view)| {
            let address = self.address(*name, view)?;
            let answer = timeout(ANSWER_LIMIT, ask(&self.directory, *name, address)).await;
            Some((*name, answer.ok()??))
        }));
        answers.await.into_iter().flatten().collect()
    }
}

/// What the supervisor knows of each process.
type Views = BTreeMap<ServiceName, View>;

/// What each replica said of itself.
type Answers = BTreeMap<ServiceName, ReplicaStatus>;

fn views(supervisor: &Supervisor) -> Views {
    let keepers = supervisor.keepers().into_iter();
    keepers
        .map(|(name, keeper)| (name, keeper.view()))
        .collect()
}

async fn ask(
    directory: &Directory,
    name: ServiceName,
    address: SocketAddr,
) -> Option<ReplicaStatus> {
    let stream = directory
        .connect_at(address, name, Protocol::Replica)
        .await
        .ok()?;
    let replica = ReplicaClient::new(client_config(), client_transport(stream)).spawn();
    call(ANSWER_LIMIT, |context| replica.status(context))
        .await
        .ok()
}

/// How far the leader of each group is: the one of the highest term, where two think they lead.
fn leaders_progress(answers: &Answers) -> BTreeMap<ServiceKind, u64> {
    let mut leaders: BTreeMap<ServiceKind, (Term, u64)> = BTreeMap::new();
    for (name, replica) in answers {
        if replica.role == Role::Leader {
            let progress = (
                replica.leadership.term,
                replica.last_applied.unwrap_or_default(),
            );
            let leader = leaders.entry(name.kind).or_insert(progress);
            *leader = progress.max(*leader);
        }
    }
    leaders
        .into_iter()
        .map(|(kind, (_, applied))| (kind, applied))
        .collect()
}

fn process_status(
    name: ServiceName,
    view: View,
    replica: Option<&ReplicaStatus>,
    address: Option<SocketAddr>,
    http: Option<SocketAddr>,
    leader_applied: Option<u64>,
) -> ProcessStatus {
    let last_applied = replica.and_then(|replica| replica.last_applied);
    let lag = leader_applied.filter(|_| replica.is_some()).map(|leader| {
        // The leader may have been asked before the others.
        leader.saturating_sub(last_applied.unwrap_or_default())
    });
    ProcessStatus {
        name,
        pid: view.pid,
        state: state_of(&view),
        role: replica.map(|replica| replica.role),
        address,
        http,
        term: replica.map(|replica| replica.leadership.term),
        last_applied,
        lag,
        last_log: replica.and_then(|replica| replica.last_log),
        snapshot: replica.and_then(|replica| replica.snapshot),
        purged: replica.and_then(|replica| replica.purged),
        snapshots_installed: replica.map(|replica| replica.snapshots_installed),
        restarts: view.starts.saturating_sub(1),
    }
}

/// What a process does. Whether it is paused, the kernel knows: anybody may have paused it.
fn state_of(view: &View) -> State {
    let is_paused = || {
        view.pid
            .and_then(identity::state)
            .is_some_and(|state| state.is_paused())
    };
    match view.state {
        State::Running if is_paused() => State::Paused,
        state => state,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
