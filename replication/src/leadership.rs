//! Who leads, and how far this replica is, as openraft's metrics tell it.

use bazaar_rpc::replica::{Leadership, ReplicaStatus, Role};
use bazaar_rpc::{ServiceName, Term};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::ProposeError;
use crate::members::has_vote;
use crate::state_machine::Progress;
use crate::types::{Fatal, Raft, ServerMetrics};

/// Who leads, in the eyes of the replica `name`.
///
/// Only what is on disk counts. A committed vote names the leader of its term; oneself only where
/// one also acts as the leader, which one does not merely by finding one's old vote on disk.
fn observe(name: ServiceName, metrics: &ServerMetrics) -> Leadership {
    let id = metrics.vote.leader_id.voted_for;
    let is_elected = metrics.vote.committed && metrics.current_leader == Some(id);
    let acts = id != name.id || metrics.state == ServerState::Leader;
    Leadership {
        term: Term(metrics.vote.leader_id.term),
        leader: (is_elected && acts).then_some(ServiceName { id, ..name }),
    }
}

/// Publishes who leads, until the consensus core ends, and keeps this replica from standing for
/// election for as long as it has no vote.
///
/// # Errors
/// When it ends otherwise than by [`crate::Group::stop`]: a failed write, or a fault of its own.
pub(crate) async fn follow(
    name: ServiceName,
    replica: Uuid,
    raft: Raft,
    leadership: watch::Sender<Leadership>,
    ended: CancellationToken,
) -> Result<(), Fatal> {
    let mut metrics = raft.server_metrics();
    loop {
        let current = {
            let metrics = metrics.borrow_and_update();
            let may_stand = has_vote(&metrics.membership_config, name.id, replica);
            raft.runtime_config().elect(may_stand);
            observe(name, &metrics)
        };
        leadership.send_if_modified(|known| std::mem::replace(known, current) != current);
        if metrics.changed().await.is_err() {
            break;
        }
    }
    ended.cancel();
    leadership.send_modify(|known| known.leader = None);
    let state = raft.metrics().borrow_watched().running_state.clone();
    match state {
        Ok(()) | Err(Fatal::Stopped) => std::future::pending().await,
        Err(fatal) => Err(fatal),
    }
}

/// The term in which `name` leads, where it does.
pub(crate) fn own_term(name: ServiceName, leadership: Leadership) -> Result<Term, ProposeError> {
    if leadership.leader == Some(name) {
        Ok(leadership.term)
    } else {
        Err(ProposeError::NotLeader {
            leader: leadership.leader,
        })
    }
}

/// Reads how far a replica is.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) name: ServiceName,
    /// The identity of its data directory.
    pub(crate) replica: Uuid,
    pub(crate) raft: Raft,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Status {
    pub(crate) fn read(&self) -> ReplicaStatus {
        let leadership = *self.leadership.borrow();
        let progress = *self.progress.borrow();
        let (state, may_vote, last_log, purged) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (
                metrics.state,
                has_vote(&metrics.membership_config, self.name.id, self.replica),
                metrics.last_log_index,
                metrics.purged.map(|log_id| log_id.index),
            )
        };
        let role = match state {
            ServerState::Leader if leadership.leader == Some(self.name) => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            _ if may_vote => Role::Follower,
            _ => Role::Learner,
        };
        ReplicaStatus {
            name: self.name,
            role,
            leadership,
            last_log,
            last_applied: progress.applied,
            snapshot: progress.persisted,
            purged,
            snapshots_installed: progress.installed,
        }
    }
}
