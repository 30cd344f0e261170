//! How long requests took, and how many were answered when.
//!
//! Histograms are HDR: three significant digits from 1 µs to 60 s, 139 KiB each; longer ones count
//! as 60 s.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// The longest latency told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Sessions share this many sets of histograms, so that they seldom wait for each other.
const SHARDS: usize = 8;

/// The kinds of request that are measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A lookup of an item.
    Lookup,
    /// A trade that was accepted.
    Trade,
    /// A trade that was refused, which costs the system less.
    Refusal,
    /// A lookup of an order by its number.
    OrderQuery,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Lookup, Self::Trade, Self::Refusal, Self::OrderQuery];

    /// The kind as it stands in reports and service levels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Trade => "trade",
            Self::Refusal => "refusal",
            Self::OrderQuery => "order_query",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long requests of one kind took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were answered.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half were as quick as this.
    pub p50_us: u64,
    /// 90 % were as quick as this.
    pub p90_us: u64,
    /// 99 % were as quick as this.
    pub p99_us: u64,
    /// 99.9 % were as quick as this.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    histograms: BTreeMap<Kind, Histogram<u64>>,
    pub(crate) timeline: Timeline,
}

impl Measured {
    /// The latencies of `kind`, or of all kinds together. None where nothing was measured.
    pub(crate) fn histogram(&self, kind: Option<Kind>) -> Option<Histogram<u64>> {
        let mut all: Option<Histogram<u64>> = None;
        for (_, histogram) in self
            .histograms
            .iter()
            .filter(|(of, _)| kind.is_none_or(|k| k == **of))
        {
            match &mut all {
                None => all = Some(histogram.clone()),
                Some(all) => all
                    .add(histogram)
                    .expect("all histograms have the same bounds"),
            }
        }
        all
    }

    /// A summary of `kind`. None where nothing was measured.
    pub(crate) fn latency(&self, kind: Kind) -> Option<Latency> {
        let histogram = self.histograms.get(&kind)?;
        Some(Latency {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        })
    }

    fn record(&mut self, kind: Kind, latency: Duration) {
        let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histograms
            .entry(kind)
            .or_insert_with(|| {
                Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid")
            })
            .saturating_record(latency);
    }

    fn merge(&mut self, other: Self) {
        self.timeline.merge(other.timeline);
        for (kind, histogram) in other.histograms {
            match self.histograms.get_mut(&kind) {
                Some(own) => own
                    .add(histogram)
                    .expect("all histograms have the same bounds"),
                None => {
                    self.histograms.insert(kind, histogram);
                }
            }
        }
    }
}

/// Measures requests. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    shards: [Mutex<Measured>; SHARDS],
}

impl Meter {
    /// Measures from `start`, the end of the warm-up.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            shards: Default::default(),
        }
    }

    /// A request of `session`, due at `due`, was answered now.
    pub(crate) fn record(&self, session: u32, kind: Kind, due: Instant) {
        let now = Instant::now();
        let mut shard = lock(&self.shards[session as usize % SHARDS]);
        shard.record(kind, now.saturating_duration_since(due));
        shard
            .timeline
            .add(kind, now.saturating_duration_since(self.start));
    }

    /// What all sessions measured.
    pub(crate) fn total(&self) -> Measured {
        let mut total = Measured::default();
        for shard in &self.shards {
            total.merge(lock(shard).clone());
        }
        total
    }
}

fn lock(shard: &Mutex<Measured>) -> MutexGuard<'_, Measured> {
    shard.lock().expect("no holder panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_measured_together_and_kinds_apart() {
        let meter = Meter::new(Instant::now());
        let ago = |time| Instant::now().checked_sub(time).unwrap();
        for session in 0..100 {
            meter.record(session, Kind::Lookup, ago(Duration::from_millis(10)));
        }
        meter.record(3, Kind::Trade, ago(Duration::from_secs(100)));
        let measured = meter.total();
        let lookup = measured.latency(Kind::Lookup).unwrap();
        assert_eq!(lookup.count, 100);
        assert!((10_000..20_000).contains(&lookup.p50_us), "{lookup:?}");
        // Three significant digits of a minute.
        assert!(
            measured
                .latency(Kind::Trade)
                .unwrap()
                .max_us
                .abs_diff(LONGEST_US)
                < 60_000
        );
        assert_eq!(measured.latency(Kind::Refusal), None);
        assert_eq!(measured.histogram(None).unwrap().len(), 101);
    }
}
