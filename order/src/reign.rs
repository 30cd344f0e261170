//! One replica's time as the leader of one term: where handlers hand requests in, and where the
//! leader's work takes them from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{RequestId, Term};
use tokio::sync::{mpsc, oneshot, watch};

use crate::in_flight::{Admission, Answer, InFlight};
use crate::request::Request;

/// The most requests under way at once, those that wait included.
const MAX_IN_FLIGHT: usize = 16 * 1024;

/// The requests of one reign.
pub(crate) struct Reign {
    /// The order group's term, which is this reign's alone.
    pub(crate) term: Term,
    /// Held locked for look-ups and moves in memory only.
    in_flight: Mutex<InFlight>,
    /// New requests, in the order of their arrival.
    queue: mpsc::Sender<RequestId>,
    phase: watch::Sender<Phase>,
}

/// How far a reign is.
#[derive(Clone, Debug)]
enum Phase {
    /// Trades that the catalog has made are being recorded; requests wait.
    Recovering,
    /// Requests are worked on.
    Trading,
    /// It is over, for that reason.
    Over(OrderError),
}

impl Reign {
    /// The reign of `term`, and the end of its queue that its work takes requests from.
    pub(crate) fn new(term: Term) -> (Arc<Self>, mpsc::Receiver<RequestId>) {
        let (queue, requests) = mpsc::channel(MAX_IN_FLIGHT);
        let in_flight = Mutex::new(InFlight::new(MAX_IN_FLIGHT));
        (
            Arc::new(Self {
                term,
                in_flight,
                queue,
                phase: watch::Sender::new(Phase::Recovering),
            }),
            requests,
        )
    }

    /// Hands `request` in. Returns where its answer will arrive; dropping that stops nothing.
    ///
    /// Whether it is recorded already is not looked up here but right before it is sent to the
    /// catalog. That closes the gap between "not recorded" and "not under way" in which a trade
    /// could be booked twice: from here on its id is under way, every other holder of the id joins
    /// it, and nothing under this id can be recorded between the look-up and the sending, not even
    /// out of the catalog's outbox, which is recovered before anything is sent. So it is with what an
    /// order is amended from: it is read right before the amendment is sent, and no other one of that
    /// order is sent until this one is recorded or known not to be made.
    ///
    /// # Errors
    /// What to tell the caller, for whom nothing has changed.
    pub(crate) fn submit(
        &self,
        request: &Request,
    ) -> Result<oneshot::Receiver<Answer>, OrderError> {
        let (waiter, answer) = oneshot::channel();
        let mut in_flight = self.in_flight();
        let admission = in_flight.admit(request, waiter)?;
        if admission == Admission::New && self.queue.try_send(request.id()).is_err() {
            in_flight.turned_away(request.id(), OrderError::Busy);
        }
        Ok(answer)
    }

    /// From now on requests are worked on, or wait for a recovery.
    pub(crate) fn set_trading(&self, trading: bool) {
        let phase = if trading {
            Phase::Trading
        } else {
            Phase::Recovering
        };
        self.phase.send_replace(phase);
    }

    /// Ends the reign: everybody who waits is answered, and so is whoever comes later.
    pub(crate) fn close(&self, reason: &OrderError) {
        self.in_flight().close(reason);
        self.phase.send_replace(Phase::Over(reason.clone()));
    }

    /// Returns once requests are worked on.
    ///
    /// # Errors
    /// Why the reign is over.
    pub(crate) async fn trades(&self) -> Result<(), OrderError> {
        let mut phase = self.phase.subscribe();
        let settled = phase
            .wait_for(|phase| !matches!(phase, Phase::Recovering))
            .await;
        match settled.as_deref() {
            Ok(Phase::Over(reason)) => Err(reason.clone()),
            // The sender lives in `self`.
            Ok(Phase::Trading | Phase::Recovering) | Err(_) => Ok(()),
        }
    }

    /// The requests under way.
    pub(crate) fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        // What is done under the lock does not panic half-way.
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
