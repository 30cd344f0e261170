//! What is known of the edits of an item: how many there were, and which versions they made.

use std::collections::{HashMap, HashSet};

use bazaar_rpc::ItemName;

use super::model::{Action, NEVER, State, Step};
use super::search::known_stock;
use crate::{OrderLog, StockReport};

/// The edits of an item.
pub(super) struct Edits {
    /// How many there were, as far as the catalog's replicas tell.
    pub(super) count: u64,
    /// Whether the item had another name, or another item had its name.
    pub(super) has_moved: bool,
}

/// The edits of the item of that name.
pub(super) fn of(name: &ItemName, log: Option<&OrderLog>, stocks: &[StockReport]) -> Edits {
    let records = || stocks.iter().flat_map(|stock| &stock.items);
    let traded = log.into_iter().flat_map(|log| &log.orders);
    let traded = traded.map(|order| (order.trade.item_number, &order.trade.item));
    let named = records().map(|record| (record.number, &record.item));
    let known: HashSet<_> = traded.chain(named).collect();
    let numbers: HashSet<_> = known
        .iter()
        .filter(|(_, known)| *known == name)
        .map(|(number, _)| *number)
        .collect();
    let names = known.iter().filter(|(number, _)| numbers.contains(number));
    Edits {
        has_moved: numbers.len() > 1 || names.count() > 1,
        count: records()
            .filter(|record| record.item == *name)
            .map(|record| record.edits)
            .max()
            .unwrap_or_default(),
    }
}

impl Edits {
    /// The versions that were made by edits, and those edits, where `steps` has all trades. When
    /// each was made is not known but by its version.
    pub(super) fn steps(self, steps: &[Step], initial: State) -> impl Iterator<Item = (u64, Step)> {
        let made: HashSet<_> = steps
            .iter()
            .filter_map(|step| match step.action {
                Action::Trade { version, .. } => version,
                Action::Read { .. } | Action::Short { .. } | Action::Edit { .. } => None,
            })
            .collect();
        let known: HashMap<_, _> = known_stock(steps, initial);
        let versions = (initial.version + 1..).filter(move |version| !made.contains(version));
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        versions.take(count).map(move |version| {
            let quantity = known.get(&version).copied();
            let step = Step {
                invoked: 0,
                returned: NEVER,
                action: Action::Edit { version, quantity },
            };
            (version, step)
        })
    }
}
