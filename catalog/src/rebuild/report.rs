//! What was restored, for whoever asked for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bazaar_rpc::replica::Leadership;
use bazaar_rpc::{ItemName, ItemNumber, Money, Quantity, ShopName, TradeSequence};

use crate::state::State;

/// What was restored.
#[derive(Clone, Debug)]
pub struct Report {
    shops: BTreeMap<ShopName, Totals>,
    /// The sequence number of the next trade.
    next: TradeSequence,
    /// The items that were edited, as far as the orders tell.
    edited: Vec<Edited>,
    /// Who led the order group when its log was read.
    read_from: Leadership,
    /// The states that were in the way, and where they are now.
    moved: Vec<(PathBuf, PathBuf)>,
}

/// An item whose orders tell of edits between them, and not of what those did.
#[derive(Clone, Debug)]
struct Edited {
    number: ItemNumber,
    name: ItemName,
    /// At least so many edits.
    edits: u64,
    price: Money,
    quantity: Quantity,
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
        let mut edited = Vec::new();
        for stock in state.stocks() {
            if stock.edits > 0 {
                edited.push(Edited {
                    number: stock.item.number,
                    name: stock.item.name.clone(),
                    edits: stock.edits,
                    price: stock.item.price,
                    quantity: stock.quantity,
                });
            }
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
            edited,
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
        if !self.edited.is_empty() {
            writeln!(
                f,
                "edited by an administrator, or restocked, which the order log does not record; look \
                 these items through:"
            )?;
        }
        for item in &self.edited {
            let Edited {
                number,
                name,
                edits,
                price,
                quantity,
            } = item;
            writeln!(
                f,
                "  item {number} ({name}): {edits} edits or more; {price} as of its last order, and at \
                 least {quantity} in stock if none of them took any away"
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
