//! What was answered when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Kind;

/// The most slices in a timeline.
const MAX_SLICES: usize = 1024;

/// The width of a timeline's slices, to begin with.
const FIRST_WIDTH: Duration = Duration::from_millis(100);

/// What was answered in one slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Lookups.
    pub lookups: u64,
    /// Accepted trades.
    pub trades: u64,
}

/// What was answered over time, in slices of one width. When there are too many slices, the width
/// doubles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    width: Duration,
    slices: Vec<Slice>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width: FIRST_WIDTH,
            slices: Vec::new(),
        }
    }
}

impl Timeline {
    /// The width of a slice.
    pub(crate) fn width(&self) -> Duration {
        self.width
    }

    /// The slices, from the start.
    pub(crate) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Counts an answer, `elapsed` after the start.
    pub(crate) fn add(&mut self, kind: Kind, elapsed: Duration) {
        while elapsed.as_nanos() / self.width.as_nanos() >= MAX_SLICES as u128 {
            self.widen();
        }
        let index = (elapsed.as_nanos() / self.width.as_nanos()) as usize;
        if index >= self.slices.len() {
            self.slices.resize(index + 1, Slice::default());
        }
        match kind {
            Kind::Lookup => self.slices[index].lookups += 1,
            Kind::Trade => self.slices[index].trades += 1,
            Kind::Refusal | Kind::OrderQuery => {}
        }
    }

    /// Adds what `other` counted.
    pub(crate) fn merge(&mut self, mut other: Self) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        let length = self.slices.len().max(other.slices.len());
        self.slices.resize(length, Slice::default());
        for (slice, other) in self.slices.iter_mut().zip(other.slices) {
            slice.lookups += other.lookups;
            slice.trades += other.trades;
        }
    }

    fn widen(&mut self) {
        self.width *= 2;
        let pairs = self.slices.chunks(2);
        self.slices = pairs
            .map(|pair| Slice {
                lookups: pair.iter().map(|slice| slice.lookups).sum(),
                trades: pair.iter().map(|slice| slice.trades).sum(),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timeline_is_bounded_and_counts_everything_once(
            moments in prop::collection::vec((0_u64..10_000_000, any::<bool>()), 0..100),
        ) {
            let (mut one, mut other) = (Timeline::default(), Timeline::default());
            for &(moment, first) in &moments {
                let part = if first { &mut one } else { &mut other };
                part.add(Kind::Trade, Duration::from_millis(moment));
            }
            one.merge(other);
            prop_assert!(one.slices().len() <= MAX_SLICES);
            for (index, slice) in one.slices().iter().enumerate() {
                let expected = moments.iter().filter(|(moment, _)| {
                    u128::from(*moment) / one.width().as_millis() == index as u128
                });
                prop_assert_eq!(slice.trades, expected.count() as u64);
            }
        }
    }
}
