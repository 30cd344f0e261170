//! What a session intends to do: a function of the seed, the session's number and the mix, and of
//! nothing that happens, so that a run can be repeated.

use bazaar_rpc::{Quantity, Side};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What the operations of all sessions are drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// How many items there are; more than none.
    pub(crate) items: usize,
    /// How probably an item is traded.
    pub(crate) trade_probability: f64,
    /// How probably an acknowledged order is looked up.
    pub(crate) query_probability: f64,
    /// The most units of a trade; not zero.
    pub(crate) max_quantity: u64,
}

/// One round of a session: look up, perhaps trade, perhaps query the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    /// Which item, by its place among the items.
    pub(crate) item: usize,
    /// What to trade after the lookup.
    pub(crate) trade: Option<(Side, Quantity)>,
    /// Whether to look the order up once it is acknowledged.
    pub(crate) query: bool,
}

/// The endless sequence of a session's visits.
#[derive(Debug)]
pub(crate) struct Plan {
    random: StdRng,
    mix: Mix,
}

impl Plan {
    /// The plan of one session.
    pub(crate) fn new(seed: u64, session: u32, mix: Mix) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&session.to_le_bytes());
        Self {
            random: StdRng::from_seed(bytes),
            mix,
        }
    }

    /// The next visit.
    pub(crate) fn next_visit(&mut self) -> Visit {
        // Everything is drawn every time: which items are visited does not depend on how many of
        // them are traded. (`random_bool` would draw nothing where the probability is 1.)
        let item = self.random.random_range(0..self.mix.items);
        let trades = self.random.random::<f64>() < self.mix.trade_probability;
        let side = if self.random.random() {
            Side::Buy
        } else {
            Side::Sell
        };
        let units = self.random.random_range(1..=self.mix.max_quantity);
        let query = self.random.random::<f64>() < self.mix.query_probability;
        let quantity = Quantity::new(units).expect("the most units of a trade are a quantity");
        Visit {
            item,
            trade: trades.then_some((side, quantity)),
            query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix = Mix {
        items: 10,
        trade_probability: 0.5,
        query_probability: 0.1,
        max_quantity: 5,
    };

    fn visits(seed: u64, session: u32, mix: Mix) -> Vec<Visit> {
        let mut plan = Plan::new(seed, session, mix);
        (0..1000).map(|_| plan.next_visit()).collect()
    }

    #[test]
    fn the_same_seed_gives_each_session_the_same_visits() {
        assert_eq!(visits(7, 3, MIX), visits(7, 3, MIX));
        assert_ne!(visits(7, 3, MIX), visits(7, 4, MIX));
        assert_ne!(visits(7, 3, MIX), visits(8, 3, MIX));
    }

    #[test]
    fn the_items_visited_do_not_depend_on_the_trade_probability() {
        let items = |trade_probability| {
            let mix = Mix {
                trade_probability,
                ..MIX
            };
            let visits = visits(7, 0, mix);
            visits.iter().map(|visit| visit.item).collect::<Vec<_>>()
        };
        assert_eq!(items(0.0), items(1.0));
    }

    #[test]
    fn visits_follow_the_mix() {
        let visits = visits(1, 0, MIX);
        let trades: Vec<_> = visits.iter().filter_map(|visit| visit.trade).collect();
        assert!((400..600).contains(&trades.len()), "{}", trades.len());
        assert!(
            trades
                .iter()
                .all(|(_, quantity)| (1..=5).contains(&quantity.units()))
        );
        let buys = trades.iter().filter(|(side, _)| *side == Side::Buy).count();
        assert!(
            (trades.len() / 3..trades.len() * 2 / 3).contains(&buys),
            "{buys}"
        );
        assert!((0..10).all(|item| visits.iter().any(|visit| visit.item == item)));
    }
}
