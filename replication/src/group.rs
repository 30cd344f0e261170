//! A replicated group, as the service sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bazaar_daemon::{Failure, Routes, Tasks};
use bazaar_rpc::Term;
use bazaar_rpc::connect::{Directory, serve};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::replica::{Leadership, Replica as _, ReplicaStatus};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::barrier::{self, Barriers};
use crate::data_dir::DataDir;
use crate::error::{OpenError, ProposeError};
use crate::failover::Watch;
use crate::formation::{Formation, Peers};
use crate::machine::Machine;
use crate::members::Members;
use crate::network::Network;
use crate::peer::Peer as _;
use crate::persistence::{Persister, Snapshots};
use crate::propose::{Proposer, Receipts};
use crate::server::{PeerServer, ReplicaServer};
use crate::state_machine::Adapter;
use crate::types::Raft;
use crate::{Config, StateMachine, heartbeat, leadership};

/// One replica of a group. Clones share it.
#[derive(Clone)]
pub struct Group {
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    proposer: Arc<Proposer>,
    barriers: Barriers,
    snapshots: Snapshots,
    peer_server: PeerServer,
    replica_server: ReplicaServer,
}

impl Group {
    /// Opens the log, brings `machine` to where the log was last known to be committed, and takes
    /// part in the group. Does not wait for a leader.
    ///
    /// The other replicas reach this one through [`Group::routes`], so these are to be served soon.
    /// What goes wrong later stops the process, through `tasks`.
    ///
    /// # Errors
    /// When the data directory cannot be used, or is not complete.
    pub async fn open<M: StateMachine>(
        config: Config,
        directory: Directory,
        machine: M,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        Self::open_erased(config, directory, Box::new(machine), tasks).await
    }

    async fn open_erased(
        config: Config,
        directory: Directory,
        machine: Box<dyn Machine>,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        let name = config.name;
        if !config.members.contains(&name.id) {
            let members = config.members;
            return Err(OpenError::NotAMember { name, members });
        }
        let stored = DataDir::open(&config.dir, machine.as_ref())?;
        let adapter = Adapter::new(machine, tasks.clone());
        let progress = adapter.progress();
        let consensus = |reason: String| OpenError::Consensus {
            path: config.dir.clone(),
            reason,
        };
        let settings = config
            .openraft()
            .map_err(|error| consensus(error.to_string()))?;
        let network = Network::new(directory.clone());
        let raft = Raft::new(name.id, Arc::new(settings), network, stored.log, adapter)
            .await
            .map_err(|fatal| consensus(fatal.to_string()))?;
        warn_of_other_members(&config, &raft).await;

        let ended = CancellationToken::new();
        let (publish, leadership) = watch::channel(Leadership::default());
        let replica = stored.replica;
        let follow = leadership::follow(name, replica, raft.clone(), publish, ended.clone());
        tasks.spawn_vital("consensus", follow);

        tasks.spawn(heartbeat::run(name, raft.clone(), leadership.clone()));

        let (barriers, waiting) = Barriers::new();
        tasks.spawn(barrier::run(
            name,
            raft.clone(),
            leadership.clone(),
            waiting,
        ));

        let pace = (config.snapshot_entries, config.snapshot_interval);
        let (persister, snapshots) =
            Persister::new(raft.clone(), progress.clone(), pace, ended.clone());
        tasks.spawn(persister.run());

        let peers = Peers::new(&config, &directory, replica);
        let watch = Watch {
            name,
            replica,
            rank: config.rank(),
            raft: raft.clone(),
            directory,
            peers: peers.clone(),
            leadership: leadership.clone(),
        };
        tasks.spawn(watch.run());

        let founding = Arc::new(config.members.clone());
        let members = Members::new(
            name,
            founding.clone(),
            raft.clone(),
            barriers.clone(),
            tasks.clone(),
        );
        let peer_server = PeerServer {
            raft: raft.clone(),
            replica,
            founding,
            members: members.clone(),
            was_fresh: stored.was_fresh,
            dir: Arc::new(config.dir.clone()),
            staging: Arc::new(Mutex::new(None)),
        };
        let formation = Formation {
            config,
            raft: raft.clone(),
            replica,
            was_fresh: stored.was_fresh,
            peers,
            leadership: leadership.clone(),
        };
        tasks.spawn(form(formation, tasks.clone()));

        let status = leadership::Status {
            name,
            replica,
            raft: raft.clone(),
            leadership: leadership.clone(),
            progress,
        };
        Ok(Self {
            proposer: Arc::new(Proposer::new(name, raft.clone(), leadership.clone())),
            replica_server: ReplicaServer {
                leadership: leadership.clone(),
                status,
                members,
            },
            raft,
            leadership,
            barriers,
            snapshots,
            peer_server,
        })
    }

    /// Adds the protocols by which the replicas of a group, and those who look for its leader, talk
    /// to this one.
    #[must_use]
    pub fn routes(&self, routes: Routes) -> Routes {
        let (peers, seekers) = (self.peer_server.clone(), self.replica_server.clone());
        routes
            .with(Protocol::Raft, move |stream| {
                serve(stream, peers.clone().serve())
            })
            .with(Protocol::Replica, move |stream| {
                serve(stream, seekers.clone().serve())
            })
    }

    /// Proposes `commands`, to be applied in order. Returns when they have their places in the log's
    /// order: call it from one task, and the log has the order of the calls. Waits while too many
    /// are under way.
    ///
    /// Dropped before it returns, it may have proposed them or not.
    ///
    /// # Errors
    /// When this replica does not lead; nothing was taken then. A replica that is deposed at this
    /// very moment says so in the receipts.
    ///
    /// # Panics
    /// When a command is longer than [`crate::MAX_COMMAND`].
    pub async fn propose(&self, commands: Vec<Bytes>) -> Result<Receipts, ProposeError> {
        self.proposer.propose(commands).await
    }

    /// Confirms with a majority that this replica leads (ReadIndex), and waits until its state
    /// machine has applied every command that was committed before the call. Returns the term in
    /// which it leads: at some moment during the call, no other replica led. Calls made at the same
    /// time share the work.
    ///
    /// A term has one leader, and a leader that starts again leads in another one.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] when this replica does not lead, or a majority did not confirm
    /// within a second that it does.
    pub async fn barrier(&self) -> Result<Term, ProposeError> {
        self.barriers.pass().await
    }

    /// Who leads, as it changes. A replica says that it leads itself only once it is elected; it may
    /// go on saying so for as long as it is cut off from the others.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// How far this replica is.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.replica_server.status.read()
    }

    /// Persists a view of everything applied so far, and returns when that is done.
    ///
    /// # Errors
    /// [`ProposeError::Unknown`] when the replica has stopped.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        self.snapshots.take().await
    }

    /// Stops taking part. What was acknowledged is on disk already.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            warn!(%error, "the consensus core did not stop in good order");
        }
    }
}

/// Says hello to the others; stops the process where this replica is not what they take it for.
async fn form(formation: Formation, tasks: Tasks) {
    let Err(error) = formation.run().await;
    tasks.fail(Failure {
        task: "membership",
        reason: error.to_string(),
    });
}

/// The stored membership wins over the one that the process was started with.
async fn warn_of_other_members(config: &Config, raft: &Raft) {
    let stored = raft.with_raft_state(|state| {
        let effective = state.membership_state.effective();
        effective.voter_ids().collect::<BTreeSet<u64>>()
    });
    // Where the core has ended already, that is reported by who watches it.
    let stored = stored.await.unwrap_or_default();
    if !stored.is_empty() && stored != config.members {
        let (name, members) = (config.name, &config.members);
        warn!(%name, ?members, ?stored, "started with other members than the group has");
    }
}
