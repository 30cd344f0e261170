//! Trading under one fencing token: requests go to the catalog in batches, several of them under
//! way at once, and what it makes of them goes into the replicated log in the order of its answers.
//!
//! Everything is done by one task, so nothing overtakes anything: batches leave in order on one
//! connection, answers are taken in order, and proposals are made in order.

use std::collections::VecDeque;
use std::time::Duration;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_daemon::{GroupClient, Leader};
use bazaar_rpc::catalog::{CatalogClient, CatalogError, Decision, MAX_BATCH, TradeBatch};
use bazaar_rpc::connect::call;
use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{FencingToken, RequestId, TradeRequest};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tarpc::client::RpcError;
use tokio::sync::mpsc;

use crate::amend::{self, Plan};
use crate::error::StoreError;
use crate::recorder::{Applied, Interruption, Recorder};
use crate::request::Request;

/// The most batches between the catalog and the log at once. Two keep both durable steps busy; more
/// make up for the ways between them.
const WINDOW: usize = 4;

/// How long the catalog may take to decide a batch: many times the longest wait for a cache lease.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait when the catalog has too much to do.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What the catalog answers to one batch.
type BatchAnswer = Result<Result<Vec<Decision>, CatalogError>, RpcError>;

/// Has the requests of one reign decided and recorded.
pub(crate) struct Sequencer {
    catalog: GroupClient<CatalogClient>,
    recorder: Recorder,
    queue: mpsc::Receiver<RequestId>,
    /// Requests that go before those in the queue, because they were there before. At most those
    /// that are under way.
    first: VecDeque<RequestId>,
    /// Requests that were sent and had no answer when trading was interrupted.
    unresolved: Vec<RequestId>,
}

/// The batches under way.
#[derive(Default)]
struct Pipeline {
    /// The requests in each of `calls`, in the same order.
    sent: VecDeque<Vec<RequestId>>,
    calls: FuturesOrdered<BoxFuture<'static, BatchAnswer>>,
    commits: FuturesOrdered<BoxFuture<'static, Applied>>,
}

impl Sequencer {
    /// Takes requests from `queue`.
    pub(crate) fn new(
        catalog: GroupClient<CatalogClient>,
        recorder: Recorder,
        queue: mpsc::Receiver<RequestId>,
    ) -> Self {
        Self {
            catalog,
            recorder,
            queue,
            first: VecDeque::new(),
            unresolved: Vec::new(),
        }
    }

    /// Trades under `token` until something comes in between. Every trade that the catalog made
    /// before is recorded: whatever was sent earlier and is not recorded now was not made, and is
    /// sent again.
    pub(crate) async fn trade(&mut self, token: FencingToken) -> Interruption {
        {
            let mut in_flight = self.recorder.reign.in_flight();
            let unmade = self
                .unresolved
                .drain(..)
                .filter(|id| in_flight.requeue(*id));
            self.first.extend(unmade);
        }
        let mut pipeline = Pipeline::default();
        let mut interruption = self.run(token, &mut pipeline).await;
        // What has its place in the log is recorded, or leadership is lost; only then it is clear
        // where to go on.
        while let Some(applied) = pipeline.commits.next().await {
            if let Err(worse) = self.recorder.settle(applied)
                && !matches!(worse, Interruption::Unsettled(_))
            {
                interruption = worse;
            }
        }
        self.unresolved.extend(pipeline.sent.into_iter().flatten());
        interruption
    }

    async fn run(&mut self, token: FencingToken, pipeline: &mut Pipeline) -> Interruption {
        let mut current = self.catalog.leader();
        let Some(leader) = current.borrow_and_update().clone() else {
            return Interruption::Unsettled("the catalog has no leader".into());
        };
        let mut ids = Vec::with_capacity(MAX_BATCH);
        loop {
            let ready = self.recorder.reign.in_flight().ready();
            self.first.extend(ready);
            let open = pipeline.calls.len() + pipeline.commits.len() < WINDOW;
            let step = tokio::select! {
                biased;
                Some(applied) = pipeline.commits.next() => self.recorder.settle(applied),
                Some(answer) = pipeline.calls.next() => self.conclude(answer, pipeline).await,
                Ok(()) = current.changed() => {
                    Err(Interruption::Unsettled("the catalog's leader has changed".into()))
                }
                () = next_requests(&mut self.first, &mut self.queue, &mut ids), if open => {
                    self.send(&mut ids, token, &leader, pipeline)
                }
            };
            if let Err(interruption) = step {
                return interruption;
            }
        }
    }

    /// Sends the requests of `ids` that are still to be made.
    fn send(
        &mut self,
        ids: &mut Vec<RequestId>,
        token: FencingToken,
        leader: &Leader<CatalogClient>,
        pipeline: &mut Pipeline,
    ) -> Result<(), Interruption> {
        let trades = self.assemble(ids)?;
        if trades.is_empty() {
            return Ok(());
        }
        pipeline
            .sent
            .push_back(trades.iter().map(|request| request.request).collect());
        let recorded = self.recorder.store.head().next_sequence;
        let batch = TradeBatch {
            token,
            recorded,
            trades,
        };
        let client = leader.client.clone();
        pipeline.calls.push_back(Box::pin(async move {
            call(DECIDE_TIMEOUT, |context| client.decide(context, batch)).await
        }));
        Ok(())
    }

    /// Takes up the requests of `ids`, and answers those for which nothing is to be traded.
    fn assemble(&self, ids: &mut Vec<RequestId>) -> Result<Vec<TradeRequest>, StoreError> {
        let begun: Vec<_> = {
            let mut in_flight = self.recorder.reign.in_flight();
            ids.drain(..).filter_map(|id| in_flight.begin(id)).collect()
        };
        let mut trades = Vec::with_capacity(begun.len());
        for request in begun {
            trades.extend(self.prepare(request)?);
        }
        Ok(trades)
    }

    /// The trade that `request` comes to. None where it is answered: because it is recorded already,
    /// or is an amendment for which nothing is to be traded.
    fn prepare(&self, request: Request) -> Result<Option<TradeRequest>, StoreError> {
        let Recorder { reign, store, .. } = &self.recorder;
        let recorded = store.order_of_request(request.id())?;
        if let Some(order) = recorded.filter(|_| !planted(Bug::NoRequestCheck)) {
            reign.in_flight().recorded(order);
            return Ok(None);
        }
        let amend = match request {
            Request::Trade(trade) => return Ok(Some(trade)),
            Request::Amend(amend) => amend,
        };
        // Whatever has changed the order is recorded: the earlier leaders' amendments since the
        // recovery, and ours because no other one is under way.
        match amend::plan(&amend, store.state(amend.order)?) {
            Ok(Plan::Trade(trade)) => return Ok(Some(trade)),
            Ok(Plan::Nothing { last }) => reign.in_flight().stands(amend.request, last),
            Err(error) => reign.in_flight().turned_away(amend.request, error),
        }
        Ok(None)
    }

    /// Takes the catalog's answer to the oldest batch: answers what was refused, and proposes what
    /// was made.
    async fn conclude(
        &mut self,
        answer: BatchAnswer,
        pipeline: &mut Pipeline,
    ) -> Result<(), Interruption> {
        let ids = pipeline.sent.front().expect("every call has its requests");
        let reign = &self.recorder.reign;
        let unsettled = |reason: String| Err(Interruption::Unsettled(reason));
        let decisions = match answer {
            Ok(Ok(decisions)) if decisions.len() == ids.len() => decisions,
            Ok(Ok(decisions)) => {
                return unsettled(format!(
                    "{} answers to {} trades",
                    decisions.len(),
                    ids.len()
                ));
            }
            Ok(Err(CatalogError::Fenced { by })) => return Err(Interruption::Fenced { by }),
            Ok(Err(CatalogError::Busy)) => {
                // Nothing has changed, and later batches do not depend on this one.
                reign.in_flight().requeue_all(ids);
                self.first
                    .extend(pipeline.sent.pop_front().into_iter().flatten());
                tokio::time::sleep(BUSY_PAUSE).await;
                return Ok(());
            }
            Ok(Err(CatalogError::Invalid(reason))) => {
                let mut in_flight = reign.in_flight();
                for id in pipeline.sent.pop_front().into_iter().flatten() {
                    in_flight.turned_away(id, OrderError::Invalid(reason.clone()));
                }
                return Ok(());
            }
            Ok(Err(
                error @ (CatalogError::NotLeader { .. }
                | CatalogError::Starting
                | CatalogError::Unknown),
            )) => return unsettled(error.to_string()),
            Err(error) => return unsettled(error.to_string()),
        };
        let mut made = Vec::with_capacity(decisions.len());
        {
            let mut in_flight = reign.in_flight();
            for (id, decision) in ids.iter().zip(decisions) {
                match decision {
                    Ok(trade) => made.push(trade),
                    Err(refusal) => in_flight.refused(*id, refusal),
                }
            }
        }
        if !made.is_empty() {
            let proposal = self.recorder.propose(made).await?;
            pipeline.commits.push_back(Box::pin(proposal.applied()));
        }
        // Not before: what was made and could not be proposed is to be recovered.
        pipeline.sent.pop_front();
        Ok(())
    }
}

/// Waits for requests, and moves as many as one batch holds into `ids`. Nothing is lost when it is
/// dropped before it returns.
async fn next_requests(
    first: &mut VecDeque<RequestId>,
    queue: &mut mpsc::Receiver<RequestId>,
    ids: &mut Vec<RequestId>,
) {
    ids.extend(first.drain(..first.len().min(MAX_BATCH)));
    if ids.is_empty() && queue.recv_many(ids, MAX_BATCH).await == 0 {
        // The reign holds the other end; without it there is nobody to serve.
        std::future::pending::<()>().await;
    }
}
