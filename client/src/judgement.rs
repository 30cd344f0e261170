//! What the judge found.

use bazaar_rpc::http::OrderView;
use bazaar_rpc::{ItemName, OrderNumber};
use serde::{Deserialize, Serialize};

use crate::{Acknowledged, Stale};

/// The most cases of each sort that are kept to be shown; all are counted.
pub(crate) const MAX_SAMPLES: usize = 100;

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Orders that were acknowledged to this client, those included that were of unknown outcome
    /// and then found recorded.
    pub acknowledged: u64,
    /// What became of trades of unknown outcome.
    pub undecided: Undecided,
    /// What reading orders back found; none where that was not asked for.
    pub read_back: Option<ReadBack>,
    /// How many orders were doubled.
    pub doubled: u64,
    /// Some of them.
    pub doubled_samples: Vec<Doubled>,
    /// How many answers showed the past.
    pub stale: u64,
    /// Some of them.
    pub stale_samples: Vec<Stale>,
    /// Acknowledgements without the item's version, which leave the search for stale answers blind.
    pub unversioned: u64,
}

/// What became of trades of unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// Sent again, they turned out recorded.
    pub recorded: u64,
    /// Sent again, they were refused.
    pub not_made: u64,
    /// Still unknown.
    pub unknown: u64,
}

/// What reading orders back found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadBack {
    /// Orders that are as they were acknowledged.
    pub matching: u64,
    /// Acknowledged orders that do not exist.
    pub lost: u64,
    /// Acknowledged orders that say something else.
    pub wrong: u64,
    /// Some of the lost and wrong ones.
    pub differences: Vec<Difference>,
    /// Trades that were sent again after they had been acknowledged.
    pub repeated: u64,
    /// Numbers below the highest acknowledged one that no order has. Looked for only where nobody
    /// else trades.
    pub holes: u64,
    /// Items whose stock is not what their orders make it. Looked for only where nobody else trades.
    pub unbalanced: Vec<Unbalanced>,
}

/// An order that is not as it was acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// As it was acknowledged.
    pub acknowledged: Acknowledged,
    /// As it was found.
    pub found: Option<OrderView>,
}

/// An order that is there once too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubled {
    /// A number was acknowledged to two requests.
    SharedNumber {
        /// The number.
        number: OrderNumber,
        /// The key of the later request.
        key: String,
    },
    /// A request was sent again and was not answered with its number.
    TwoNumbers {
        /// The request's key.
        key: String,
        /// Its number.
        first: OrderNumber,
        /// The number in the later answer; none where the request was refused.
        second: Option<OrderNumber>,
    },
    /// There is an order that nobody was told of, though nobody else trades.
    Stray {
        /// Its number.
        number: OrderNumber,
    },
}

/// An item whose stock is not what its orders make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbalanced {
    /// The item.
    pub name: ItemName,
    /// The units that there should be.
    pub expected: i128,
    /// The units that there are.
    pub found: u64,
}

impl Judgement {
    /// Counts `doubled`.
    pub(crate) fn add_doubled(&mut self, doubled: Doubled) {
        self.doubled += 1;
        if self.doubled_samples.len() < MAX_SAMPLES {
            self.doubled_samples.push(doubled);
        }
    }
}
