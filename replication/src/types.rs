//! The types that openraft is instantiated with, once for all services.

use std::fmt;

use bazaar_rpc::ServiceName;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::state_machine::Adapter;

openraft::declare_raft_types!(
    /// One leader a term, as in the Raft paper: a term then names a leadership, and can fence.
    pub(crate) Types:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = Node,
        AsyncRuntime = crate::runtime::Runtime,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(crate) type Raft = openraft::Raft<Types, Adapter>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::type_config::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot =
    openraft::type_config::alias::SnapshotOf<Types, crate::snapshot::Transfer>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<Types>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<Types>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<Types>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<Types>;
pub(crate) type ServerMetrics = openraft::metrics::RaftServerMetrics<Types>;
pub(crate) type Fatal = openraft::errors::Fatal<Types>;

/// A command: bytes whose meaning is the service's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Command(pub(crate) Bytes);

/// What the state machine answered to a command; empty for what is not one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Answer(pub(crate) Bytes);

/// A replica, as the group's membership records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The name by which it is found.
    pub(crate) name: ServiceName,
    /// Identifies its data directory: a replica that comes back with another one is not this one.
    pub(crate) replica: Uuid,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

/// openraft's storage suite makes up members of its own.
#[cfg(test)]
impl Default for Node {
    fn default() -> Self {
        let name = ServiceName::new(bazaar_rpc::ServiceKind::Order, 1);
        Self {
            name,
            replica: Uuid::nil(),
        }
    }
}
