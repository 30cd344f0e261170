//! The requests that a leader has accepted and not yet answered: plain data, no I/O.

use std::collections::HashMap;

use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{Order, Refusal, RequestId, TradeRequest};
use tokio::sync::oneshot;

/// The most callers that wait for one request.
const MAX_WAITERS: usize = 64;

/// What a caller is told.
pub(crate) type Answer = Result<Order, OrderError>;

/// A caller who waits.
pub(crate) type Waiter = oneshot::Sender<Answer>;

/// The requests under way, by request id.
pub(crate) struct InFlight {
    entries: HashMap<RequestId, Entry>,
    capacity: usize,
    /// Set when nothing is accepted any more: what to tell callers.
    closed: Option<OrderError>,
}

struct Entry {
    request: TradeRequest,
    stage: Stage,
    waiters: Vec<Waiter>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody but us knows of it: nothing has changed on its account.
    Queued,
    /// The catalog may have made the trade.
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
        request: &TradeRequest,
        waiter: Waiter,
    ) -> Result<Admission, OrderError> {
        if let Some(reason) = &self.closed {
            return Err(reason.clone());
        }
        if let Some(entry) = self.entries.get_mut(&request.request) {
            return entry.join(request, waiter).map(|()| Admission::Joined);
        }
        if self.entries.len() >= self.capacity {
            return Err(OrderError::Busy);
        }
        let entry = Entry {
            request: request.clone(),
            stage: Stage::Queued,
            waiters: vec![waiter],
        };
        self.entries.insert(request.request, entry);
        Ok(Admission::New)
    }

    /// The request of that id, which is about to be sent to the catalog. None where it is not to be
    /// sent: because it is answered, or sent already, or because nobody waits for it any more.
    pub(crate) fn begin(&mut self, id: RequestId) -> Option<TradeRequest> {
        let entry = self.entries.get_mut(&id)?;
        if entry.stage == Stage::Sent {
            return None;
        }
        if entry.waiters.iter().all(Waiter::is_closed) {
            self.entries.remove(&id);
            return None;
        }
        entry.stage = Stage::Sent;
        Some(entry.request.clone())
    }

    /// The request of that id is known not to have been made by the catalog. Returns whether it is
    /// still to be.
    pub(crate) fn requeue(&mut self, id: RequestId) -> bool {
        let entry = self.entries.get_mut(&id);
        entry.map(|entry| entry.stage = Stage::Queued).is_some()
    }

    /// As [`InFlight::requeue`], of several.
    pub(crate) fn requeue_all(&mut self, ids: &[RequestId]) {
        for id in ids {
            self.requeue(*id);
        }
    }

    /// `order` is recorded: answers whoever waits under its request id.
    pub(crate) fn recorded(&mut self, order: Order) {
        let Some(entry) = self.entries.remove(&order.trade.request.request) else {
            return;
        };
        let answer = if order.answers(&entry.request) {
            Ok(order)
        } else {
            Err(OrderError::KeyReused)
        };
        entry.answer(answer);
    }

    /// The catalog has refused the request of that id.
    pub(crate) fn refused(&mut self, id: RequestId, refusal: Refusal) {
        self.turned_away(id, OrderError::Refused(refusal));
    }

    /// Nothing has changed on account of the request of that id, for that reason.
    pub(crate) fn turned_away(&mut self, id: RequestId, reason: OrderError) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.answer(Err(reason));
        }
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
    fn join(&mut self, request: &TradeRequest, waiter: Waiter) -> Result<(), OrderError> {
        let known = &self.request;
        let same = known.side == request.side
            && known.quantity == request.quantity
            && known.user == request.user;
        if !same {
            return Err(OrderError::KeyReused);
        }
        if known.item != request.item {
            // A number and a name may be the same item: that shows once the trade is made.
            let comparable =
                std::mem::discriminant(&known.item) == std::mem::discriminant(&request.item);
            return Err(if comparable {
                OrderError::KeyReused
            } else {
                OrderError::Busy
            });
        }
        self.waiters.retain(|waiter| !waiter.is_closed());
        if self.waiters.len() >= MAX_WAITERS {
            return Err(OrderError::Busy);
        }
        self.waiters.push(waiter);
        Ok(())
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
mod tests {
    use bazaar_rpc::{ItemKey, ItemNumber, OrderNumber, Quantity, TradeSequence};
    use tokio::sync::oneshot::Receiver;

    use super::*;
    use crate::samples::{make, request, trade};

    fn admit(
        in_flight: &mut InFlight,
        request: &TradeRequest,
    ) -> Result<(Admission, Receiver<Answer>), OrderError> {
        let (waiter, answer) = oneshot::channel();
        Ok((in_flight.admit(request, waiter)?, answer))
    }

    fn order(number: u64) -> Order {
        Order {
            number: OrderNumber(number),
            trade: trade(number),
        }
    }

    #[test]
    fn the_same_request_joins_and_all_get_one_answer() {
        let mut in_flight = InFlight::new(10);
        let (first, mut one) = admit(&mut in_flight, &request(1)).unwrap();
        let (second, mut other) = admit(&mut in_flight, &request(1)).unwrap();
        assert_eq!((first, second), (Admission::New, Admission::Joined));
        assert!(in_flight.begin(request(1).request).is_some());
        in_flight.recorded(order(1));
        assert_eq!(one.try_recv().unwrap(), Ok(order(1)));
        assert_eq!(other.try_recv().unwrap(), Ok(order(1)));
        assert!(in_flight.entries.is_empty());
    }

    #[test]
    fn another_request_under_the_same_id_is_refused_at_once() {
        let mut in_flight = InFlight::new(10);
        let (_, mut answer) = admit(&mut in_flight, &request(1)).unwrap();
        let other = TradeRequest {
            quantity: Quantity::new(11).unwrap(),
            ..request(1)
        };
        assert_eq!(
            admit(&mut in_flight, &other).unwrap_err(),
            OrderError::KeyReused
        );
        let other = TradeRequest {
            item: ItemKey::Name("BoarCo".to_string().try_into().unwrap()),
            ..request(1)
        };
        assert_eq!(
            admit(&mut in_flight, &other).unwrap_err(),
            OrderError::KeyReused
        );
        in_flight.recorded(order(1));
        assert_eq!(answer.try_recv().unwrap(), Ok(order(1)));
    }

    #[test]
    fn a_number_and_a_name_are_compared_once_the_trade_is_made() {
        let mut in_flight = InFlight::new(10);
        let (_, _answer) = admit(&mut in_flight, &request(1)).unwrap();
        let numbered = TradeRequest {
            item: ItemKey::Number(ItemNumber(1)),
            ..request(1)
        };
        let busy = admit(&mut in_flight, &numbered).unwrap_err();
        assert_eq!(busy, OrderError::Busy);
        assert!(busy.is_retryable());
    }

    #[test]
    fn an_order_of_another_request_under_the_same_id_is_no_answer() {
        let mut in_flight = InFlight::new(10);
        let (_, mut answer) = admit(&mut in_flight, &request(1)).unwrap();
        let other = TradeRequest {
            quantity: Quantity::new(11).unwrap(),
            ..request(1)
        };
        let trade = make(TradeSequence(0), other);
        in_flight.recorded(Order {
            number: OrderNumber(0),
            trade,
        });
        assert_eq!(answer.try_recv().unwrap(), Err(OrderError::KeyReused));
    }

    #[test]
    fn a_request_is_sent_once_until_it_is_known_not_to_be_made() {
        let mut in_flight = InFlight::new(10);
        let id = request(1).request;
        let (_, _answer) = admit(&mut in_flight, &request(1)).unwrap();
        assert_eq!(in_flight.begin(id), Some(request(1)));
        assert_eq!(in_flight.begin(id), None);
        assert!(in_flight.requeue(id));
        assert_eq!(in_flight.begin(id), Some(request(1)));
        in_flight.recorded(order(1));
        assert!(!in_flight.requeue(id));
        assert_eq!(in_flight.begin(id), None);
    }

    #[test]
    fn a_request_whose_callers_hung_up_goes_on_once_sent_and_is_dropped_before() {
        let mut in_flight = InFlight::new(10);
        let (_, answer) = admit(&mut in_flight, &request(1)).unwrap();
        drop(answer);
        assert_eq!(in_flight.begin(request(1).request), None);
        assert!(in_flight.entries.is_empty());

        let (_, answer) = admit(&mut in_flight, &request(2)).unwrap();
        assert!(in_flight.begin(request(2).request).is_some());
        drop(answer);
        let (admission, mut answer) = admit(&mut in_flight, &request(2)).unwrap();
        assert_eq!(admission, Admission::Joined);
        in_flight.recorded(order(2));
        assert_eq!(answer.try_recv().unwrap(), Ok(order(2)));
    }

    #[test]
    fn requests_and_waiters_are_bounded() {
        let mut in_flight = InFlight::new(2);
        let first: Vec<_> = (0..MAX_WAITERS)
            .map(|_| admit(&mut in_flight, &request(0)).unwrap())
            .collect();
        assert_eq!(
            admit(&mut in_flight, &request(0)).unwrap_err(),
            OrderError::Busy
        );
        drop(first);
        admit(&mut in_flight, &request(0)).unwrap();
        admit(&mut in_flight, &request(1)).unwrap();
        assert_eq!(
            admit(&mut in_flight, &request(2)).unwrap_err(),
            OrderError::Busy
        );
    }

    #[test]
    fn closing_tells_apart_what_may_have_been_made() {
        let mut in_flight = InFlight::new(10);
        let (_, mut queued) = admit(&mut in_flight, &request(1)).unwrap();
        let (_, mut sent) = admit(&mut in_flight, &request(2)).unwrap();
        in_flight.begin(request(2).request).unwrap();
        let reason = OrderError::NotLeader { leader: None };
        in_flight.close(&reason);
        assert_eq!(queued.try_recv().unwrap(), Err(reason.clone()));
        assert_eq!(sent.try_recv().unwrap(), Err(OrderError::Unknown));
        assert_eq!(admit(&mut in_flight, &request(3)).unwrap_err(), reason);
    }
}
