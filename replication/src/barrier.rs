//! Barriers: reads that need to know that this replica still leads.
//!
//! Confirming that costs a round of heartbeats. Everybody who asks while a round is under way waits
//! for the next one, which they share: a round must begin after the question to answer it.

use std::time::Duration;

use bazaar_rpc::replica::Leadership;
use bazaar_rpc::{ServiceName, Term};
use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ProposeError;
use crate::leadership::own_term;
use crate::types::Raft;

/// The most that wait for a round; further ones wait for a place.
const QUEUE: usize = 4096;

/// How long a round waits for a majority before it gives up. A leader that was deposed learns of it
/// sooner.
const PATIENCE: Duration = Duration::from_secs(1);

type Waiter = oneshot::Sender<Result<Term, ProposeError>>;

/// Where to ask for a barrier.
#[derive(Clone)]
pub(crate) struct Barriers(mpsc::Sender<Waiter>);

impl Barriers {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Waiter>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// See [`crate::Group::barrier`].
    pub(crate) async fn pass(&self) -> Result<Term, ProposeError> {
        let (waiter, outcome) = oneshot::channel();
        // Either fails when the replica stops: it does not lead then.
        self.0.send(waiter).await.map_err(|_| NOBODY)?;
        outcome.await.unwrap_or(Err(NOBODY))
    }
}

const NOBODY: ProposeError = ProposeError::NotLeader { leader: None };

/// Runs the rounds.
pub(crate) async fn run(
    name: ServiceName,
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    mut waiting: mpsc::Receiver<Waiter>,
) {
    let mut waiters = Vec::new();
    while waiting.recv_many(&mut waiters, QUEUE).await > 0 {
        let outcome = round(name, &raft, leadership.clone()).await;
        for waiter in waiters.drain(..) {
            // Who has gone away needs no answer.
            waiter.send(outcome.clone()).ok();
        }
    }
}

/// One round: confirms this replica's leadership by a majority, then waits until everything that
/// was committed before is applied here.
async fn round(
    name: ServiceName,
    raft: &Raft,
    mut leadership: watch::Receiver<Leadership>,
) -> Result<Term, ProposeError> {
    // A read index, not a lease: fast failover elects without waiting for the old leader's lease.
    let fresh = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(PATIENCE);
    let read = raft
        .get_read_linearizer(fresh)
        .await
        .map_err(|error| refused(name, error))?;
    let term = Term(read.read_log_id().committed_leader_id().term);
    let leads = |current: &Leadership| own_term(name, *current) == Ok(term);
    // The core knows of its leadership before the watch does.
    let caught_up = |current: &Leadership| current.term > term || leads(current);
    leadership.wait_for(caught_up).await.map_err(|_| NOBODY)?;
    tokio::select! {
        applied = read.await_ready(raft) => {
            applied.map_err(|_fatal| NOBODY)?;
        }
        _ = leadership.wait_for(|current| !leads(current)) => {}
    }
    let current = *leadership.borrow();
    match own_term(name, current) {
        Ok(now) if now != term => Err(NOBODY),
        outcome => outcome,
    }
}

fn refused(
    name: ServiceName,
    error: RaftError<crate::types::Types, LinearizableReadError<crate::types::Types>>,
) -> ProposeError {
    let leader = match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            forward.leader_id.map(|id| ServiceName { id, ..name })
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) | RaftError::Fatal(_) => {
            None
        }
    };
    ProposeError::NotLeader { leader }
}
