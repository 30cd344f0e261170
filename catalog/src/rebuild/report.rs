//! What was restored, for whoever asked for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bazaar_rpc::replica::Leadership;
use bazaar_rpc::{ShopName, TradeSequence};

use crate::state::State;

/// What was restored.
#[derive(Clone, Debug)]
pub struct Report {
    shops: BTreeMap<ShopName, Totals>,
    /// The sequence number of the next trade.
    next: TradeSequence,
    /// Who led the order group when its log was read.
    read_from: Leadership,
    /// The states that were in the way, and where they are now.
    moved: Vec<(PathBuf, PathBuf)>,
}

/// The sums over a shop's items.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    items: u64,
    initial: u128,
    bought: u128,
    sold: u128,
    quantity: u128,
}

impl Report {
    pub(super) fn new(
        state: &State,
        read_from: Leadership,
        moved: Vec<(PathBuf, PathBuf)>,
    ) -> Self {
        let mut shops = BTreeMap::<_, Totals>::new();
        for stock in state.stocks() {
            let totals = shops.entry(stock.shop.clone()).or_default();
            totals.items += 1;
            totals.initial += u128::from(stock.item.quantity.units());
            totals.bought += u128::from(stock.bought);
            totals.sold += u128::from(stock.sold);
            totals.quantity += u128::from(stock.quantity.units());
        }
        Self {
            shops,
            next: state.next_sequence(),
            read_from,
            moved,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restored the catalog from {} orders", self.next)?;
        if let Some(leader) = self.read_from.leader {
            write!(
                f,
                ", as {leader} recorded them (term {})",
                self.read_from.term
            )?;
        }
        writeln!(f)?;
        for (shop, totals) in &self.shops {
            let Totals {
                items,
                initial,
                bought,
                sold,
                quantity,
            } = totals;
            writeln!(
                f,
                "  {shop}: {items} items; {initial} units when it opened, {bought} bought, {sold} \
                 sold, {quantity} in stock"
            )?;
        }
        for (from, to) in &self.moved {
            writeln!(f, "set aside: {} is now {}", from.display(), to.display())?;
        }
        writeln!(
            f,
            "start the catalog: the next trade is number {}",
            self.next
        )
    }
}
