//! The pure state machine of the order log: which trade is recorded next, and under which number.
//!
//! It records a trade only when its sequence number is exactly the expected one. So the log has no
//! gap and no trade twice, whatever was proposed, how often and in which order.

use bazaar_rpc::{Order, OrderNumber, Trade, TradeSequence};
use serde::{Deserialize, Serialize};

use crate::command::Command;

/// The end of the order log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The first trade that is not recorded.
    pub(crate) next_sequence: TradeSequence,
    /// The number of the next order.
    pub(crate) next_number: OrderNumber,
}

/// What became of one trade of a [`Command::Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It is recorded under this number.
    Recorded(OrderNumber),
    /// So it is, because stock has moved; but the order that it amends was not as it says.
    Contradiction(OrderNumber),
    /// It was recorded earlier.
    AlreadyRecorded,
    /// A trade before it is missing; it is not recorded.
    Gap,
}

impl Head {
    /// Applies `command`: appends the orders that it records to `orders`, and returns one outcome a
    /// trade.
    pub(crate) fn apply(&mut self, command: Command<'_>, orders: &mut Vec<Order>) -> Vec<Outcome> {
        match command {
            Command::Record(trades) => trades
                .into_owned()
                .into_iter()
                .map(|trade| self.record(trade, orders))
                .collect(),
        }
    }

    fn record(&mut self, trade: Trade, orders: &mut Vec<Order>) -> Outcome {
        if trade.sequence < self.next_sequence {
            return Outcome::AlreadyRecorded;
        }
        if trade.sequence > self.next_sequence {
            return Outcome::Gap;
        }
        let number = self.next_number;
        *self = Self {
            next_sequence: self.next_sequence.next(),
            next_number: number.next(),
        };
        orders.push(Order { number, trade });
        Outcome::Recorded(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::samples::trade;

    /// Records the trades from each batch's start, for its length.
    fn record(head: &mut Head, batches: &[(u64, u64)]) -> (Vec<Order>, Vec<Outcome>) {
        let mut orders = Vec::new();
        let mut outcomes = Vec::new();
        for (from, length) in batches {
            let trades: Vec<_> = (*from..from + length).map(trade).collect();
            outcomes.extend(head.apply(Command::Record(trades.into()), &mut orders));
        }
        (orders, outcomes)
    }

    #[test]
    fn trades_in_sequence_get_consecutive_numbers_from_zero() {
        let mut head = Head::default();
        let (orders, outcomes) = record(&mut head, &[(0, 3)]);
        assert_eq!(
            outcomes,
            [0, 1, 2].map(|number| Outcome::Recorded(OrderNumber(number)))
        );
        assert_eq!(orders[2].trade, trade(2));
        assert_eq!(head.next_sequence, TradeSequence(3));
    }

    #[test]
    fn a_gap_is_refused_and_changes_nothing() {
        let mut head = Head::default();
        record(&mut head, &[(0, 2)]);
        let before = head;
        let (orders, outcomes) = record(&mut head, &[(3, 2), (1, 1)]);
        assert_eq!(
            outcomes,
            [Outcome::Gap, Outcome::Gap, Outcome::AlreadyRecorded]
        );
        assert!(orders.is_empty());
        assert_eq!(head, before);
    }

    proptest! {
        /// Batches overlap, repeat, and arrive in any order.
        #[test]
        fn the_log_is_a_gapless_prefix_of_the_trades(
            batches in vec((0_u64..40, 0_u64..12), 0..60),
        ) {
            let mut head = Head::default();
            let (orders, outcomes) = record(&mut head, &batches);
            for (place, order) in (0..).zip(&orders) {
                prop_assert_eq!(order.number, OrderNumber(place));
                prop_assert_eq!(&order.trade, &trade(place));
            }
            prop_assert_eq!(head.next_number, OrderNumber(orders.len() as u64));
            prop_assert_eq!(head.next_sequence, TradeSequence(orders.len() as u64));
            let recorded = outcomes.iter().filter(|one| matches!(one, Outcome::Recorded(_)));
            prop_assert_eq!(recorded.count(), orders.len());
        }

        #[test]
        fn applying_twice_is_applying_once(batches in vec((0_u64..40, 0_u64..12), 0..60)) {
            let mut once = Head::default();
            record(&mut once, &batches);
            let mut twice = once;
            // What was refused as a gap may fit in now, so only what was recorded is repeated.
            let recorded = once.next_sequence.0;
            let (orders, outcomes) = record(&mut twice, &[(0, recorded)]);
            prop_assert!(orders.is_empty());
            prop_assert!(outcomes.iter().all(|one| *one == Outcome::AlreadyRecorded));
            prop_assert_eq!(once, twice);
        }
    }
}
