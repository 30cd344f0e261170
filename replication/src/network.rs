//! openraft's network: calls to the other replicas of the group.
//!
//! openraft makes a network object for each purpose (appends, heartbeats, snapshots, votes), and
//! each has a connection of its own, so that a heartbeat never waits behind a chunk of a snapshot.
//! It makes one for each vote; those to one peer share a connection, or an election would have to
//! wait until one is made.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bazaar_machine::task::spawn;
use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::{
    ConnectError, Directory, call, client_config, client_transport, spawned,
};
use bazaar_rpc::net::Protocol;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::StreamAppendResult;
use openraft::{OptionalSend, RaftNetworkV2};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use uuid::Uuid;

use crate::heartbeat::repeated;
use crate::peer::{PeerClient, PeerError};
use crate::snapshot::{self, Transfer};
use crate::types::{
    AppendRequest, AppendResponse, LogId, Node, Snapshot, SnapshotResponse, TransferRequest,
    TransferResponse, Types, Vote, VoteRequest, VoteResponse,
};

/// How long a follower may take to store entries: a slow sync is no reason to send them again.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// How many append requests are under way at once to one follower.
const APPEND_WINDOW: usize = 16;

/// A connection on which nothing was answered for so long is given up: its other end may be gone
/// without a trace.
const SILENCE: Duration = Duration::from_secs(2);

/// The same for votes. A connection that a cut has left behind may stall for long; while there is
/// no leader, that is not worth waiting for.
const VOTE_SILENCE: Duration = Duration::from_millis(500);

type RpcResult<T> = Result<T, RPCError<Types>>;

/// A connection to one peer, made when it is needed.
pub(crate) struct Link {
    directory: Directory,
    peer: ServiceName,
    client: Option<PeerClient>,
    /// An attempt to connect. It outlives the calls that wait for it, which are impatient.
    connecting: Option<AbortOnDropHandle<Result<PeerClient, ConnectError>>>,
    /// Since when calls were made without an answer.
    silent_since: Option<Instant>,
    /// How long calls may be made without an answer.
    silence: Duration,
}

impl Link {
    pub(crate) fn new(directory: Directory, peer: ServiceName) -> Self {
        Self {
            directory,
            peer,
            client: None,
            connecting: None,
            silent_since: None,
            silence: SILENCE,
        }
    }

    /// A stub, for a call that is about to be made; connects first, call `patience`.
    pub(crate) async fn client(&mut self, patience: Duration) -> RpcResult<PeerClient> {
        if self
            .silent_since
            .is_some_and(|since| since.elapsed() > self.silence)
        {
            self.forget();
        }
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.connect(patience).await?,
        };
        self.silent_since.get_or_insert_with(Instant::now);
        Ok(client)
    }

    async fn connect(&mut self, patience: Duration) -> RpcResult<PeerClient> {
        let (directory, peer) = (self.directory.clone(), self.peer);
        let connecting = self.connecting.get_or_insert_with(|| {
            AbortOnDropHandle::new(spawn(async move {
                let stream = directory.connect(peer, Protocol::Raft).await?;
                let stub = PeerClient::new(client_config(), client_transport(stream));
                Ok(spawned(stub))
            }))
        });
        let outcome = timeout(patience, connecting)
            .await
            .map_err(|_elapsed| unreachable(self.peer, "connecting takes long"))?;
        self.connecting = None;
        let connected = outcome.map_err(|panic| unreachable(self.peer, panic))?;
        let client = connected.map_err(|error| unreachable(self.peer, error))?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Notes what came of a call, and gives the connection up where it is to blame.
    pub(crate) fn settle<T>(
        &mut self,
        outcome: Result<Result<T, PeerError>, RpcError>,
    ) -> RpcResult<T> {
        match outcome {
            Ok(answer) => {
                self.silent_since = None;
                answer.map_err(|error| unreachable(self.peer, error))
            }
            Err(error) => {
                if !is_late(&error) {
                    self.forget();
                }
                Err(unreachable(self.peer, error))
            }
        }
    }

    fn forget(&mut self) {
        self.client = None;
        self.silent_since = None;
    }
}

fn unreachable(peer: ServiceName, cause: impl Display) -> RPCError<Types> {
    // openraft reports the peer and not the cause.
    debug!(%peer, %cause, "peer unreachable");
    RPCError::Unreachable(Unreachable::from_string(format!("{peer}: {cause}")))
}

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
        let link = || Link::new(self.directory.clone(), node.name);
        let mut votes = self.votes.lock().unwrap_or_else(PoisonError::into_inner);
        let votes = votes.entry(node.name).or_insert_with(|| {
            let silence = VOTE_SILENCE;
            Arc::new(tokio::sync::Mutex::new(Link { silence, ..link() }))
        });
        PeerNetwork {
            link: link(),
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
        let outcome = repeated(|| {
            call(APPEND_DEADLINE, |context| {
                client.append(context, self.to, request.clone())
            })
        })
        .await;
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

fn is_late(error: &RpcError) -> bool {
    matches!(error, RpcError::DeadlineExceeded)
}

impl RaftNetworkV2<Types> for PeerNetwork {
    type SnapshotData = Transfer;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> RpcResult<AppendResponse> {
        let client = self.link.client(option.soft_ttl()).await?;
        let outcome = call(APPEND_DEADLINE, |context| {
            client.append(context, self.to, request)
        })
        .await;
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
            let calls = stream::iter([first])
                .chain(requests)
                .map(move |request| append(client.clone(), to, request))
                .buffered(APPEND_WINDOW)
                .boxed();
            let responses = stream::unfold(Some((calls, &mut self.link)), |state| async move {
                let (mut calls, link) = state?;
                let (span, outcome) = calls.next().await?;
                let response = link.settle(outcome).map(|response| span.result(response));
                // After anything but full success openraft starts over with a new stream.
                let goes_on = matches!(&response, Ok(Ok(matched)) if *matched == span.last);
                Some((response, goes_on.then_some((calls, link))))
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
        self.link.silent_since = None;
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

/// What part of the log an append request covers: after `previous`, up to `last`.
struct Span {
    previous: Option<LogId>,
    last: Option<LogId>,
}

impl Span {
    fn of(request: &AppendRequest) -> Self {
        let previous = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(previous);
        Self { previous, last }
    }

    fn result(&self, response: AppendResponse) -> StreamAppendResult<Types> {
        response.into_stream_result(self.previous, self.last)
    }
}

async fn append(
    client: PeerClient,
    to: Uuid,
    request: AppendRequest,
) -> (Span, Result<Result<AppendResponse, PeerError>, RpcError>) {
    let span = Span::of(&request);
    let outcome = call(APPEND_DEADLINE, |context| {
        client.append(context, to, request)
    })
    .await;
    (span, outcome)
}
