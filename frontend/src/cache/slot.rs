//! One key's place in the cache: nothing, an item, or a fetch under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::{Item, ItemKey, LeaseId, Version};
use tokio::sync::watch;

use crate::Error;

/// What a fetch brought back: the item, or none of that key, or an error for all who wait.
pub(crate) type Outcome = Result<Option<Arc<Item>>, Error>;

/// The duty to fetch an item, and to report to [`super::Cache::complete`] what came of it. Dropped
/// instead, it leaves nothing behind: who waits hears of it, and the next lookup leads.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(super) key: ItemKey,
    pub(super) number: u64,
    pub(super) outcome: watch::Sender<Option<Outcome>>,
}

impl Fetch {
    /// What to fetch.
    #[must_use]
    pub(crate) fn key(&self) -> &ItemKey {
        &self.key
    }

    /// One more who waits for it.
    #[must_use]
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.outcome.subscribe())
    }
}

/// Waits for a fetch that somebody leads.
#[derive(Clone, Debug)]
pub(crate) struct Waiter(watch::Receiver<Option<Outcome>>);

impl Waiter {
    /// What the fetch brought back; none when it was dropped.
    pub(crate) async fn outcome(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// What the fetch has brought back so far.
    #[cfg(test)]
    pub(super) fn now(&self) -> Option<Outcome> {
        self.0.borrow().clone()
    }

    /// Whether the fetch was dropped.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// One key's place in the cache.
pub(super) struct Slot {
    pub(super) state: State,
    /// Whether the eviction ring has the key. A slot outside it lives as long as its first fetch.
    pub(super) resident: bool,
    /// Set by every hit, taken when the eviction ring passes.
    referenced: AtomicBool,
}

pub(super) enum State {
    /// The item was invalidated, or could not be fetched.
    Empty,
    /// The item, under the lease that its fetch began under.
    Cached { item: Arc<Item>, lease: LeaseId },
    /// Somebody fetches it.
    Fetching(Flight),
}

/// A fetch under way, as those who come later see it.
pub(super) struct Flight {
    number: u64,
    /// The lease that was live when it began.
    lease: LeaseId,
    /// The newest version that an invalidation has named since it began.
    floor: Option<Version>,
    waiter: Waiter,
}

impl Slot {
    /// A slot outside the ring, being filled for the first time.
    pub(super) fn visiting(fetch: &Fetch, lease: LeaseId) -> Self {
        let state = State::Fetching(Flight::new(fetch, lease));
        Self {
            state,
            resident: false,
            referenced: AtomicBool::new(false),
        }
    }

    pub(super) fn reference(&self) {
        self.referenced.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_reference(&self) -> bool {
        self.referenced.swap(false, Ordering::Relaxed)
    }

    /// The fetch under way if it is fetch `number`: it may have been replaced, or evicted.
    pub(super) fn flight(&self, number: u64) -> Option<&Flight> {
        match &self.state {
            State::Fetching(flight) if flight.number == number => Some(flight),
            State::Fetching(_) | State::Cached { .. } | State::Empty => None,
        }
    }

    /// Makes everything older than `version` obsolete.
    pub(super) fn invalidate(&mut self, version: Version) {
        match &mut self.state {
            State::Cached { item, .. } if item.version < version => self.state = State::Empty,
            State::Fetching(_) if planted(Bug::FillAfterInvalidation) => {}
            State::Fetching(flight) => flight.floor = flight.floor.max(Some(version)),
            State::Cached { .. } | State::Empty => {}
        }
    }
}

impl Flight {
    pub(super) fn new(fetch: &Fetch, lease: LeaseId) -> Self {
        Self {
            number: fetch.number,
            lease,
            floor: None,
            waiter: fetch.waiter(),
        }
    }

    /// Who looks the item up under `lease`, live now, may wait for this fetch: it began under that
    /// lease, nothing has overtaken it, and somebody still performs it.
    pub(super) fn join(&self, lease: LeaseId) -> Option<Waiter> {
        let open = self.lease == lease && self.floor.is_none() && !self.waiter.is_abandoned();
        open.then(|| self.waiter.clone())
    }

    /// The lease to cache `item` under; none when an invalidation has made it obsolete.
    pub(super) fn admits(&self, item: &Item) -> Option<LeaseId> {
        self.floor
            .is_none_or(|floor| item.version >= floor)
            .then_some(self.lease)
    }
}
