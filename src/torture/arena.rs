//! The cluster that is tortured, and what every fault does to it: kill, pause, find the leader, wait
//! until it is whole.
//!
//! Faults overlap, so each *holds* a process down or paused, and it comes back when nobody holds it
//! any more: the end of one fault never ends another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bazaar_client::BaseUrl;
use bazaar_rpc::connect::{Directory, call};
use bazaar_rpc::replica::Role;
use bazaar_rpc::{ServiceKind, ServiceName};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::control::{self, ControlClient, Verb};
use crate::layout::{Layout, write_json};
use crate::lifecycle::State;
use crate::observer::{ClusterStatus, ProcessStatus};
use crate::placement::{self, Placements};
use crate::throwaway::Throwaway;
use crate::torture::config::Config;

/// How long the supervisor may take to say how the processes are.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How often to look whether the cluster is as it should be.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a group may take to have a leader where a fault is for the leader.
const LEADER_LIMIT: Duration = Duration::from_secs(10);

/// How long the kernel may take to stop a process.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// So many entries behind its leader, a replica follows: trades go on while one looks.
const FOLLOWS: u64 = 200;

/// The groups of replicas.
pub(crate) const GROUPS: [ServiceKind; 2] = [ServiceKind::Catalog, ServiceKind::Order];

/// A running cluster.
pub(crate) struct Arena {
    cluster: Throwaway,
    control: ControlClient,
    directory: Directory,
    placements: Placements,
    holds: BTreeMap<ServiceName, Mutex<Holds>>,
}

/// How many faults want a process down, and how many want it paused.
#[derive(Debug, Default)]
struct Holds {
    down: u32,
    paused: u32,
}

/// Every process of the cluster that `config` asks for.
pub(crate) fn processes(config: &Config) -> Vec<ServiceName> {
    let of = |kind, count| (1..=count).map(move |id| ServiceName::new(kind, id));
    of(ServiceKind::Nameserver, 1)
        .chain(of(ServiceKind::Catalog, config.catalogs))
        .chain(of(ServiceKind::Order, config.orders))
        .chain(of(ServiceKind::Frontend, config.frontends))
        .chain(of(ServiceKind::Accounts, 1))
        .collect()
}

impl Arena {
    /// Starts a cluster in `dir` whose processes run as `placements` say.
    pub(crate) async fn start(
        config: &Config,
        dir: &Path,
        placements: Placements,
    ) -> anyhow::Result<Self> {
        let file = dir.join("placements.json");
        write_json(&file, &placements)?;
        let [catalogs, orders, frontends] =
            [config.catalogs, config.orders, config.frontends].map(|count| count.to_string());
        let file = file.to_str().context("the directory's name is not text")?;
        let cluster_dir = dir.join("cluster");
        let flags = [
            "--catalogs",
            &catalogs,
            "--orders",
            &orders,
            "--frontends",
            &frontends,
            "--accounts",
            "1",
            "--placements",
            file,
        ];
        let cluster = Throwaway::start_in(&cluster_dir, &flags).await?;
        Ok(Self {
            control: control::connect(&cluster_dir).await?,
            directory: control::directory(&cluster_dir)?,
            cluster,
            placements,
            holds: processes(config)
                .into_iter()
                .map(|name| (name, Mutex::default()))
                .collect(),
        })
    }

    /// Where the frontends serve HTTP.
    pub(crate) fn urls(&self) -> &[BaseUrl] {
        self.cluster.urls()
    }

    /// Where its services are found.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The data directory of a process.
    pub(crate) fn data_dir(&self, name: ServiceName) -> PathBuf {
        placement::data_dir(&self.placements, &Layout::new(self.cluster.dir()), name)
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: ServiceName) -> PathBuf {
        Layout::new(self.cluster.dir()).log(name)
    }

    /// The processes of `kind`.
    pub(crate) fn members(&self, kind: ServiceKind) -> Vec<ServiceName> {
        let of_kind = self.holds.keys().filter(|name| name.kind == kind);
        of_kind.copied().collect()
    }

    /// Every process.
    pub(crate) fn processes(&self) -> Vec<ServiceName> {
        self.holds.keys().copied().collect()
    }

    /// How the processes are.
    pub(crate) async fn status(&self) -> anyhow::Result<ClusterStatus> {
        call(ANSWER_LIMIT, |context| self.control.status(context))
            .await
            .context("the supervisor did not answer")
    }

    /// Kills a process, which is down when this returns and until [`Arena::up`]. Returns whether it
    /// ran, and is gone.
    pub(crate) async fn down(&self, name: ServiceName) -> anyhow::Result<bool> {
        let mut holds = self.holds(name).await?;
        holds.down += 1;
        let pid = self.process(name).await?.pid;
        control::command(&self.control, Verb::Kill, name).await?;
        Ok(pid.is_some_and(|pid| run_state(pid).is_none()))
    }

    /// Starts a process where nobody else wants it down.
    pub(crate) async fn up(&self, name: ServiceName) -> anyhow::Result<()> {
        let mut holds = self.holds(name).await?;
        holds.down = holds.down.saturating_sub(1);
        if holds.down > 0 {
            return Ok(());
        }
        control::command(&self.control, Verb::Start, name).await?;
        if holds.paused > 0 {
            control::command(&self.control, Verb::Pause, name).await?;
        }
        Ok(())
    }

    /// As [`Arena::up`], of a replica that has its files no more, or cannot use them: it gets what it
    /// needs from its group.
    pub(crate) async fn replace(&self, name: ServiceName) -> anyhow::Result<()> {
        let mut holds = self.holds(name).await?;
        holds.down = holds.down.saturating_sub(1);
        let aside = control::replace(&self.control, name).await?;
        if let Some(aside) = aside {
            // Nobody wants them, and disks that are in memory had better not hold them.
            spawn_blocking(move || fs::remove_dir_all(aside)).await??;
        }
        if holds.down > 0 {
            control::command(&self.control, Verb::Kill, name).await?;
        } else if holds.paused > 0 {
            control::command(&self.control, Verb::Pause, name).await?;
        }
        Ok(())
    }

    /// Pauses a process until [`Arena::resume`]. Returns whether it stands still.
    pub(crate) async fn pause(&self, name: ServiceName) -> anyhow::Result<bool> {
        let mut holds = self.holds(name).await?;
        control::command(&self.control, Verb::Pause, name).await?;
        holds.paused += 1;
        let Some(pid) = self.process(name).await?.pid else {
            return Ok(false);
        };
        let deadline = Instant::now() + STOP_LIMIT;
        while run_state(pid).is_some_and(|state| state != 'T') && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        Ok(run_state(pid) == Some('T'))
    }

    /// Lets a process go on where nobody else wants it paused.
    pub(crate) async fn resume(&self, name: ServiceName) -> anyhow::Result<()> {
        let mut holds = self.holds(name).await?;
        holds.paused = holds.paused.saturating_sub(1);
        // One that has died is not paused, whoever may want it to be.
        let is_up = self.process(name).await?.state == State::Paused;
        if holds.paused == 0 && holds.down == 0 && is_up {
            control::command(&self.control, Verb::Resume, name).await?;
        }
        Ok(())
    }

    /// Starts a process that died by itself without waiting for the supervisor to do so.
    pub(crate) async fn hurry(&self, name: ServiceName) -> anyhow::Result<()> {
        let holds = self.holds(name).await?;
        if holds.down == 0 && self.process(name).await?.state == State::Restarting {
            control::command(&self.control, Verb::Start, name).await?;
        }
        Ok(())
    }

    /// How the process `name` is.
    pub(crate) async fn process(&self, name: ServiceName) -> anyhow::Result<ProcessStatus> {
        let mut processes = self.status().await?.processes.into_iter();
        processes
            .find(|process| process.name == name)
            .with_context(|| format!("there is no {name}"))
    }

    /// The replica that leads the group of `kind`, once there is one.
    pub(crate) async fn leader(&self, kind: ServiceKind) -> anyhow::Result<ServiceName> {
        let deadline = Instant::now() + LEADER_LIMIT;
        loop {
            let processes = self.status().await?.processes.into_iter();
            let leader = processes
                .filter(|it| it.name.kind == kind && it.role == Some(Role::Leader))
                .max_by_key(|it| it.term);
            match leader {
                Some(leader) => return Ok(leader.name),
                None if Instant::now() > deadline => bail!("the {kind} group has no leader"),
                None => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits until every process runs and every replica follows its leader; returns how long that
    /// took, or none where it was not so within `limit`.
    pub(crate) async fn whole(&self, limit: Duration) -> anyhow::Result<Option<Duration>> {
        self.until(limit, |status| status.processes.iter().all(is_well))
            .await
    }

    /// As [`Arena::whole`], of one process.
    pub(crate) async fn is_well_within(
        &self,
        name: ServiceName,
        limit: Duration,
    ) -> anyhow::Result<Option<Duration>> {
        self.until(limit, |status| {
            let mut processes = status.processes.iter();
            processes.any(|process| process.name == name && is_well(process))
        })
        .await
    }

    /// Waits until the replicas of each group have applied equally much; for when no trades flow.
    pub(crate) async fn converged(&self, limit: Duration) -> anyhow::Result<Option<Duration>> {
        self.until(limit, |status| {
            GROUPS.iter().all(|kind| {
                let group = status.processes.iter().filter(|it| it.name.kind == *kind);
                let progress: Vec<_> = group.map(|it| it.last_applied).collect();
                are_equal(&progress)
            })
        })
        .await
    }

    async fn until(
        &self,
        limit: Duration,
        is_so: impl Fn(&ClusterStatus) -> bool,
    ) -> anyhow::Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            if is_so(&self.status().await?) {
                return Ok(Some(begun.elapsed()));
            }
            if begun.elapsed() > limit {
                return Ok(None);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops the cluster.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop().await
    }

    async fn holds(&self, name: ServiceName) -> anyhow::Result<tokio::sync::MutexGuard<'_, Holds>> {
        let holds = self.holds.get(&name);
        Ok(holds
            .with_context(|| format!("there is no {name}"))?
            .lock()
            .await)
    }
}

/// The kernel's letter for what a process does, such as `T` for one that is stopped: see proc_pid_stat(5).
/// None where there is no such process.
fn run_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.trim_start().chars().next()
}

fn is_well(process: &ProcessStatus) -> bool {
    let follows = match process.name.kind {
        ServiceKind::Catalog | ServiceKind::Order => {
            let has_vote = process.role.is_some_and(|role| role != Role::Learner);
            has_vote && process.lag.is_some_and(|lag| lag <= FOLLOWS)
        }
        ServiceKind::Nameserver
        | ServiceKind::Frontend
        | ServiceKind::Supervisor
        | ServiceKind::Accounts => true,
    };
    process.state == State::Running && follows
}

fn are_equal(progress: &[Option<u64>]) -> bool {
    progress
        .iter()
        .all(|applied| applied.is_some() && *applied == progress[0])
}
