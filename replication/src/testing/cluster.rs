//! A group of replicas in one process, each on a runtime of its own so that it can be killed, and
//! the name server by which they find each other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bazaar_daemon::{Acceptor, App as _, Presence, Routes, Tasks};
use bazaar_nameserver as nameserver;
use bazaar_rpc::connect::{Directory, client_config, client_transport};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::ReplicaClient;
use bazaar_rpc::{ServiceKind, ServiceName};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::distance::far_away;
use super::machine::{Keeper, State, number};
use crate::{Config, Group, OpenError, ProposeError};

/// Fewer than the tests write, so that what a replica missed can be gone.
const KEPT_ENTRIES: u64 = 500;

/// How long anything may take: a machine that has other work is slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Commands, as texts.
pub(crate) fn texts(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("command {number}"))
}

/// Waits for `work`, but not for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.expect("took too long")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One replica, while it runs.
pub(crate) struct Replica {
    runtime: Runtime,
    pub(crate) group: Group,
    pub(crate) tasks: Tasks,
    state: Arc<Mutex<State>>,
}

impl Replica {
    /// The commands that it has applied, as texts.
    pub(crate) fn commands(&self) -> Vec<String> {
        let text = |command: &Bytes| String::from_utf8(command.to_vec()).unwrap();
        self.state
            .lock()
            .unwrap()
            .commands
            .iter()
            .map(text)
            .collect()
    }

    pub(crate) fn leads(&self) -> bool {
        let status = self.group.status();
        status.leadership.leader == Some(status.name)
    }

    /// Ends it without warning.
    pub(crate) async fn kill(self) {
        let Self { runtime, .. } = self;
        tokio::task::spawn_blocking(|| runtime.shutdown_timeout(LIMIT))
            .await
            .unwrap();
    }

    /// Proposes `commands` together; returns the number that each got.
    pub(crate) async fn propose(&self, commands: Vec<String>) -> Result<Vec<u64>, ProposeError> {
        let commands = commands.into_iter().map(Bytes::from).collect();
        let mut receipts = self.group.propose(commands).await?;
        let mut numbers = Vec::new();
        while let Some(answer) = receipts.next().await {
            numbers.push(number(&answer?));
        }
        Ok(numbers)
    }
}

/// The group, and what outlives its replicas.
pub(crate) struct Cluster {
    dir: TempDir,
    members: BTreeSet<u64>,
    nameserver: SocketAddr,
    tasks: Tasks,
    pub(crate) snapshot_entries: u64,
    /// How long everything takes on its way to a replica, and back; for those that are started next.
    pub(crate) delay: Duration,
    pub(crate) replicas: BTreeMap<u64, Replica>,
}

impl Cluster {
    /// A group of `members`, none of which runs yet.
    pub(crate) async fn new(members: impl IntoIterator<Item = u64>) -> Self {
        let tasks = Tasks::new();
        let dir = tempfile::tempdir().unwrap();
        let config = nameserver::Config::new(
            "test".parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
            dir.path().join("names"),
        );
        let names = nameserver::App::build(config, &tasks).await.unwrap();
        Self {
            dir,
            members: members.into_iter().collect(),
            nameserver: names.address(),
            tasks,
            snapshot_entries: 1_000_000,
            delay: Duration::ZERO,
            replicas: BTreeMap::new(),
        }
    }

    /// A group of `members`, all of which run.
    pub(crate) async fn started(members: impl IntoIterator<Item = u64>) -> Self {
        let mut cluster = Self::new(members).await;
        for id in cluster.members.clone() {
            cluster.start(id).await;
        }
        cluster
    }

    /// Where the replicas are found.
    pub(crate) fn directory(&self) -> Directory {
        Directory::new("test".parse().unwrap(), self.nameserver)
    }

    /// A connection to the replica `id`, as anybody who looks for the leader has.
    pub(crate) async fn client(&self, id: u64) -> ReplicaClient {
        let name = ServiceName::new(ServiceKind::Order, id);
        let directory = self.directory();
        let stream = soon(directory.connect(name, Protocol::Replica)).await;
        ReplicaClient::new(client_config(), client_transport(stream.unwrap())).spawn()
    }

    pub(crate) fn dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) async fn start(&mut self, id: u64) {
        self.try_start(id, false).await.unwrap();
    }

    /// Starts replica `id`; where it `is_broken`, its state machine fails on the first command.
    pub(crate) async fn try_start(&mut self, id: u64, is_broken: bool) -> Result<(), OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let name = ServiceName::new(ServiceKind::Order, id);
        let dir = self.dir(id);
        std::fs::create_dir_all(&dir).unwrap();
        let mut machine = Keeper::open(&dir);
        machine.is_broken = is_broken;
        let state = machine.state.clone();
        let config = Config {
            name,
            members: self.members.clone(),
            dir: dir.join("raft"),
            snapshot_entries: self.snapshot_entries,
            snapshot_interval: Duration::from_secs(3600),
            kept_entries: KEPT_ENTRIES,
        };
        let directory = self.directory();
        let tasks = Tasks::new();
        let own = tasks.clone();
        let delay = self.delay;
        let opened = runtime.spawn(async move {
            let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap())
                .await
                .unwrap();
            let mut address = acceptor.address();
            if !delay.is_zero() {
                address = far_away(address, delay).await;
            }
            let group = Group::open(config, directory.clone(), machine, &own).await?;
            let cluster = directory.cluster().clone();
            acceptor.serve(&own, cluster, name, group.routes(Routes::new()));
            let presence = Presence::spawn(&own, directory, name, address, BTreeSet::new());
            drop(presence);
            Ok(group)
        });
        let group = match soon(opened).await.unwrap() {
            Ok(group) => group,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let replica = Replica {
            runtime,
            group,
            tasks,
            state,
        };
        assert!(
            self.replicas.insert(id, replica).is_none(),
            "{name} runs already"
        );
        Ok(())
    }

    pub(crate) async fn kill(&mut self, id: u64) {
        self.replicas.remove(&id).unwrap().kill().await;
    }

    /// Waits for a leader that a majority confirms; returns its id.
    pub(crate) async fn leader(&self) -> u64 {
        let begun = Instant::now();
        loop {
            for (id, replica) in &self.replicas {
                if replica.leads() && replica.group.barrier().await.is_ok() {
                    return *id;
                }
            }
            assert!(begun.elapsed() < LIMIT, "no leader was found");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has the group apply `commands`, each in an entry of its own, by whoever leads it.
    pub(crate) async fn write(&self, commands: impl IntoIterator<Item = String>) -> Vec<u64> {
        let commands: Vec<_> = commands.into_iter().collect();
        let begun = Instant::now();
        loop {
            let leader = &self.replicas[&self.leader().await];
            match soon(leader.propose(commands.clone())).await {
                // It led a moment ago, and has proposed nothing.
                Err(ProposeError::NotLeader { .. }) => {
                    assert!(begun.elapsed() < LIMIT, "no leader keeps leading");
                }
                outcome => return outcome.unwrap(),
            }
        }
    }

    /// Waits until every replica that runs has applied so many commands, and that they are the same.
    pub(crate) async fn agree(&self, count: usize) -> Vec<String> {
        for (id, replica) in &self.replicas {
            let what = format!("{id} has applied {count} commands");
            until(&what, || replica.commands().len() >= count).await;
        }
        let mut all = self.replicas.values().map(Replica::commands);
        let first = all.next().unwrap();
        assert_eq!(first.len(), count);
        assert!(all.all(|other| other == first), "the replicas disagree");
        first
    }

    /// Waits until every replica that runs has applied the first `count` of [`texts`], and nothing
    /// else.
    pub(crate) async fn agree_on_texts(&self, count: usize) {
        assert_eq!(self.agree(count).await, Vec::from_iter(texts(0..count)));
    }

    pub(crate) async fn end(mut self) {
        for (_, replica) in std::mem::take(&mut self.replicas) {
            replica.kill().await;
        }
        self.tasks.stop(LIMIT).await;
    }
}
