//! A look inside a catalog replica that runs, for checks while it does.

use std::ops::Range;
use std::sync::Arc;

use bazaar_replication::Group;
use bazaar_rpc::replica::ReplicaStatus;
use bazaar_rpc::{Item, Trade, TradeSequence};

use crate::App;
use crate::machine::Replica;

/// Looks inside one replica.
#[derive(Clone)]
pub struct Inspector {
    group: Group,
    replica: Arc<Replica>,
}

/// An item with what made its quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Stocked {
    /// The item as it is now.
    pub item: Item,
    /// The quantity with which its shop opened.
    pub initial: u64,
    /// The units that customers bought,
    pub bought: u64,
    /// and sold.
    pub sold: u64,
    /// The units that were added otherwise,
    pub restocked: u64,
    /// and taken away.
    pub written_off: u64,
    /// How many of the item's changes were no trades.
    pub edits: u64,
    /// Whether it was taken out of its shop.
    pub removed: bool,
}

impl App {
    /// A look inside.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector {
            group: self.group.clone(),
            replica: self.replica.clone(),
        }
    }
}

impl Inspector {
    /// How far the replica is.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.group.status()
    }

    /// Every item, by number, removed ones included, as of what is applied.
    #[must_use]
    pub fn stocks(&self) -> Vec<Stocked> {
        let state = self.replica.state();
        let stocked = |stock: &crate::stock::Stock| Stocked {
            item: stock.item(),
            initial: stock.item.quantity.units(),
            bought: stock.bought,
            sold: stock.sold,
            restocked: stock.restocked,
            written_off: stock.written_off,
            edits: stock.edits,
            removed: stock.removed,
        };
        state.stocks().map(stocked).collect()
    }

    /// How often an item was added, edited or restocked.
    #[must_use]
    pub fn edits(&self) -> u64 {
        self.replica.state().edits()
    }

    /// The trades that were made and not yet reported as recorded: from the first one up to the next
    /// one to be made.
    #[must_use]
    pub fn outbox(&self) -> Range<TradeSequence> {
        self.replica.state().outbox_bounds()
    }

    /// These trades.
    #[must_use]
    pub fn trades(&self) -> Vec<Trade> {
        let state = self.replica.state();
        state.unrecorded().cloned().collect()
    }
}
