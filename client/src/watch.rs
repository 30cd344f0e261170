//! Watches for answers from the past.
//!
//! Whoever begins to look at an item after somebody was shown version `v` of it, by an acknowledged
//! trade or by an answered lookup, must be shown `v` or a later one: that is linearizability, item
//! by item, as far as one client can see it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bazaar_rpc::{ItemName, Version};
use serde::{Deserialize, Serialize};

use crate::judgement::MAX_SAMPLES;
use crate::meter::Kind;

/// An answer from the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// Whether a lookup or a trade was answered so.
    pub kind: Kind,
    /// The item.
    pub item: ItemName,
    /// What had been seen of it before the request began.
    pub seen: Version,
    /// What the answer showed.
    pub shown: Version,
}

/// What has been seen of one item. It costs two relaxed atomic operations a request.
#[derive(Debug)]
pub(crate) struct Watched {
    item: ItemName,
    /// The highest version in any answer.
    seen: AtomicU64,
}

/// What had been seen of an item when a request began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u64);

/// The answers from the past, of all items.
#[derive(Debug, Default)]
pub(crate) struct StaleAnswers {
    count: AtomicU64,
    samples: Mutex<Vec<Stale>>,
}

impl Watched {
    /// Of `item`, nothing has been seen.
    pub(crate) fn new(item: ItemName) -> Self {
        Self {
            item,
            seen: AtomicU64::new(0),
        }
    }

    /// To be called before a request's first byte leaves.
    pub(crate) fn begin(&self) -> Seen {
        // What is loaded here was shown in an answer that has arrived, whatever else is under way.
        Seen(self.seen.load(Relaxed))
    }

    /// An answer showed `shown`. None when that is as it should be.
    pub(crate) fn end(&self, kind: Kind, begun: Seen, shown: Version) -> Option<Stale> {
        self.seen.fetch_max(shown.0, Relaxed);
        let is_stale = match kind {
            // A trade makes a version of its own, later than all that were there when it began.
            Kind::Trade => shown.0 <= begun.0,
            Kind::Lookup | Kind::Refusal | Kind::OrderQuery => shown.0 < begun.0,
        };
        is_stale.then(|| Stale {
            kind,
            item: self.item.clone(),
            seen: Version(begun.0),
            shown,
        })
    }
}

impl StaleAnswers {
    /// Adds an answer from the past, where there is one.
    pub(crate) fn add(&self, stale: Option<Stale>) {
        let Some(stale) = stale else { return };
        self.count.fetch_add(1, Relaxed);
        let mut samples = self.samples.lock().expect("no holder panics");
        if samples.len() < MAX_SAMPLES {
            samples.push(stale);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn samples(&self) -> Vec<Stale> {
        self.samples.lock().expect("no holder panics").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched::new(ItemName::new("GameStart").unwrap())
    }

    #[test]
    fn a_lookup_may_show_what_was_seen_or_later_and_nothing_older() {
        let item = watched();
        assert_eq!(item.end(Kind::Trade, item.begin(), Version(4)), None);
        let begun = item.begin();
        assert_eq!(item.end(Kind::Lookup, begun, Version(4)), None);
        assert_eq!(item.end(Kind::Lookup, begun, Version(6)), None);
        let stale = item.end(Kind::Lookup, begun, Version(3)).unwrap();
        assert_eq!((stale.seen, stale.shown), (Version(4), Version(3)));
    }

    #[test]
    fn a_lookup_that_began_earlier_may_show_what_was_there_then() {
        let item = watched();
        let begun = item.begin();
        assert_eq!(item.end(Kind::Trade, item.begin(), Version(9)), None);
        assert_eq!(item.end(Kind::Lookup, begun, Version(0)), None);
    }

    #[test]
    fn two_lookups_in_turn_never_go_back() {
        let item = watched();
        assert_eq!(item.end(Kind::Lookup, item.begin(), Version(5)), None);
        assert!(item.end(Kind::Lookup, item.begin(), Version(4)).is_some());
    }

    #[test]
    fn a_trade_makes_a_version_of_its_own() {
        let item = watched();
        assert_eq!(item.end(Kind::Lookup, item.begin(), Version(5)), None);
        assert!(item.end(Kind::Trade, item.begin(), Version(5)).is_some());
        assert_eq!(item.end(Kind::Trade, item.begin(), Version(6)), None);
    }
}
