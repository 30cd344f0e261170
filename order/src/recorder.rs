//! Records what the catalog has made: proposes trades to the group, and answers those who wait once
//! they are recorded.

use std::borrow::Cow;
use std::sync::Arc;

use bazaar_replication::{Group, ProposeError, Receipts};
use bazaar_rpc::{FencingToken, Order, Trade};
use bytes::Bytes;

use crate::command::Command;
use crate::error::StoreError;
use crate::format;
use crate::reign::Reign;
use crate::state::Outcome;
use crate::store::Store;

/// Why the leader's work cannot simply go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interruption {
    /// What became of trades that were sent to the catalog is unknown, or trades that it made did
    /// not reach the log in sequence: they are to be fetched from it.
    #[error("the catalog's trades are to be recovered: {0}")]
    Unsettled(String),
    /// The catalog takes no more trades from this leader.
    #[error("the catalog is fenced with token {by}")]
    Fenced {
        /// The token in force.
        by: FencingToken,
    },
    /// This replica does not lead any more.
    #[error("leadership is lost")]
    Deposed,
    /// The order log and the catalog that answers do not belong together. Nothing was made of either
    /// yet, so with another catalog trading may go on.
    #[error("{0}")]
    Apart(String),
    /// The order log and the catalog contradict each other.
    #[error("{0}")]
    Inconsistent(String),
    /// The machine fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ProposeError> for Interruption {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } | ProposeError::Unknown => Self::Deposed,
        }
    }
}

/// Records trades on behalf of one reign.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) group: Group,
    pub(crate) store: Store,
    pub(crate) reign: Arc<Reign>,
}

/// Trades that have a place in the replicated log, but are not committed yet.
pub(crate) struct Proposal {
    trades: Vec<Trade>,
    receipts: Receipts,
}

/// Trades whose entry in the replicated log is applied.
pub(crate) struct Applied {
    trades: Vec<Trade>,
    answer: Option<Result<Bytes, ProposeError>>,
}

impl Recorder {
    /// Proposes `trades` as one entry of the replicated log. The log has the order of the calls.
    pub(crate) async fn propose(&self, trades: Vec<Trade>) -> Result<Proposal, Interruption> {
        let command = Command::Record(Cow::Borrowed(&trades)).encode();
        let receipts = self.group.propose(vec![command]).await?;
        Ok(Proposal { trades, receipts })
    }

    /// Answers those who wait for `applied` trades.
    pub(crate) fn settle(&self, applied: Applied) -> Result<(), Interruption> {
        let answer = applied.answer.unwrap_or(Err(ProposeError::Unknown))?;
        let outcomes: Vec<Outcome> = format::decode(&answer).map_err(|error| {
            Interruption::Inconsistent(format!("an answer of our own: {error}"))
        })?;
        let (mut gap, mut contradiction) = (None, None);
        for (trade, outcome) in applied.trades.into_iter().zip(outcomes) {
            let order = match outcome {
                Outcome::Recorded(number) => Order { number, trade },
                Outcome::Contradiction(number) => {
                    contradiction.get_or_insert(number);
                    Order { number, trade }
                }
                Outcome::AlreadyRecorded => self.recorded_before(&trade)?,
                Outcome::Gap => {
                    gap.get_or_insert(trade.sequence);
                    continue;
                }
            };
            self.reign.in_flight().recorded(order);
        }
        match (contradiction, gap) {
            (Some(number), _) => Err(Interruption::Inconsistent(format!(
                "record {number} amends an order that is not as it says"
            ))),
            (None, None) => Ok(()),
            (None, Some(sequence)) => {
                let expected = self.store.head().next_sequence;
                let reason = format!("trade {sequence} came where {expected} was expected");
                Err(Interruption::Unsettled(reason))
            }
        }
    }

    /// The order that records `trade`, whose sequence number was recorded earlier.
    fn recorded_before(&self, trade: &Trade) -> Result<Order, Interruption> {
        let order = self.store.order_of_request(trade.request.request)?;
        order
            .filter(|order| order.trade.sequence == trade.sequence)
            .ok_or_else(|| {
                Interruption::Inconsistent(format!(
                    "the catalog made trade {} of request {}, and the log has another trade there",
                    trade.sequence, trade.request.request
                ))
            })
    }
}

impl Proposal {
    /// Waits until the trades are committed and applied, or leadership is lost.
    pub(crate) async fn applied(mut self) -> Applied {
        let answer = self.receipts.next().await;
        Applied {
            trades: self.trades,
            answer,
        }
    }
}
