//! What a leader has refused lately: plain data, no I/O.
//!
//! A frontend that has no answer to an attempt makes another one, and tells its client what comes of
//! that. The first attempt may still lie in a connection that nobody waits on. Taken up after the
//! second one was refused, it would be booked behind the client's back: so it is refused as well. A
//! client may ask again under its key, which is another invocation and is looked at anew.

use std::collections::{HashMap, VecDeque};

use bazaar_rpc::InvocationId;
use bazaar_rpc::orders::OrderError;

/// How many are remembered. At 10,000 refusals a second that is for six seconds, which no attempt
/// outlives in a connection that is read.
const CAPACITY: usize = 1 << 16;

/// The invocations that were refused, and why.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    reasons: HashMap<InvocationId, OrderError>,
    /// The oldest first.
    order: VecDeque<InvocationId>,
}

impl Refusals {
    /// Whoever asks in `invocation` again is refused for the same `reason`.
    pub(crate) fn remember(&mut self, invocation: InvocationId, reason: OrderError) {
        if self.reasons.insert(invocation, reason).is_some() {
            return;
        }
        self.order.push_back(invocation);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.reasons.remove(&oldest);
        }
    }

    /// Why `invocation` was refused, if it was.
    pub(crate) fn reason(&self, invocation: InvocationId) -> Option<&OrderError> {
        self.reasons.get(&invocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_no_more_than_there_is_room_for() {
        let mut refusals = Refusals::default();
        let all: Vec<_> = (0..=CAPACITY).map(|_| InvocationId::fresh()).collect();
        for invocation in &all {
            refusals.remember(*invocation, OrderError::KeyReused);
        }
        // Once more is no other one.
        refusals.remember(all[1], OrderError::KeyReused);
        assert_eq!(refusals.reason(all[0]), None);
        for invocation in &all[1..] {
            let reason = refusals.reason(*invocation);
            assert_eq!(reason, Some(&OrderError::KeyReused));
        }
        assert_eq!(refusals.reasons.len(), refusals.order.len());
    }
}
