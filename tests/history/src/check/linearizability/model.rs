//! An item as an object: what operations on it may show and do.

use bazaar_rpc::Quantity;

/// The time of a completion that never was.
pub(super) const NEVER: u64 = u64::MAX;

/// An item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The stock; none where an edit has left it at what nobody was shown.
    pub(super) quantity: Option<u64>,
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
    /// What is no trade makes a version, and leaves this in stock, if that is known.
    Edit { version: u64, quantity: Option<u64> },
}

impl Action {
    /// Whether it changes the item.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Short { .. } => false,
            Self::Trade { .. } | Self::Edit { .. } => true,
        }
    }
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
                let fits = quantity.is_none_or(|quantity| shown == quantity);
                let is_here = fits && is_or_none(shown_version, version);
                is_here.then_some(self)
            }
            Action::Short { wanted, available } => {
                let is_short = |quantity| wanted > quantity && is_or_none(available, quantity);
                quantity.is_none_or(is_short).then_some(self)
            }
            Action::Trade {
                delta,
                version: made,
            } => {
                let version = version + 1;
                let quantity = match quantity {
                    Some(quantity) => Some(quantity.checked_add_signed(delta)?),
                    None => None,
                };
                let fits = quantity.is_none_or(|quantity| quantity <= Quantity::MAX.units());
                let is_here = is_or_none(made, version) && fits;
                is_here.then_some(Self { quantity, version })
            }
            Action::Edit {
                version: made,
                quantity,
            } => {
                let version = version + 1;
                (made == version).then_some(Self { quantity, version })
            }
        }
    }
}

fn is_or_none(shown: Option<u64>, actual: u64) -> bool {
    shown.is_none_or(|shown| shown == actual)
}
