//! Turns: of the amendments of one order, at most one is under way. Plain data, no I/O.
//!
//! Two that were planned upon the same quantity would both be made, and a cancel would return its
//! units twice. So an amendment has the turn from before that quantity is read until what becomes of
//! it is known, whoever still waits for it.

use std::collections::HashMap;

use bazaar_rpc::{OrderNumber, RequestId};

/// The most amendments that wait for the one of their order that is under way.
const MAX_WAITING: usize = 64;

/// The orders that are being amended.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// For each order with an amendment under way, those that wait for it, in order of arrival.
    waiting: HashMap<OrderNumber, Vec<RequestId>>,
    /// Those that have waited, and are to ask again.
    ready: Vec<RequestId>,
}

/// Whether an amendment can be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has the turn, until that is released.
    Now,
    /// It will be among the ready.
    Later,
    /// Too many wait.
    Never,
}

impl Turns {
    /// Asks for the turn to amend `order`.
    pub(crate) fn take(&mut self, order: OrderNumber, id: RequestId) -> Turn {
        match self.waiting.get_mut(&order) {
            None => {
                self.waiting.insert(order, Vec::new());
                Turn::Now
            }
            Some(waiting) if waiting.len() < MAX_WAITING => {
                waiting.push(id);
                Turn::Later
            }
            Some(_) => Turn::Never,
        }
    }

    /// The amendment of `order` that had the turn is recorded, or known not to be made.
    pub(crate) fn release(&mut self, order: OrderNumber) {
        // All of them ask again: the next one may have been given up by its callers.
        self.ready
            .extend(self.waiting.remove(&order).into_iter().flatten());
    }

    /// Those that have waited, each once.
    pub(crate) fn ready(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::request;

    #[test]
    fn one_has_the_turn_and_the_others_ask_again_in_their_order() {
        let mut turns = Turns::default();
        let [one, two, three, other] = [1, 2, 3, 4].map(|key| request(key).request);
        let (order, another) = (OrderNumber(7), OrderNumber(8));
        assert_eq!(turns.take(order, one), Turn::Now);
        assert_eq!(turns.take(order, two), Turn::Later);
        assert_eq!(turns.take(another, other), Turn::Now);
        assert_eq!(turns.take(order, three), Turn::Later);
        assert_eq!(turns.ready(), []);
        turns.release(another);
        assert_eq!(turns.ready(), []);
        turns.release(order);
        assert_eq!(turns.ready(), [two, three]);
        assert_eq!(turns.ready(), []);
        assert_eq!(turns.take(order, two), Turn::Now);
    }

    #[test]
    fn only_so_many_wait() {
        let mut turns = Turns::default();
        let take = |turns: &mut Turns, key| turns.take(OrderNumber(7), request(key).request);
        assert_eq!(take(&mut turns, 0), Turn::Now);
        for key in 0..MAX_WAITING as u64 {
            assert_eq!(take(&mut turns, key), Turn::Later);
        }
        assert_eq!(take(&mut turns, 99), Turn::Never);
    }
}
