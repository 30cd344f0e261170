//! The torture's own clients. Some change the orders that they have placed, all the time. Others behave
//! badly: they hang up in the midst of a request, send one request through every frontend at once, and
//! all want the same item. What they do and are told is recorded as any client's is.

mod account;
mod caller;
mod changes;
mod hot;
mod recorder;
mod resets;
mod storm;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_client::BaseUrl;
use bazaar_history::Call;
use bazaar_rpc::{ItemName, OrderNumber, Quantity, Side};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

pub(crate) use account::Account;
pub(crate) use caller::{Caller, items};
pub(crate) use changes::changes;
pub(crate) use hot::hot_item;
pub(crate) use recorder::Recorder;
pub(crate) use resets::resets;
pub(crate) use storm::storm;

/// What clients have to do with.
#[derive(Clone)]
pub(crate) struct Clients {
    /// The frontends.
    pub(crate) urls: Arc<[BaseUrl]>,
    /// What is traded.
    pub(crate) items: Arc<[ItemName]>,
    /// Whose some of the orders are.
    pub(crate) account: Arc<Account>,
    /// The last of those.
    placed: Arc<Mutex<Vec<OrderNumber>>>,
    /// Where it is recorded.
    pub(crate) recorder: Recorder,
}

/// The most units of a trade.
const MAX_UNITS: u64 = 5;

/// How many orders are changed again and again: few, so that several change the same.
const CHANGEABLE: usize = 12;

/// How long a request is sent again until it is known what came of it.
pub(crate) const INSIST_FOR: Duration = Duration::from_secs(20);

impl Clients {
    /// Clients of `urls`, which trade `items` and record what they do.
    pub(crate) fn new(
        urls: &[BaseUrl],
        items: Vec<ItemName>,
        account: Account,
        recorder: Recorder,
    ) -> Self {
        Self {
            urls: urls.into(),
            items: items.into(),
            account: Arc::new(account),
            placed: Arc::default(),
            recorder,
        }
    }

    /// Some trade, or some change of an order, under a key that nobody else has.
    fn some_call(&self, random: &mut StdRng) -> Call {
        let key = self.recorder.fresh_key();
        let changed = self.changeable().choose(random).copied();
        match changed.filter(|_| random.random_bool(0.5)) {
            Some(order) => {
                // A cancel is for good: changes are to come first.
                let is_cancel = random.random_ratio(1, 4);
                let to = if is_cancel {
                    Quantity::default()
                } else {
                    some_units(random)
                };
                let user = self.account.user;
                Call::Amend {
                    order,
                    to,
                    key,
                    user,
                }
            }
            None => {
                let item = self.items.choose(random).expect("there are items");
                let side = if random.random() {
                    Side::Buy
                } else {
                    Side::Sell
                };
                Call::Trade {
                    item: item.clone(),
                    side,
                    quantity: some_units(random),
                    key,
                    user: random.random_bool(0.5).then_some(self.account.user),
                }
            }
        }
    }

    /// Notes that `call` has placed an order.
    fn placed(&self, number: OrderNumber, call: &Call) {
        if let Call::Trade { user: Some(_), .. } = call {
            let mut placed = self.lock();
            if placed.len() >= CHANGEABLE {
                placed.remove(0);
            }
            placed.push(number);
        }
    }

    /// Orders that can be changed.
    fn changeable(&self) -> Vec<OrderNumber> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<OrderNumber>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn some_units(random: &mut StdRng) -> Quantity {
    Quantity::new(random.random_range(1..=MAX_UNITS)).expect("it is in bounds")
}
