//! Clients that behave badly: they hang up in the midst of a request, send one request through every
//! frontend at once, and all want the same item. What they do and are told is recorded as any
//! client's is.

mod caller;
mod hot;
mod recorder;
mod resets;
mod storm;

use std::sync::Arc;
use std::time::Duration;

use bazaar_client::BaseUrl;
use bazaar_rpc::{ItemName, Quantity, Side};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

pub(crate) use caller::{Caller, items};
pub(crate) use hot::hot_item;
pub(crate) use recorder::Recorder;
pub(crate) use resets::resets;
pub(crate) use storm::storm;

/// What bad clients have to do with.
#[derive(Clone)]
pub(crate) struct Clients {
    /// The frontends.
    pub(crate) urls: Arc<[BaseUrl]>,
    /// What is traded.
    pub(crate) items: Arc<[ItemName]>,
    /// Where it is recorded.
    pub(crate) recorder: Recorder,
}

/// A trade under its idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) item: ItemName,
    pub(crate) side: Side,
    pub(crate) quantity: Quantity,
    pub(crate) key: String,
}

/// The most units of a trade.
const MAX_UNITS: u64 = 5;

/// How long a trade is sent again until it is known what came of it.
pub(crate) const INSIST_FOR: Duration = Duration::from_secs(20);

impl Clients {
    /// Some trade, under a key that nobody else has.
    fn some_trade(&self, random: &mut StdRng) -> Intent {
        let item = self.items.choose(random).expect("there are items");
        Intent {
            item: item.clone(),
            side: if random.random() {
                Side::Buy
            } else {
                Side::Sell
            },
            quantity: Quantity::new(random.random_range(1..=MAX_UNITS)).expect("it is in bounds"),
            key: self.recorder.fresh_key(),
        }
    }
}
