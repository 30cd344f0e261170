//! The requests that a leader has accepted and not yet answered: plain data, no I/O.

use std::collections::HashMap;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{InvocationId, Order, Refusal, RequestId};
use tokio::sync::oneshot;

use crate::refusals::Refusals;
use crate::request::Request;
use crate::turns::{Turn, Turns};

/// The most callers that wait for one request, and the most invocations in which it is asked for.
const MAX_WAITERS: usize = 64;

/// What a caller is told: the record of the trade that was asked for; of an amendment, the record that
/// left the order as was asked.
pub(crate) type Answer = Result<Order, OrderError>;

/// A caller who waits.
pub(crate) type Waiter = oneshot::Sender<Answer>;

/// The requests under way, by request id.
pub(crate) struct InFlight {
    entries: HashMap<RequestId, Entry>,
    /// Held by the amendments that are sent.
    turns: Turns,
    refusals: Refusals,
    capacity: usize,
    /// Set when nothing is accepted any more: what to tell callers.
    closed: Option<OrderError>,
}

struct Entry {
    request: Request,
    stage: Stage,
    waiters: Vec<Waiter>,
    /// Those in which it was asked for.
    invocations: Vec<InvocationId>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody but us knows of it: nothing has changed on its account.
    Queued,
    /// It is about to be sent, or the catalog may have made the trade.
    Sent,
}

/// Whether a request that was accepted is to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is new.
    New,
    /// It is already under way.
    Joined,
}

impl InFlight {
    /// None, and never more than `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            turns: Turns::default(),
            refusals: Refusals::default(),
            capacity,
            closed: None,
        }
    }

    /// Accepts `request`: `waiter` will be answered.
    ///
    /// # Errors
    /// What to tell the caller, for whom nothing has changed.
    pub(crate) fn admit(
        &mut self,
        request: &Request,
        waiter: Waiter,
    ) -> Result<Admission, OrderError> {
        if let Some(reason) = &self.closed {
            return Err(reason.clone());
        }
        if let Some(reason) = self.refusals.reason(request.invocation()) {
            return Err(reason.clone());
        }
        if let Some(entry) = self.entries.get_mut(&request.id()) {
            return entry.join(request, waiter).map(|()| Admission::Joined);
        }
        if self.entries.len() >= self.capacity {
            return Err(OrderError::Busy);
        }
        let entry = Entry {
            request: request.clone(),
            stage: Stage::Queued,
            waiters: vec![waiter],
            invocations: vec![request.invocation()],
        };
        self.entries.insert(request.id(), entry);
        Ok(Admission::New)
    }

    /// The request of that id, which is about to be sent to the catalog. None where it is not to be
    /// sent: because it is answered, or sent already, because nobody waits for it any more, or
    /// because another amendment of its order is under way. Then it will be among the
    /// [ready](InFlight::ready).
    pub(crate) fn begin(&mut self, id: RequestId) -> Option<Request> {
        let entry = self.entries.get_mut(&id)?;
        if entry.stage == Stage::Sent {
            return None;
        }
        if entry.waiters.iter().all(Waiter::is_closed) {
            self.entries.remove(&id);
            return None;
        }
        if let Request::Amend(amend) = &entry.request {
            match self.turns.take(amend.order, id) {
                Turn::Now => {}
                _ if planted(Bug::AmendmentsAtOnce) => {}
                Turn::Later => return None,
                Turn::Never => {
                    self.turned_away(id, OrderError::Busy);
                    return None;
                }
            }
        }
        entry.stage = Stage::Sent;
        Some(entry.request.clone())
    }

    /// The requests that have waited for another one, and are to be begun now.
    pub(crate) fn ready(&mut self) -> Vec<RequestId> {
        self.turns.ready()
    }

    /// The request of that id is known not to have been made by the catalog. Returns whether it is
    /// still to be.
    pub(crate) fn requeue(&mut self, id: RequestId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        entry.release(&mut self.turns);
        entry.stage = Stage::Queued;
        true
    }

    /// As [`InFlight::requeue`], of several.
    pub(crate) fn requeue_all(&mut self, ids: &[RequestId]) {
        for id in ids {
            self.requeue(*id);
        }
    }

    /// `order` is recorded: answers whoever waits under its request id.
    pub(crate) fn recorded(&mut self, order: Order) {
        let Some(entry) = self.remove(order.trade.request.request) else {
            return;
        };
        let answer = if entry.request.is_answered_by(&order) {
            Ok(order)
        } else {
            Err(OrderError::KeyReused)
        };
        entry.answer(answer);
    }

    /// The order that the request of that id is to amend is as is asked since `last` was recorded.
    pub(crate) fn stands(&mut self, id: RequestId, last: Order) {
        if let Some(entry) = self.remove(id) {
            entry.answer(Ok(last));
        }
    }

    /// The catalog has refused the request of that id.
    pub(crate) fn refused(&mut self, id: RequestId, refusal: Refusal) {
        self.turned_away(id, OrderError::Refused(refusal));
    }

    /// Nothing has changed on account of the request of that id, for that reason. Where that is
    /// final, it will not be changed by another attempt either.
    pub(crate) fn turned_away(&mut self, id: RequestId, reason: OrderError) {
        let Some(entry) = self.remove(id) else {
            return;
        };
        if !reason.is_retryable() {
            for invocation in &entry.invocations {
                self.refusals.remember(*invocation, reason.clone());
            }
        }
        entry.answer(Err(reason));
    }

    /// Takes the request of that id out, and lets those go on that wait for it.
    fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        entry.release(&mut self.turns);
        Some(entry)
    }

    /// Accepts nothing any more and answers everybody: with `reason` those whose requests have
    /// changed nothing, and the others that the outcome is unknown.
    pub(crate) fn close(&mut self, reason: &OrderError) {
        self.closed = Some(reason.clone());
        for (_, entry) in self.entries.drain() {
            let answer = match entry.stage {
                Stage::Queued => reason.clone(),
                Stage::Sent => OrderError::Unknown,
            };
            entry.answer(Err(answer));
        }
    }
}

impl Entry {
    fn join(&mut self, request: &Request, waiter: Waiter) -> Result<(), OrderError> {
        self.request.check_same(request)?;
        self.waiters.retain(|waiter| !waiter.is_closed());
        let is_known = self.invocations.contains(&request.invocation());
        if self.waiters.len() >= MAX_WAITERS || (!is_known && self.invocations.len() >= MAX_WAITERS)
        {
            return Err(OrderError::Busy);
        }
        self.waiters.push(waiter);
        if !is_known {
            self.invocations.push(request.invocation());
        }
        Ok(())
    }

    /// Gives the turn to amend an order back, where this has it.
    fn release(&self, turns: &mut Turns) {
        if let (Request::Amend(amend), Stage::Sent) = (&self.request, self.stage) {
            turns.release(amend.order);
        }
    }

    fn answer(mut self, answer: Answer) {
        let last = self.waiters.pop();
        for waiter in self.waiters {
            tell(waiter, answer.clone());
        }
        if let Some(waiter) = last {
            tell(waiter, answer);
        }
    }
}

/// Answers one caller, who may have hung up: then nobody needs the answer.
fn tell(waiter: Waiter, answer: Answer) {
    drop(waiter.send(answer));
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
