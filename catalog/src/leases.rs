//! The table of cache leases: who may serve cached items, until when, and what each has still to
//! acknowledge. Pure: times are passed in.
//!
//! The idea is that of leases as of C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant
//! mechanism for distributed file cache consistency" (SOSP 1989). Every change of items gets a
//! [`Ticket`], and a ticket is *settled* once every lease that was live when it was given out has
//! acknowledged it or has run out. Tickets settle in order, so one number says which are.
//!
//! Promises:
//!
//! - while a ticket is settled, no holder can serve an item as it was before that ticket;
//! - a ticket settles within one and a half lease lengths, whatever the holders do, because a lease
//!   that leaves a ticket unacknowledged for half its length is no longer renewed;
//! - after [`Leases::begin`], nothing settles before every cache that may hold a lease of an earlier
//!   leader has given it up, or one lease length has passed and it has run out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{CacheId, ItemName, ItemNumber, LeaseId, Term};
use serde::{Deserialize, Serialize};

use crate::holders::{Admission, Holders};

/// The most leases at once.
const MAX_LEASES: usize = 1024;

/// The most items behind one ticket, and roughly the most in one push.
const MAX_ITEMS: usize = 4096;

/// Counts the changes of items that this replica has applied since it started.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Ticket(u64);

/// What one holder has to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// Acknowledging it acknowledges everything up to this ticket.
    pub(crate) upto: Ticket,
    /// The items, each once under each name that it had, as of that ticket.
    pub(crate) items: Vec<Invalidation>,
}

/// What came of the wish to renew a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It lasts one length from now.
    Renewed,
    /// Its holder has left invalidations unacknowledged for too long. It may be renewed once they
    /// are acknowledged.
    Overdue,
    /// It has run out, its connection is lost, or it is not of this leader. Another can be granted.
    Unknown,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Leases {
    length: Duration,
    /// The id of the next lease.
    next: LeaseId,
    /// Who may hold leases, those of earlier leaders included.
    holders: Holders,
    live: BTreeMap<LeaseId, Lease>,
    /// The last ticket given out.
    latest: Ticket,
    /// Everything up to this ticket is settled.
    settled: Ticket,
    /// The tickets after `settled`, up to `latest`.
    unsettled: VecDeque<Change>,
}

#[derive(Debug)]
struct Lease {
    cache: CacheId,
    expires: Instant,
    /// Everything up to this ticket is acknowledged.
    acknowledged: Ticket,
    /// Whether invalidations reach the holder.
    connected: bool,
}

#[derive(Debug)]
struct Change {
    at: Instant,
    items: Vec<Invalidation>,
}

impl Leases {
    /// No leases yet, and nothing that is not settled.
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            length,
            next: LeaseId {
                term: Term::default(),
                serial: 0,
            },
            holders: Holders::default(),
            live: BTreeMap::new(),
            latest: Ticket::default(),
            settled: Ticket::default(),
            unsettled: VecDeque::new(),
        }
    }

    /// The last ticket given out.
    pub(crate) fn latest(&self) -> Ticket {
        self.latest
    }

    /// This replica leads in `term` from some moment before `now`, and no other does. Returns a
    /// ticket for everything that has been applied until now.
    ///
    /// `caches` are on record, as of a command of this reign: they, and nobody else, may hold leases
    /// of earlier ones. None where there is no such record.
    ///
    /// Leases are numbered from `serial`. It is to be random, so that no two reigns share an id,
    /// whatever becomes of the terms.
    pub(crate) fn begin(
        &mut self,
        term: Term,
        serial: u64,
        caches: Option<BTreeSet<CacheId>>,
        now: Instant,
    ) -> Ticket {
        if self.next.term == term {
            // It was broken off and goes on. Its leases may be live, and nobody gives up leases of
            // this very term by asking in it. They are all in this table: a term has one reign.
            self.holders.resume(caches, now);
        } else {
            self.next = LeaseId { term, serial };
            let nobody = planted(Bug::NoWaitForUnknownLeases).then(BTreeSet::new);
            self.holders.begin(nobody.or(caches), now + self.length);
            self.live.clear();
        }
        self.change(now, Vec::new())
    }

    /// `cache` has asked the leader of `term` for a lease, and by that given up those of earlier
    /// terms for good.
    pub(crate) fn call_in(&mut self, cache: CacheId, term: Term) {
        if self.next.term <= term {
            self.holders.call_in(cache);
        }
    }

    /// Under what `cache` is on record, where it is.
    pub(crate) fn admission(&self, cache: CacheId) -> Option<Admission> {
        self.holders.admission(cache)
    }

    /// `cache` is on record from now on.
    pub(crate) fn admit(&mut self, cache: CacheId, now: Instant) -> Admission {
        self.holders.admit(cache, now)
    }

    /// Takes those caches from the record that have held no lease for a while. They are to be
    /// forgotten by all replicas.
    pub(crate) fn take_idle(&mut self, now: Instant) -> Vec<CacheId> {
        self.holders.take_idle(self.length, now)
    }

    /// Gives out a ticket for the change of `items`: from now on they are not settled. To be called
    /// before anybody can see them changed.
    pub(crate) fn touch(&mut self, items: Vec<Invalidation>, now: Instant) -> Ticket {
        let mut rest = items;
        while !rest.is_empty() {
            let items = rest.drain(..rest.len().min(MAX_ITEMS)).collect();
            self.change(now, items);
        }
        self.settle(now);
        self.latest
    }

    fn change(&mut self, at: Instant, items: Vec<Invalidation>) -> Ticket {
        self.unsettled.push_back(Change { at, items });
        self.latest.0 += 1;
        self.latest
    }

    /// Grants a new lease to `cache`, to which a connection for invalidations stands; none where
    /// there are too many, or where it has not been on record under `admission` all the time.
    /// Whatever the cache then keeps under it is at least as new as the latest ticket, because its
    /// fetches begin after the grant.
    pub(crate) fn grant(
        &mut self,
        cache: CacheId,
        admission: Admission,
        now: Instant,
    ) -> Option<LeaseId> {
        self.settle(now);
        if self.live.len() >= MAX_LEASES || self.holders.admission(cache) != Some(admission) {
            return None;
        }
        let id = self.next;
        self.next.serial = id.serial.wrapping_add(1);
        let expires = now + self.length;
        self.holders.leased(cache, expires);
        let acknowledged = self.latest;
        self.live.insert(
            id,
            Lease {
                cache,
                expires,
                acknowledged,
                connected: true,
            },
        );
        Some(id)
    }

    /// Renews `id`, which `cache` says it holds.
    pub(crate) fn renew(&mut self, id: LeaseId, cache: CacheId, now: Instant) -> Renewal {
        self.settle(now);
        let Some(lease) = self.live.get_mut(&id) else {
            return Renewal::Unknown;
        };
        if !lease.connected || lease.cache != cache {
            return Renewal::Unknown;
        }
        // The front of the queue is the ticket after `settled`.
        let oldest = usize::try_from(lease.acknowledged.0 - self.settled.0)
            .ok()
            .and_then(|index| self.unsettled.get(index));
        if oldest.is_some_and(|change| now.duration_since(change.at) > self.length / 2) {
            return Renewal::Overdue;
        }
        lease.expires = now + self.length;
        self.holders.leased(cache, lease.expires);
        Renewal::Renewed
    }

    /// The holder of `id` has acknowledged everything up to `upto`.
    pub(crate) fn acknowledge(&mut self, id: LeaseId, upto: Ticket, now: Instant) {
        if let Some(lease) = self.live.get_mut(&id) {
            lease.acknowledged = lease.acknowledged.max(upto);
        }
        self.settle(now);
    }

    /// The connection to the holder of `id` is lost: the lease is not renewed again, and runs out.
    pub(crate) fn disconnect(&mut self, id: LeaseId) {
        if let Some(lease) = self.live.get_mut(&id) {
            lease.connected = false;
        }
    }

    /// Drops the leases that have run out, and returns up to where everything is settled.
    pub(crate) fn settle(&mut self, now: Instant) -> Ticket {
        self.live.retain(|_, lease| now < lease.expires);
        if self.holders.blocked_until(now).is_some() {
            return self.settled;
        }
        let acknowledged = self.live.values().map(|lease| lease.acknowledged).min();
        let settled = acknowledged.unwrap_or(self.latest);
        while self.settled < settled {
            self.unsettled.pop_front();
            self.settled.0 += 1;
        }
        self.settled
    }

    /// The next moment at which time alone may settle more; none where only acknowledgements can.
    pub(crate) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let takeover = self.holders.blocked_until(now);
        let blocking = self
            .live
            .values()
            .filter(|lease| lease.acknowledged < self.latest);
        takeover
            .into_iter()
            .chain(blocking.map(|lease| lease.expires))
            .min()
    }

    /// When `id` runs out unless it is renewed; none where it is no longer live.
    pub(crate) fn expiry(&self, id: LeaseId, now: Instant) -> Option<Instant> {
        self.live
            .get(&id)
            .map(|lease| lease.expires)
            .filter(|expires| now < *expires)
    }

    /// What the holder of `id` has to be told after what it was told up to `from`: all of it
    /// together, or as much as fits in one push.
    pub(crate) fn push(&self, id: LeaseId, from: Ticket) -> Option<Push> {
        let acknowledged = self.live.get(&id)?.acknowledged;
        let mut upto = from.max(acknowledged);
        let skip = usize::try_from(upto.0 - self.settled.0).ok()?;
        // An item that was renamed is obsolete under both names.
        let mut items = BTreeMap::<(ItemNumber, ItemName), Invalidation>::new();
        for change in self.unsettled.iter().skip(skip) {
            if items.len() + change.items.len() > MAX_ITEMS && !items.is_empty() {
                break;
            }
            // Later versions take the place of earlier ones.
            let keyed = |item: &Invalidation| ((item.number, item.name.clone()), item.clone());
            items.extend(change.items.iter().map(keyed));
            upto.0 += 1;
        }
        (upto > from).then(|| Push {
            upto,
            items: items.into_values().collect(),
        })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
