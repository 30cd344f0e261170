//! The caches that are on record as possible holders of leases, and what a new leader still waits
//! for from those that its predecessors may have granted some. Pure: times are passed in.
//!
//! That a cache may hold a lease is replicated before it is granted the first one, and struck off
//! the record only when it certainly holds none. So a new leader knows all who may hold leases of
//! earlier terms, and need not wait for one of them any longer once it has *called in*: by asking
//! the new leader for a lease it has given up those of earlier terms for good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bazaar_rpc::CacheId;

/// Says that a cache is on record, and since then without a break. A lease is granted only under
/// the admission that its handler saw before it confirmed that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission(u64);

/// The caches on record, as this replica's reign sees them.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Counts the admissions, of all reigns.
    admitted: u64,
    on_record: BTreeMap<CacheId, Record>,
    takeover: Option<Takeover>,
}

#[derive(Debug)]
struct Record {
    admission: Admission,
    /// When its last lease, of whatever reign, runs out or ran out.
    idle_from: Instant,
}

/// The wait for leases of earlier reigns.
#[derive(Debug)]
struct Takeover {
    /// When the last of them has run out.
    until: Instant,
    /// Who may hold them; none where nobody knows.
    awaited: Option<BTreeSet<CacheId>>,
}

impl Holders {
    /// A reign begins. `caches` may hold leases of earlier ones, which have run out at `until`;
    /// none where it is not known who may.
    pub(crate) fn begin(&mut self, caches: Option<BTreeSet<CacheId>>, until: Instant) {
        self.on_record.clear();
        for cache in caches.iter().flatten() {
            self.admit(*cache, until);
        }
        let awaited = caches;
        self.takeover = Some(Takeover { until, awaited });
    }

    /// The reign goes on after a break within its term, with `caches` on record.
    pub(crate) fn resume(&mut self, caches: Option<BTreeSet<CacheId>>, now: Instant) {
        for cache in caches.into_iter().flatten() {
            if !self.on_record.contains_key(&cache) {
                self.admit(cache, now);
            }
        }
    }

    /// `cache` has given up every lease of earlier reigns for good.
    pub(crate) fn call_in(&mut self, cache: CacheId) {
        let awaited = self.takeover.as_mut().map(|takeover| &mut takeover.awaited);
        if let Some(Some(awaited)) = awaited {
            awaited.remove(&cache);
        }
    }

    /// Until when leases of earlier reigns may be live, as far as is known at `now`; none when none
    /// is.
    pub(crate) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let Takeover { until, awaited } = self.takeover.as_ref()?;
        let is_awaited = awaited.as_ref().is_none_or(|awaited| !awaited.is_empty());
        (is_awaited && now < *until).then_some(*until)
    }

    /// Under what `cache` is on record, where it is.
    pub(crate) fn admission(&self, cache: CacheId) -> Option<Admission> {
        self.on_record.get(&cache).map(|record| record.admission)
    }

    /// `cache` is on record from now on, and holds no lease of this reign.
    pub(crate) fn admit(&mut self, cache: CacheId, now: Instant) -> Admission {
        self.admitted += 1;
        let record = Record {
            admission: Admission(self.admitted),
            idle_from: now,
        };
        self.on_record.entry(cache).or_insert(record).admission
    }

    /// `cache` has a lease until `expires`.
    pub(crate) fn leased(&mut self, cache: CacheId, expires: Instant) {
        if let Some(record) = self.on_record.get_mut(&cache) {
            record.idle_from = record.idle_from.max(expires);
        }
    }

    /// Takes those from the record whose last lease ran out before `pause` before `now`. They are
    /// granted nothing from now on, unless they are admitted again.
    pub(crate) fn take_idle(&mut self, pause: Duration, now: Instant) -> Vec<CacheId> {
        let is_idle = |record: &mut Record| record.idle_from + pause < now;
        self.on_record
            .extract_if(.., |_, record| is_idle(record))
            .map(|(cache, _)| cache)
            .collect()
    }
}
