//! An item as an object: what operations on it may show and do.

use bazaar_rpc::Quantity;

/// The time of a completion that never was.
pub(super) const NEVER: u64 = u64::MAX;

/// An item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) quantity: u64,
    pub(super) version: u64,
}

/// What an operation shows or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A lookup shows the stock.
    Read { quantity: u64, version: Option<u64> },
    /// A trade is refused, since fewer units are in stock than are wanted.
    Short { wanted: u64, available: Option<u64> },
    /// A trade changes the stock, and makes the next version.
    Trade { delta: i64, version: Option<u64> },
}

/// An operation on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) invoked: u64,
    /// [`NEVER`] where it is not known whether it has taken effect.
    pub(super) returned: u64,
    pub(super) action: Action,
}

impl State {
    /// The item after `action`; none where it cannot take place here.
    pub(super) fn after(self, action: Action) -> Option<Self> {
        let Self { quantity, version } = self;
        match action {
            Action::Read {
                quantity: shown,
                version: shown_version,
            } => {
                let is_here = shown == quantity && is_or_none(shown_version, version);
                is_here.then_some(self)
            }
            Action::Short { wanted, available } => {
                let is_here = wanted > quantity && is_or_none(available, quantity);
                is_here.then_some(self)
            }
            Action::Trade {
                delta,
                version: made,
            } => {
                let version = version + 1;
                let quantity = quantity.checked_add_signed(delta)?;
                let is_here = is_or_none(made, version) && quantity <= Quantity::MAX.units();
                is_here.then_some(Self { quantity, version })
            }
        }
    }
}

fn is_or_none(shown: Option<u64>, actual: u64) -> bool {
    shown.is_none_or(|shown| shown == actual)
}
