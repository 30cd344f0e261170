//! The contract of every member of a replicated group (catalog and order alike): who leads, and how
//! far it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ServiceName, Term};

/// Served by every replica.
#[tarpc::service]
pub trait Replica {
    /// Who leads, as far as this replica knows. Answers at once where that differs from `known`,
    /// and otherwise as soon as it does or after `patience`.
    async fn leadership(known: Leadership, patience: Duration) -> Leadership;

    /// How far this replica is.
    async fn status() -> ReplicaStatus;

    /// Removes the replica `id` from the group, which this one leads, because what its disk held is
    /// lost: nothing that it acknowledged counts any more, and its disk, should it turn up again, is
    /// refused once another has taken its place. It has no vote when this returns. A replica of that
    /// name which then starts with an empty disk is let in, and has a vote again when it has the log.
    ///
    /// Where it was removed already, this does nothing.
    async fn remove(id: u64) -> Result<(), RemoveError>;
}

/// Why a replica was not removed from its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RemoveError {
    /// Somebody else leads the group, or nobody with a majority of it.
    #[error("there is no majority of its group, or another replica leads it")]
    NotLeader {
        /// Who leads, as far as this replica knows.
        leader: Option<ServiceName>,
    },
    /// It leads the group, so its disk is not lost.
    #[error("{0} leads its group")]
    Leads(ServiceName),
    /// Another change of the group was under way, or this one was not agreed on in time: it may be
    /// later. To ask again does no harm.
    #[error("the group did not agree on it in time")]
    Unsettled,
}

/// Who leads a group, in one replica's eyes. The higher term is the newer knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    /// The term that the replica is in.
    pub term: Term,
    /// The leader of that term, once one is known.
    pub leader: Option<ServiceName>,
}

/// How far a replica is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Who this is.
    pub name: ServiceName,
    /// What it does in its group.
    pub role: Role,
    /// Who leads.
    pub leadership: Leadership,
    /// The index of the last log entry it has.
    pub last_log: Option<u64>,
    /// The index of the last log entry it has applied.
    pub last_applied: Option<u64>,
    /// The index of the last log entry that its newest snapshot covers.
    pub snapshot: Option<u64>,
    /// Up to this index the log has been purged.
    pub purged: Option<u64>,
    /// The snapshots received from another replica since this process started.
    pub snapshots_installed: u64,
}

/// What a replica does in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes writes.
    Leader,
    /// Follows one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Receives the log without a vote.
    Learner,
}
