//! The leader's work, from its election to its end: one reign a term.
//!
//! A reign begins with the trades that the catalog has made and no leader has recorded. The catalog
//! is fenced, so that no earlier leader's trades can be made any more; what it has made is fetched
//! and recorded; only then new trades are sent. The same is done over whenever it is unknown what
//! the catalog made of what it was sent, so a catalog that dies delays trades and loses none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_daemon::{GroupClient, GroupError, Leader};
use bazaar_replication::Group;
use bazaar_rpc::catalog::{CatalogClient, CatalogError, Fence};
use bazaar_rpc::connect::within;
use bazaar_rpc::orders::OrderError;
use bazaar_rpc::replica::Leadership;
use bazaar_rpc::{FencingToken, RequestId, ServiceName, Term, Trade};
use tarpc::client::RpcError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::error::StoreError;
use crate::recorder::{Interruption, Recorder};
use crate::reign::Reign;
use crate::sequencer::Sequencer;
use crate::store::Store;

/// How long one call to the catalog may take while trades are recovered, and how long all its
/// repetitions may take until that is worth a line in the log.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before a majority that is out of reach, or the throne, is looked at again, and the least
/// time from one recovery to the next: one that comes later than that is begun at once.
const PAUSE: Duration = Duration::from_millis(10);

/// How soon to look again whether the catalog and the log belong together, where they did not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The reign that this replica is in; none while it does not lead.
pub(crate) type Throne = watch::Sender<Option<Arc<Reign>>>;

/// Does the leader's work whenever this replica leads.
pub(crate) struct Lead {
    pub(crate) me: ServiceName,
    pub(crate) group: Group,
    pub(crate) catalog: GroupClient<CatalogClient>,
    pub(crate) store: Store,
    pub(crate) throne: Throne,
}

impl Lead {
    /// Runs until the process stops.
    ///
    /// # Errors
    /// When the machine fails.
    pub(crate) async fn run(self) -> Result<(), StoreError> {
        let mut leadership = self.group.leadership();
        let mut last_reason = None;
        loop {
            let term = elected(&mut leadership, self.me).await;
            let (reign, queue) = Reign::new(term);
            self.throne.send_replace(Some(reign.clone()));
            let mut watched = leadership.clone();
            let interruption = tokio::select! {
                () = deposed(&mut watched, self.me, term) => Interruption::Deposed,
                interruption = self.reign(term, &reign, queue) => interruption,
            };
            info!(%term, %interruption, "the reign is over");
            let is_apart = matches!(interruption, Interruption::Apart(_));
            let leader = leadership
                .borrow()
                .leader
                .filter(|leader| *leader != self.me);
            let reason = match interruption {
                Interruption::Store(error) => return Err(error),
                Interruption::Apart(ref reason) | Interruption::Inconsistent(ref reason) => {
                    if last_reason.as_ref() != Some(reason) {
                        error!(%term, reason, "the order log and the catalog disagree: no trading");
                    }
                    last_reason = Some(reason.clone());
                    OrderError::Inconsistent(reason.clone())
                }
                Interruption::Deposed
                | Interruption::Fenced { .. }
                | Interruption::Unsettled(_) => OrderError::NotLeader { leader },
            };
            reign.close(&reason);
            // Callers keep being told why.
            let mended = deposed(&mut leadership, self.me, term);
            if is_apart {
                // Another catalog may take this one's place, one that was rebuilt above all.
                timeout(LOOK_AGAIN, mended).await.ok();
            } else if matches!(reason, OrderError::Inconsistent(_)) {
                mended.await;
            }
            self.throne.send_replace(None);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Leads `term`, until something comes in between that another fence does not mend.
    async fn reign(
        &self,
        term: Term,
        reign: &Arc<Reign>,
        queue: mpsc::Receiver<RequestId>,
    ) -> Interruption {
        // Everything that earlier leaders recorded is applied here from now on.
        loop {
            match self.group.barrier().await {
                Ok(confirmed) if confirmed == term => break,
                Ok(_) => return Interruption::Deposed,
                // A majority is out of reach for the moment: we lead on, or a successor will.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        let (group, store) = (self.group.clone(), self.store.clone());
        let recorder = Recorder {
            group,
            store,
            reign: reign.clone(),
        };
        let mut sequencer = Sequencer::new(self.catalog.clone(), recorder.clone(), queue);
        loop {
            let next = tokio::time::Instant::now() + PAUSE;
            let interruption = match self.recover(term, &recorder).await {
                Ok(token) => {
                    info!(%token, recorded = %self.store.head().next_sequence, "trading");
                    reign.set_trading(true);
                    let interruption = sequencer.trade(token).await;
                    reign.set_trading(false);
                    interruption
                }
                Err(interruption) => interruption,
            };
            match interruption {
                Interruption::Unsettled(reason) => warn!(%term, reason, "recovering trades"),
                // A fence of ours that had no answer was repeated, and came through after all.
                Interruption::Fenced { by } if by.term == term => warn!(%by, "fencing again"),
                Interruption::Fenced { by } => return self.overtaken(term, by).await,
                other => return other,
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Fences the catalog, and records every trade that it has made and this log has not.
    async fn recover(&self, term: Term, recorder: &Recorder) -> Result<FencingToken, Interruption> {
        let first = self.store.head().next_sequence;
        let fence =
            self.call(|leader| async move {
                leader.client.fence(within(CALL_TIMEOUT), term, first).await
            })
            .await?;
        let Fence {
            token,
            forgotten,
            next,
        } = fence;
        if !(forgotten..=next).contains(&first) {
            let way_out = if first > next {
                ". Where the catalog has lost its disk, `bazaar catalog rebuild` restores it from \
                 the order log"
            } else {
                ""
            };
            return Err(Interruption::Apart(format!(
                "trade {first} is the next one of the log; the catalog has forgotten those before \
                 {forgotten}, and {next} is the next one that it makes{way_out}"
            )));
        }
        if token.term != term {
            let reason = format!("the catalog fenced term {}, not {term}", token.term);
            return Err(Interruption::Inconsistent(reason));
        }
        loop {
            let from = self.store.head().next_sequence;
            if from >= next || planted(Bug::OutboxNotRecovered) {
                break;
            }
            let trades = self
                .call(|leader| async move {
                    leader
                        .client
                        .outbox(within(CALL_TIMEOUT), token, from)
                        .await
                })
                .await?;
            if !is_sequence(&trades, from) {
                let reason = format!("the catalog does not show trade {from} of those it made");
                return Err(Interruption::Inconsistent(reason));
            }
            let applied = recorder.propose(trades).await?.applied().await;
            recorder.settle(applied)?;
        }
        let recovered = next.0 - first.0;
        info!(%token, recovered, "the catalog is fenced");
        Ok(token)
    }

    /// Calls the catalog's leader, whichever it is and as often as it takes.
    async fn call<T, F, Fut>(&self, call: F) -> Result<T, Interruption>
    where
        F: Fn(Leader<CatalogClient>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Result<T, CatalogError>, RpcError>> + Send,
    {
        loop {
            let deadline = Instant::now() + RECOVERY_TIMEOUT;
            match self
                .catalog
                .call(deadline, CatalogError::is_retryable, &call)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(GroupError::Answer(CatalogError::Fenced { by })) => {
                    return Err(Interruption::Fenced { by });
                }
                Err(GroupError::Answer(error)) => {
                    return Err(Interruption::Inconsistent(error.to_string()));
                }
                Err(error @ (GroupError::NoAnswer | GroupError::NoLeader)) => {
                    warn!(%error, "the catalog does not answer: trades wait");
                }
            }
        }
    }

    /// The catalog has been fenced in another term. That is our successor's doing, unless we still
    /// lead: then it is another order log's that this catalog belongs to.
    async fn overtaken(&self, term: Term, by: FencingToken) -> Interruption {
        if self.group.barrier().await == Ok(term) {
            let reason = format!("the catalog is fenced with {by}, a term this log has never had");
            Interruption::Inconsistent(reason)
        } else {
            Interruption::Deposed
        }
    }
}

/// Whether `trades` are consecutive from `from` on, and there are any.
fn is_sequence(trades: &[Trade], from: bazaar_rpc::TradeSequence) -> bool {
    let expected = from.0..;
    !trades.is_empty()
        && trades
            .iter()
            .map(|trade| trade.sequence.0)
            .zip(expected)
            .all(|(a, b)| a == b)
}

/// Waits until `me` leads; returns the term.
async fn elected(leadership: &mut watch::Receiver<Leadership>, me: ServiceName) -> Term {
    let term = leadership
        .wait_for(|now| now.leader == Some(me))
        .await
        .ok()
        .map(|now| now.term);
    match term {
        Some(term) => term,
        // The group has stopped, because the process is stopping.
        None => std::future::pending().await,
    }
}

/// Waits until `me` does not lead in `term` any more.
async fn deposed(leadership: &mut watch::Receiver<Leadership>, me: ServiceName, term: Term) {
    let leads = Leadership {
        term,
        leader: Some(me),
    };
    if leadership.wait_for(|now| *now != leads).await.is_err() {
        std::future::pending::<()>().await;
    }
}
