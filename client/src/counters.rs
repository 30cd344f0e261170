//! Counts of what happened, kept while the load runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Gap;
use crate::meter::Kind;
use crate::report::Totals;

/// How a load stands, at one moment while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Since the load's start.
    pub elapsed: Duration,
    /// What happened so far, the warm-up included.
    pub totals: Totals,
    /// Answers from the past so far.
    pub stale: u64,
    /// The longest gap without an accepted trade so far; one that still lasts does not count yet.
    pub longest_gap: Gap,
}

/// A count for each kind of request.
#[derive(Debug, Default)]
pub(crate) struct ByKind([AtomicU64; Kind::ALL.len()]);

impl ByKind {
    pub(crate) fn add(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Relaxed);
    }

    fn snapshot(&self) -> BTreeMap<Kind, u64> {
        let counts = Kind::ALL.into_iter().zip(&self.0);
        counts
            .map(|(kind, count)| (kind, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Why requests failed, and how many for each reason.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<BTreeMap<String, u64>>);

/// The most reasons that are told apart.
const MAX_REASONS: usize = 32;

impl Reasons {
    pub(crate) fn add(&self, kind: Kind, why: String) {
        let mut reasons = self.0.lock().expect("no holder panics");
        let mut reason = format!("{kind}: {why}");
        if reasons.len() >= MAX_REASONS && !reasons.contains_key(&reason) {
            reason = "other reasons".into();
        }
        *reasons.entry(reason).or_default() += 1;
    }
}

/// Counts, shared by all sessions.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests that were answered.
    pub(crate) answered: ByKind,
    /// Requests that failed.
    pub(crate) errors: ByKind,
    pub(crate) reasons: Reasons,
    pub(crate) replayed: AtomicU64,
    pub(crate) undecided: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) unversioned: AtomicU64,
}

impl Counters {
    /// The totals now.
    pub(crate) fn totals(&self, unstarted: u64) -> Totals {
        Totals {
            answered: self.answered.snapshot(),
            errors: self.errors.snapshot(),
            reasons: self.reasons.0.lock().expect("no holder panics").clone(),
            replayed: self.replayed.load(Relaxed),
            undecided: self.undecided.load(Relaxed),
            retries: self.retries.load(Relaxed),
            unversioned: self.unversioned.load(Relaxed),
            unstarted,
        }
    }
}
