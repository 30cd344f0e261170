//! openraft's network: calls to the other replicas of the group.
//!
//! openraft makes a network object for each purpose (appends, heartbeats, snapshots, votes), and
//! each has a connection of its own, so that a heartbeat never waits behind a chunk of a snapshot.
//! It makes one for each vote; those to one peer share a connection, or an election would have to
//! wait until one is made.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::{Directory, call};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::StreamAppendResult;
use openraft::{OptionalSend, RaftNetworkV2};
use tarpc::client::RpcError;
use tarpc::context::Context;
use uuid::Uuid;

use crate::heartbeat::repeated;
use crate::link::{Link, RpcResult, is_late};
use crate::outstanding::{Outstanding, Span};
use crate::peer::{PeerClient, PeerError};
use crate::snapshot::{self, Transfer};
use crate::types::{
    AppendRequest, AppendResponse, Node, Snapshot, SnapshotResponse, TransferRequest,
    TransferResponse, Types, Vote, VoteRequest, VoteResponse,
};

/// How long a follower may take to store entries: a slow sync is no reason to send them again.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// How many append requests are under way at once to one follower.
const APPEND_WINDOW: usize = 16;

/// A connection on which no vote was answered for so long is given up. One that a cut has left behind
/// may stall for long; while there is no leader, that is not worth waiting for.
const VOTE_SILENCE: Duration = Duration::from_millis(500);

/// Makes the networks to the members of the group.
#[derive(Clone)]
pub(crate) struct Network {
    directory: Directory,
    /// The connections for votes.
    votes: Arc<Mutex<BTreeMap<ServiceName, SharedLink>>>,
}

type SharedLink = Arc<tokio::sync::Mutex<Link>>;

impl Network {
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            votes: Arc::default(),
        }
    }

    fn network(&self, node: &Node, purpose: Purpose) -> PeerNetwork {
        let mut votes = self.votes.lock().unwrap_or_else(PoisonError::into_inner);
        let votes = votes.entry(node.name).or_insert_with(|| {
            let link = Link::silent_for(VOTE_SILENCE, self.directory.clone(), node.name);
            Arc::new(tokio::sync::Mutex::new(link))
        });
        PeerNetwork {
            link: Link::new(self.directory.clone(), node.name),
            votes: votes.clone(),
            purpose,
            to: node.replica,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, _target: u64, node: &Node) -> PeerNetwork {
        self.network(node, Purpose::General)
    }

    async fn new_heartbeat_client(&mut self, _target: u64, node: &Node) -> PeerNetwork {
        self.network(node, Purpose::Heartbeats)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    General,
    Heartbeats,
}

/// Calls to one peer.
pub(crate) struct PeerNetwork {
    link: Link,
    votes: SharedLink,
    purpose: Purpose,
    /// The identity of the peer's data directory.
    to: Uuid,
}

impl PeerNetwork {
    /// Sends the one request of a heartbeat until it is answered.
    async fn heartbeat(
        &mut self,
        request: AppendRequest,
        patience: Duration,
    ) -> RpcResult<StreamAppendResult<Types>> {
        let client = self.link.client(patience).await?;
        let span = Span::of(&request);
        let outcome = repeated(|| append(&client, self.to, request.clone())).await;
        self.link
            .settle(outcome)
            .map(|response| span.result(response))
    }

    /// Makes a call that is part of an election, on the connection that elections share.
    async fn elect<T, Answer>(
        &self,
        patience: Duration,
        make: impl Fn(PeerClient, Context) -> Answer,
    ) -> RpcResult<T>
    where
        Answer: Future<Output = Result<Result<T, PeerError>, RpcError>>,
    {
        let mut retried = false;
        loop {
            let client = self.votes.lock().await.client(patience).await?;
            let outcome = call(patience, |context| make(client, context)).await;
            // A connection may have broken unnoticed, when the peer started again.
            let is_broken = matches!(&outcome, Err(error) if !is_late(error));
            let settled = self.votes.lock().await.settle(outcome);
            if !is_broken || std::mem::replace(&mut retried, true) {
                return settled;
            }
        }
    }
}

impl RaftNetworkV2<Types> for PeerNetwork {
    type SnapshotData = Transfer;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> RpcResult<AppendResponse> {
        let client = self.link.client(option.soft_ttl()).await?;
        let outcome = append(&client, self.to, request).await;
        self.link.settle(outcome)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft waits out its backoff inside the stream of requests: connecting before the
            // first one has come would be a hot loop on a dead peer.
            let Some(first) = requests.next().await else {
                return Ok(stream::empty().boxed());
            };
            if self.purpose == Purpose::Heartbeats {
                let answer = self.heartbeat(first, option.hard_ttl()).await;
                return Ok(stream::iter([answer]).boxed());
            }
            let client = self.link.client(option.soft_ttl()).await?;
            let to = self.to;
            let outstanding = Outstanding::default();
            let sent = outstanding.clone();
            let calls = stream::iter([first])
                .chain(requests)
                .map(move |request| {
                    let span = Span::of(&request);
                    sent.push(span);
                    let client = client.clone();
                    async move { (span, append(&client, to, request).await) }
                })
                .buffered(APPEND_WINDOW)
                .boxed();
            let start = Some((calls, outstanding, &mut self.link));
            let responses = stream::unfold(start, |state| async move {
                let (mut calls, outstanding, link) = state?;
                loop {
                    let (span, outcome) = calls.next().await?;
                    let response = link.settle(outcome).map(|response| span.result(response));
                    // After anything but full success openraft starts over with a new stream.
                    let goes_on = matches!(&response, Ok(Ok(matched)) if *matched == span.last);
                    if outstanding.answered(&span) || !goes_on {
                        let next = goes_on.then_some((calls, outstanding, link));
                        return Some((response, next));
                    }
                }
            });
            Ok(responses.boxed())
        })
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> RpcResult<VoteResponse> {
        let to = self.to;
        self.elect(option.hard_ttl(), |client, context| {
            let request = request.clone();
            async move { client.vote(context, to, request).await }
        })
        .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest,
        option: RPCOption,
    ) -> RpcResult<VoteResponse> {
        let to = self.to;
        self.elect(option.hard_ttl(), |client, context| {
            let request = request.clone();
            async move { client.pre_vote(context, to, request).await }
        })
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<Types>> {
        let client = self.link.client(option.hard_ttl()).await?;
        let outcome = tokio::select! {
            outcome = snapshot::send(&client, self.to, vote, snapshot) => outcome,
            closed = cancel => Err(StreamingError::Closed(closed)),
        };
        if outcome.is_err() {
            self.link.forget();
        }
        self.link.answered();
        outcome
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> RpcResult<TransferResponse> {
        let to = self.to;
        self.elect(option.hard_ttl(), |client, context| {
            let request = request.clone();
            async move { client.transfer_leader(context, to, request).await }
        })
        .await
    }
}

async fn append(
    client: &PeerClient,
    to: Uuid,
    request: AppendRequest,
) -> Result<Result<AppendResponse, PeerError>, RpcError> {
    call(APPEND_DEADLINE, |context| {
        client.append(context, to, request)
    })
    .await
}
