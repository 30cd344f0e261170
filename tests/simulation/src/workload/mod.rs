//! The load: clients that trade, change their orders, restock, look up and query over every frontend,
//! repeat themselves as clients do, and write down what they were told.

mod http;
mod recorder;
mod session;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_history::Call;
use bazaar_rpc::{ItemName, ItemNumber, OrderNumber};
use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

pub(crate) use http::Frontend;
pub(crate) use recorder::Recorder;
use session::Session;

use crate::accounts::Tokens;

/// The items that are traded; the first one is hot.
const ITEMS: [&str; 4] = ["GameStart", "BoarCo", "MenhirCo", "FishCo"];

/// The one that is restocked, the last one: less is known of an item in between its edits.
const RESTOCKED: ItemNumber = ItemNumber(104);

/// The sessions that do everything, and those that look up, for each frontend, what is hot.
const TRADERS: u64 = 6;
const READERS: u64 = 2;

/// How many requests are remembered to be repeated some time, and how many orders to be changed: few,
/// so that several change the same.
const REMEMBERED: usize = 512;
const CHANGEABLE: usize = 12;

/// The load of one run.
pub(crate) struct Workload {
    /// Whom to ask.
    pub(crate) frontends: Arc<[Frontend]>,
    /// What orders are placed and items restocked with.
    pub(crate) tokens: Arc<Tokens>,
    /// Decides everything that is left to chance.
    pub(crate) seed: u64,
    /// When it ends, on the clock of [`crate::clock`].
    pub(crate) ends: Duration,
    /// From when on there are no faults: clients are patient then, because what they ask for must
    /// succeed.
    pub(crate) calm: Duration,
    /// The share of requests whose clients wait until they are told something.
    pub(crate) waiting: f64,
    /// Where it is written down.
    pub(crate) recorder: Recorder,
    /// What is shared by the sessions.
    pub(crate) shared: Arc<Shared>,
}

/// What sessions know of each other.
#[derive(Default)]
pub(crate) struct Shared {
    /// What was sent under a key, to be sent again.
    sent: Mutex<Vec<Call>>,
    /// Orders that can be changed, because they were placed with an account.
    changeable: Mutex<Vec<OrderNumber>>,
    /// One more than the highest order number that anybody was told.
    numbers: AtomicU64,
    /// The processes of the history so far.
    processes: AtomicU64,
    /// Answers that no frontend gives.
    broken: Mutex<Vec<String>>,
}

impl Workload {
    /// Runs until everybody has ended.
    pub(crate) async fn run(self) {
        let readers = self.frontends.len() as u64 * READERS;
        let workload = Arc::new(self);
        let sessions = (0..TRADERS + readers).map(|number| {
            let rng =
                SmallRng::seed_from_u64(workload.seed.wrapping_mul(1009).wrapping_add(number));
            let session = Session::new(workload.clone(), rng);
            async move {
                match number.checked_sub(TRADERS) {
                    None => session.trade().await,
                    Some(reader) => session.read(reader / READERS).await,
                }
            }
        });
        join_all(sessions).await;
    }
}

impl Shared {
    /// The answers that no frontend gives.
    #[must_use]
    pub(crate) fn broken(&self) -> Vec<String> {
        lock(&self.broken).clone()
    }

    fn next_process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    fn remember(&self, call: &Call, rng: &mut SmallRng) {
        keep(&mut lock(&self.sent), REMEMBERED, call.clone(), rng);
    }

    fn remembered(&self, rng: &mut SmallRng) -> Option<Call> {
        any(&lock(&self.sent), rng)
    }

    /// Notes an order that `call` has placed.
    fn note(&self, number: OrderNumber, call: &Call, rng: &mut SmallRng) {
        self.numbers.fetch_max(number.0 + 1, Ordering::Relaxed);
        if let Call::Trade { user: Some(_), .. } = call {
            keep(&mut lock(&self.changeable), CHANGEABLE, number, rng);
        }
    }

    fn changeable(&self, rng: &mut SmallRng) -> Option<OrderNumber> {
        any(&lock(&self.changeable), rng)
    }

    fn known_number(&self, rng: &mut SmallRng) -> Option<OrderNumber> {
        let end = self.numbers.load(Ordering::Relaxed);
        (end > 0).then(|| OrderNumber(rng.random_range(0..end)))
    }

    fn report(&self, answer: String) {
        lock(&self.broken).push(answer);
    }
}

/// The item of that place.
fn item(place: usize) -> ItemName {
    ItemName::new(ITEMS[place]).expect("the names of the stock bazaar")
}

/// Adds `one` to `kept`, in the place of another one where there are `most` already.
fn keep<T>(kept: &mut Vec<T>, most: usize, one: T, rng: &mut SmallRng) {
    if kept.len() < most {
        kept.push(one);
    } else {
        kept[rng.random_range(0..most)] = one;
    }
}

fn any<T: Clone>(kept: &[T], rng: &mut SmallRng) -> Option<T> {
    (!kept.is_empty()).then(|| kept[rng.random_range(0..kept.len())].clone())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
