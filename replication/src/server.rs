//! What a replica serves: the private contract to its peers, and [`Replica`] to those who look for
//! the leader.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_machine::task::spawn_blocking;
use bazaar_rpc::replica::{Leadership, RemoveError, Replica, ReplicaStatus};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use tarpc::context::Context;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::timeout;
use uuid::Uuid;

use crate::leadership::Status;
use crate::members::{Members, has_vote};
use crate::peer::{Caller, Peer, PeerError, Welcome};
use crate::snapshot::{MAX_CHUNK, Staging, Transfer};
use crate::types::{
    AppendRequest, AppendResponse, Raft, Snapshot, SnapshotMeta, SnapshotResponse, TransferRequest,
    TransferResponse, Vote, VoteRequest, VoteResponse,
};

/// The longest that a question for the leader waits for news.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// Serves the other replicas of the group.
#[derive(Clone)]
pub(crate) struct PeerServer {
    pub(crate) raft: Raft,
    /// The identity of this replica's data directory.
    pub(crate) replica: Uuid,
    /// The founding members that it was started with.
    pub(crate) founding: Arc<BTreeSet<u64>>,
    pub(crate) members: Members,
    /// Whether nothing was stored here when the process started.
    pub(crate) was_fresh: bool,
    pub(crate) dir: Arc<PathBuf>,
    /// The state that is being received.
    pub(crate) staging: Arc<Mutex<Option<Staging>>>,
}

impl PeerServer {
    fn check(&self, to: Uuid) -> Result<(), PeerError> {
        if to == self.replica {
            Ok(())
        } else {
            Err(PeerError::OtherReplica)
        }
    }

    /// Works on the state that is being received, on a thread that may block.
    async fn stage<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Staging>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PeerError> {
        let staging = self.staging.clone();
        spawn_blocking(move || work(&mut staging.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| PeerError::Transfer(error.to_string()))
    }
}

fn stopped(error: impl std::fmt::Display) -> PeerError {
    PeerError::Stopped(error.to_string())
}

impl Peer for PeerServer {
    async fn hello(self, _: Context, caller: Caller) -> Welcome {
        let (known, has_vote, vote) = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let membership = &metrics.membership_config;
            let known = membership.get_node(&caller.id).map(|node| node.replica);
            let has_vote = has_vote(membership, caller.id, caller.replica);
            (known, has_vote, metrics.vote)
        };
        let last = self.raft.data_metrics().borrow_watched().last_log;
        if known == Some(caller.replica) {
            // Only a leader has anybody to reach; a stopped one has nobody any more.
            self.raft.trigger().reset_backoff([caller.id]).await.ok();
        }
        self.members.admit(&caller);
        Welcome {
            replica: self.replica,
            members: BTreeSet::clone(&self.founding),
            is_fresh: self.was_fresh && last.is_none() && vote.leader_id.term == 0,
            caller: known,
            has_vote,
            vote,
            last,
        }
    }

    async fn append(
        self,
        _: Context,
        to: Uuid,
        request: AppendRequest,
    ) -> Result<AppendResponse, PeerError> {
        self.check(to)?;
        // Requests of one connection arrive here in order. Without tokio's budget for cooperation
        // they also reach the core in order, because the first poll hands them over.
        unconstrained(self.raft.append_entries(request))
            .await
            .map_err(stopped)
    }

    async fn vote(
        self,
        _: Context,
        to: Uuid,
        request: VoteRequest,
    ) -> Result<VoteResponse, PeerError> {
        self.check(to)?;
        self.raft.vote(request).await.map_err(stopped)
    }

    async fn pre_vote(
        self,
        _: Context,
        to: Uuid,
        request: VoteRequest,
    ) -> Result<VoteResponse, PeerError> {
        self.check(to)?;
        self.raft.pre_vote(request).await.map_err(stopped)
    }

    async fn transfer_leader(
        self,
        _: Context,
        to: Uuid,
        request: TransferRequest,
    ) -> Result<TransferResponse, PeerError> {
        self.check(to)?;
        let may_stand = has_vote(
            &self
                .raft
                .server_metrics()
                .borrow_watched()
                .membership_config,
            *request.to_node_id(),
            self.replica,
        );
        if !may_stand {
            return Err(PeerError::NoVote);
        }
        self.raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)
    }

    async fn snapshot_begin(
        self,
        _: Context,
        to: Uuid,
        transfer: Uuid,
    ) -> Result<Bytes, PeerError> {
        self.check(to)?;
        let dir = self.dir.clone();
        self.stage(move |staging| {
            *staging = Some(Staging::begin(&dir, transfer)?);
            Ok(())
        })
        .await?;
        self.raft
            .with_state_machine(|machine| Box::pin(async { machine.position() }))
            .await
            .map_err(stopped)?
            .map_err(stopped)
    }

    async fn snapshot_chunk(
        self,
        _: Context,
        to: Uuid,
        transfer: Uuid,
        number: u64,
        chunk: Bytes,
    ) -> Result<(), PeerError> {
        self.check(to)?;
        if chunk.len() > MAX_CHUNK {
            return Err(PeerError::Transfer("a chunk is too large".into()));
        }
        self.stage(move |staging| {
            let staging = staging.as_mut();
            let staging = staging.ok_or_else(|| io::Error::other("no transfer is under way"))?;
            staging.push(transfer, number, &chunk)
        })
        .await
    }

    async fn snapshot_end(
        self,
        _: Context,
        to: Uuid,
        transfer: Uuid,
        chunks: u64,
        vote: Vote,
        meta: SnapshotMeta,
    ) -> Result<SnapshotResponse, PeerError> {
        self.check(to)?;
        let staged = self
            .stage(move |staging| {
                let staging = staging.take();
                let staging =
                    staging.ok_or_else(|| io::Error::other("no transfer is under way"))?;
                staging.end(transfer, chunks)
            })
            .await?;
        let snapshot = Snapshot {
            meta,
            snapshot: Transfer::Staged(staged),
        };
        self.raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)
    }
}

/// Serves those who look for the leader.
#[derive(Clone)]
pub(crate) struct ReplicaServer {
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) status: Status,
    pub(crate) members: Members,
}

impl Replica for ReplicaServer {
    async fn leadership(mut self, _: Context, known: Leadership, patience: Duration) -> Leadership {
        let news = async {
            let changed = self.leadership.wait_for(|current| *current != known).await;
            match changed.map(|news| *news) {
                Ok(news) => news,
                // The replica has stopped: there will be no news.
                Err(_) => std::future::pending().await,
            }
        };
        let news = timeout(patience.min(MAX_PATIENCE), news).await;
        news.unwrap_or(known)
    }

    async fn status(self, _: Context) -> ReplicaStatus {
        self.status.read()
    }

    async fn remove(self, _: Context, id: u64) -> Result<(), RemoveError> {
        self.members.remove(id).await
    }
}
