//! The longest time in which no trade was accepted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A time in which no trade was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it began, in microseconds from the load's start.
    pub began_us: u64,
    /// How long it lasted, in microseconds.
    pub length_us: u64,
}

impl Gap {
    /// How long it lasted.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_micros(self.length_us)
    }

    /// When it began, from the load's start.
    #[must_use]
    pub fn began(&self) -> Duration {
        Duration::from_micros(self.began_us)
    }
}

/// Finds the longest gap. An accepted trade costs one atomic operation, and a lock when it ends the
/// longest gap so far.
#[derive(Debug)]
pub(crate) struct GapMeter {
    start: Instant,
    /// When the last trade was accepted, in nanoseconds from the start.
    last: AtomicU64,
    /// In nanoseconds.
    longest: AtomicU64,
    gap: Mutex<Gap>,
}

impl GapMeter {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            gap: Mutex::default(),
        }
    }

    /// A trade was accepted, or the load has ended, at `now`.
    pub(crate) fn close(&self, now: Instant) {
        let now = nanoseconds(now.saturating_duration_since(self.start));
        let last = self.last.fetch_max(now, Relaxed);
        let length = now.saturating_sub(last);
        if length > self.longest.load(Relaxed) {
            let mut gap = self.gap.lock().expect("no holder panics");
            // Another may have been quicker with a longer one.
            if length > self.longest.load(Relaxed) {
                self.longest.store(length, Relaxed);
                *gap = Gap {
                    began_us: last / 1000,
                    length_us: length / 1000,
                };
            }
        }
    }

    /// Forgets the gaps that have ended; one that lasts counts from where it began.
    pub(crate) fn forget(&self) {
        let mut gap = self.gap.lock().expect("no holder panics");
        self.longest.store(0, Relaxed);
        *gap = Gap::default();
    }

    /// The longest gap that has ended.
    pub(crate) fn longest(&self) -> Gap {
        *self.gap.lock().expect("no holder panics")
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_longest_gap_in_any_order_of_arrival(
            mut moments in prop::collection::vec(1_u64..10_000, 1..50),
            swaps in prop::collection::vec((0_usize..50, 0_usize..50), 0..5),
        ) {
            moments.sort_unstable();
            let start = Instant::now();
            let meter = GapMeter::new(start);
            for &moment in &moments {
                meter.close(start + Duration::from_micros(moment));
            }
            let expected = std::iter::once(&0)
                .chain(&moments)
                .zip(&moments)
                .map(|(from, to)| to - from)
                .max()
                .unwrap();
            prop_assert_eq!(meter.longest().length_us, expected);
            prop_assert!(
                meter.longest().began_us == 0 || moments.contains(&meter.longest().began_us)
            );

            // Out of order, a gap may only be overestimated by what came late, never missed.
            let late = GapMeter::new(start);
            for (a, b) in swaps {
                let length = moments.len();
                moments.swap(a % length, b % length);
            }
            for &moment in &moments {
                late.close(start + Duration::from_micros(moment));
            }
            prop_assert!(late.longest().length_us >= expected);
        }
    }
}
