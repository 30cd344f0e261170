//! The contract between the replicas of one group, private to this crate.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::types::{
    AppendRequest, AppendResponse, LogId, SnapshotMeta, SnapshotResponse, TransferRequest,
    TransferResponse, Vote, VoteRequest, VoteResponse,
};

/// Served by every replica. Every call but the first names the replica that it means, by the
/// identity of its data directory; another one refuses it.
#[tarpc::service]
pub(crate) trait Peer {
    /// Says who calls, and asks who answers and how far it is. A leader that is called tries at once
    /// to reach the caller again.
    async fn hello(caller: Caller) -> Welcome;

    /// See openraft's `append_entries`.
    async fn append(to: Uuid, request: AppendRequest) -> Result<AppendResponse, PeerError>;

    /// See openraft's `vote`.
    async fn vote(to: Uuid, request: VoteRequest) -> Result<VoteResponse, PeerError>;

    /// See openraft's `pre_vote`.
    async fn pre_vote(to: Uuid, request: VoteRequest) -> Result<VoteResponse, PeerError>;

    /// See openraft's `transfer_leader`.
    async fn transfer_leader(
        to: Uuid,
        request: TransferRequest,
    ) -> Result<TransferResponse, PeerError>;

    /// Begins a transfer of the caller's state, in place of one that was under way; returns what the
    /// replica has already.
    async fn snapshot_begin(to: Uuid, transfer: Uuid) -> Result<Bytes, PeerError>;

    /// Chunk `number` of a state, from 0.
    async fn snapshot_chunk(
        to: Uuid,
        transfer: Uuid,
        number: u64,
        chunk: Bytes,
    ) -> Result<(), PeerError>;

    /// The state is complete with so many chunks; installs it.
    async fn snapshot_end(
        to: Uuid,
        transfer: Uuid,
        chunks: u64,
        vote: Vote,
        meta: SnapshotMeta,
    ) -> Result<SnapshotResponse, PeerError>;
}

/// A replica that says hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// Its id.
    pub(crate) id: u64,
    /// The identity of its data directory.
    pub(crate) replica: Uuid,
}

/// The answer to a hello.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The identity of the answering replica's data directory.
    pub(crate) replica: Uuid,
    /// The founding members that it was started with.
    pub(crate) members: BTreeSet<u64>,
    /// Whether it has never stored a vote or an entry.
    pub(crate) is_fresh: bool,
    /// The identity that the group's membership, as it knows it, has for the caller's id.
    pub(crate) caller: Option<Uuid>,
    /// Whether that membership gives the caller a vote.
    pub(crate) has_vote: bool,
    /// Its vote.
    pub(crate) vote: Vote,
    /// Its last entry.
    pub(crate) last: Option<LogId>,
}

/// Why a replica did not do what was asked.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum PeerError {
    /// The call means another one, which had this name before.
    #[error("that data directory is not here any more")]
    OtherReplica,
    /// Its consensus core has ended.
    #[error("it has stopped: {0}")]
    Stopped(String),
    /// The transfer of a state went wrong, or another one has taken its place.
    #[error("the transfer failed: {0}")]
    Transfer(String),
    /// It has no vote, so it does not stand for election.
    #[error("it has no vote")]
    NoVote,
}
