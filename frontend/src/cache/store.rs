//! The cache itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{Item, ItemKey, ItemName, LeaseId, Term};
use dashmap::{DashMap, Entry};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::ring::Ring;
use super::slot::{Fetch, Flight, Outcome, Slot, State, Waiter};

/// The item cache of one frontend.
///
/// Locks are taken in the order ring, slot, lease, and none is held across a call out of here.
pub(crate) struct Cache {
    slots: DashMap<ItemKey, Slot>,
    /// Has exactly the keys of the slots that are `resident`.
    ring: Mutex<Ring>,
    capacity: usize,
    lease: RwLock<Held>,
    fetches: AtomicU64,
    counters: Counters,
}

/// The right to serve from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// What is cached is tagged with it.
    pub id: LeaseId,
    /// When the right ends, on this process's monotonic clock.
    pub valid_until: Instant,
}

/// What the cache goes by.
#[derive(Debug, Default)]
struct Held {
    lease: Option<Lease>,
    /// Leases of earlier terms were given up.
    since: Term,
}

/// What a lookup found.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The item.
    Hit(Arc<Item>),
    /// Somebody fetches it: wait.
    Join(Waiter),
    /// The caller is to fetch it, for itself and whoever joins.
    Lead(Fetch),
    /// There is no live lease: the caller is to ask the catalog, for itself alone.
    Alone,
}

/// Counts what happened since the process started.
#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    joins: AtomicU64,
    evictions: AtomicU64,
    invalidations: AtomicU64,
    refused_fills: AtomicU64,
}

/// What happened since the process started, and what there is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// The most items kept.
    pub capacity: usize,
    /// The items kept, under whatever lease.
    pub items: usize,
    /// Lookups answered from the cache.
    pub hits: u64,
    /// Lookups that had to ask the catalog, those without a live lease among them.
    pub misses: u64,
    /// Lookups that waited for another's fetch.
    pub joins: u64,
    /// Items evicted to make room.
    pub evictions: u64,
    /// Invalidations received, by item.
    pub invalidations: u64,
    /// Fetched items that were not cached, because an invalidation had made them obsolete.
    pub refused_fills: u64,
}

impl Cache {
    /// An empty cache of at most `capacity` items.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: DashMap::new(),
            ring: Mutex::new(Ring::new(capacity)),
            capacity,
            lease: RwLock::default(),
            fetches: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Looks `key` up. `clock` tells the time; it is asked after the cache was read, so that a
    /// process which was stopped in between, for however long, finds its lease run out.
    pub(crate) fn lookup(&self, key: &ItemKey, clock: impl Fn() -> Instant) -> Lookup {
        if let Some((item, lease)) = self.peek(key)
            && self
                .live_lease(clock())
                .is_some_and(|live| live == lease || planted(Bug::CacheOutlivesLease))
        {
            bump(&self.counters.hits);
            return Lookup::Hit(item);
        }
        let Some(lease) = self.live_lease(clock()) else {
            bump(&self.counters.misses);
            return Lookup::Alone;
        };
        self.join_or_lead(key, lease)
    }

    /// What is cached under `key`, and the lease it is cached under.
    fn peek(&self, key: &ItemKey) -> Option<(Arc<Item>, LeaseId)> {
        let slot = self.slots.get(key)?;
        let State::Cached { item, lease } = &slot.state else {
            return None;
        };
        slot.reference();
        Some((item.clone(), *lease))
    }

    /// Looks `key` up under `lease`, which was live after the lookup had started.
    fn join_or_lead(&self, key: &ItemKey, lease: LeaseId) -> Lookup {
        let fetch = || Fetch {
            key: key.clone(),
            number: self.fetches.fetch_add(1, Ordering::Relaxed),
            outcome: watch::Sender::new(None),
        };
        let fetch = match self.slots.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                let fetch = fetch();
                vacant.insert(Slot::visiting(&fetch, lease));
                fetch
            }
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                match &slot.state {
                    // Filled since it was peeked at.
                    State::Cached { item, lease: tag } if *tag == lease => {
                        bump(&self.counters.hits);
                        return Lookup::Hit(item.clone());
                    }
                    State::Fetching(flight) if let Some(waiter) = flight.join(lease) => {
                        bump(&self.counters.joins);
                        return Lookup::Join(waiter);
                    }
                    State::Cached { .. } | State::Fetching(_) | State::Empty => {}
                }
                let fetch = fetch();
                slot.state = State::Fetching(Flight::new(&fetch, lease));
                fetch
            }
        };
        bump(&self.counters.misses);
        Lookup::Lead(fetch)
    }

    /// Answers all who wait for `fetch`, and caches what it brought back where that is allowed.
    pub(crate) fn complete(&self, fetch: Fetch, outcome: Outcome) {
        let item = outcome.as_ref().ok().and_then(Option::as_ref);
        self.land(&fetch, item);
        // Nobody may be left waiting.
        fetch.outcome.send_replace(Some(outcome));
    }

    /// Ends `fetch` in its slot, before anybody hears of its outcome.
    fn land(&self, fetch: &Fetch, item: Option<&Arc<Item>>) {
        let Entry::Occupied(mut entry) = self.slots.entry(fetch.key.clone()) else {
            return;
        };
        let slot = entry.get_mut();
        let Some(flight) = slot.flight(fetch.number) else {
            return;
        };
        let filled = item.and_then(|item| {
            let Some(lease) = flight.admits(item) else {
                bump(&self.counters.refused_fills);
                return None;
            };
            Some(State::Cached {
                item: item.clone(),
                lease,
            })
        });
        match filled {
            Some(cached) => {
                slot.state = cached;
                if !std::mem::replace(&mut slot.resident, true) {
                    drop(entry);
                    self.admit(fetch.key.clone());
                }
            }
            None if slot.resident => slot.state = State::Empty,
            None => {
                entry.remove();
            }
        }
    }

    /// Enters the key of a slot that has just become resident into the ring.
    fn admit(&self, key: ItemKey) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let referenced = |key: &ItemKey| {
            self.slots
                .get(key)
                .is_some_and(|slot| slot.take_reference())
        };
        if let Some(evicted) = ring.admit(key, referenced) {
            self.slots.remove(&evicted);
            bump(&self.counters.evictions);
        }
    }

    /// Makes everything older than `changes` say obsolete, whatever lease it is kept under. When it
    /// returns, no lookup that starts later shows it.
    pub(crate) fn invalidate(&self, changes: &[Invalidation]) {
        for Invalidation {
            number,
            name,
            version,
        } in changes
        {
            bump(&self.counters.invalidations);
            for key in [ItemKey::Number(*number), ItemKey::Name(name.clone())] {
                if let Some(mut slot) = self.slots.get_mut(&key) {
                    slot.invalidate(*version);
                }
            }
        }
    }

    /// A lease was granted, or renewed. It is taken up unless its term was given up.
    pub(crate) fn grant(&self, lease: Lease) -> bool {
        let mut held = self.lease.write().unwrap_or_else(PoisonError::into_inner);
        let is_taken = lease.id.term >= held.since;
        if is_taken {
            held.lease = Some(lease);
        }
        is_taken
    }

    /// Gives up every lease of a term before `term` for good: when this returns, no lookup that
    /// starts later is answered under one, not even under one whose grant is still on its way.
    pub(crate) fn renounce(&self, term: Term) {
        let mut held = self.lease.write().unwrap_or_else(PoisonError::into_inner);
        held.since = held.since.max(term);
        let since = held.since;
        held.lease.take_if(|lease| lease.id.term < since);
    }

    /// The lease last granted, live or not.
    #[must_use]
    pub(crate) fn lease(&self) -> Option<Lease> {
        let held = self.lease.read().unwrap_or_else(PoisonError::into_inner);
        held.lease
    }

    /// The lease that is live at `now`.
    fn live_lease(&self, now: Instant) -> Option<LeaseId> {
        self.lease()
            .filter(|lease| now < lease.valid_until)
            .map(|lease| lease.id)
    }

    /// What happened so far.
    #[must_use]
    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let cached = |slot: &Slot| matches!(slot.state, State::Cached { .. });
        Counts {
            capacity: self.capacity,
            items: self.slots.iter().filter(|slot| cached(slot)).count(),
            hits: read(&self.counters.hits),
            misses: read(&self.counters.misses),
            joins: read(&self.counters.joins),
            evictions: read(&self.counters.evictions),
            invalidations: read(&self.counters.invalidations),
            refused_fills: read(&self.counters.refused_fills),
        }
    }

    /// Whether no key has a slot.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The names of items that a lookup at `now` would be answered with, `limit` of them at most.
    #[must_use]
    pub(crate) fn names(&self, limit: usize, now: Instant) -> BTreeSet<ItemName> {
        let live = self.live_lease(now);
        let name = |slot: &Slot| match &slot.state {
            State::Cached { item, lease } if live == Some(*lease) => Some(item.name.clone()),
            State::Cached { .. } | State::Fetching(_) | State::Empty => None,
        };
        self.slots
            .iter()
            .filter_map(|slot| name(&slot))
            .take(limit)
            .collect()
    }
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
