//! What the histories say in figures: how much was done when, and how long nothing was.

use std::time::Duration;

use bazaar_history::{Answer, Call, Operation, Outcome};
use serde::Serialize;

/// The most slices of a timeline.
const MAX_SLICES: u64 = 480;

/// The widths that slices may have, in milliseconds.
const WIDTHS: [u64; 9] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// How much was done, slice by slice from the beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Timeline {
    /// The width of a slice.
    pub(crate) slice_ms: u64,
    /// Trades that were accepted.
    pub(crate) trades: Vec<u32>,
    /// Lookups that were answered.
    pub(crate) lookups: Vec<u32>,
}

/// How many operations there were, of each sort and outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) trades: Outcomes,
    pub(crate) amendments: Outcomes,
    pub(crate) lookups: Outcomes,
    pub(crate) queries: Outcomes,
}

/// What became of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcomes {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
}

impl Outcomes {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok { .. } => self.done += 1,
            Outcome::Refused { .. } => self.refused += 1,
            Outcome::Unknown { .. } => self.unknown += 1,
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let add = |one: Outcomes, other: Outcomes| Outcomes {
            done: one.done + other.done,
            refused: one.refused + other.refused,
            unknown: one.unknown + other.unknown,
        };
        Self {
            trades: add(self.trades, other.trades),
            amendments: add(self.amendments, other.amendments),
            lookups: add(self.lookups, other.lookups),
            queries: add(self.queries, other.queries),
        }
    }
}

/// Counts `operations`.
pub(crate) fn count(operations: &[Operation]) -> Counts {
    let mut counts = Counts::default();
    for operation in operations {
        let outcomes = match operation.call {
            Call::Trade { .. } => &mut counts.trades,
            Call::Amend { .. } => &mut counts.amendments,
            // Nobody restocks while a cluster is tortured.
            Call::Restock { .. } => continue,
            Call::Lookup { .. } => &mut counts.lookups,
            Call::Query { .. } => &mut counts.queries,
        };
        outcomes.add(&operation.outcome);
    }
    counts
}

/// When trades were accepted, in nanoseconds and in order.
pub(crate) fn accepted(operations: &[Operation]) -> Vec<u64> {
    let mut times: Vec<_> = operations
        .iter()
        .filter(|one| matches!(one.answer(), Some(Answer::Traded { .. })))
        .filter_map(Operation::completed)
        .collect();
    times.sort_unstable();
    times
}

/// The timeline of `operations` from `began` to `ended`.
pub(crate) fn timeline(operations: &[Operation], began: u64, ended: u64) -> Timeline {
    let length = ended.saturating_sub(began) / 1_000_000;
    let wide_enough = |width: &u64| length / width < MAX_SLICES;
    let widest = length / MAX_SLICES + 1;
    let slice_ms = WIDTHS.into_iter().find(wide_enough).unwrap_or(widest);
    let slices = usize::try_from(length / slice_ms + 1).expect("there are few slices");
    let mut timeline = Timeline {
        slice_ms,
        trades: vec![0; slices],
        lookups: vec![0; slices],
    };
    for operation in operations {
        let (Some(answer), Some(at)) = (operation.answer(), operation.completed()) else {
            continue;
        };
        let slices = match answer {
            Answer::Traded { .. } => &mut timeline.trades,
            Answer::Stock { .. } => &mut timeline.lookups,
            Answer::Order(_) | Answer::Amended { .. } | Answer::Restocked { .. } => continue,
        };
        let slice = at
            .checked_sub(began)
            .map(|since| since / 1_000_000 / slice_ms);
        let slice = slice.and_then(|slice| slices.get_mut(usize::try_from(slice).ok()?));
        if let Some(slice) = slice {
            *slice += 1;
        }
    }
    timeline
}

/// The longest time between two of `accepted` that touches the time from `began` to `ended`.
pub(crate) fn longest_gap(accepted: &[u64], began: u64, ended: u64) -> Option<Duration> {
    let pairs = accepted.windows(2).map(|pair| (pair[0], pair[1]));
    let touching = pairs.filter(|(from, to)| *to > began && *from < ended);
    let longest = touching.map(|(from, to)| to - from).max();
    longest.map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_faults_where_it_touches_it() {
        let accepted = [10, 20, 90, 100, 300];
        let gap = |began, ended| longest_gap(&accepted, began, ended).map(|gap| gap.as_nanos());
        assert_eq!(gap(12, 18), Some(10));
        // It begins before the fault, and ends after it.
        assert_eq!(gap(50, 60), Some(70));
        assert_eq!(gap(20, 95), Some(70));
        assert_eq!(gap(15, 150), Some(200));
        assert_eq!(gap(400, 500), None);
        assert_eq!(longest_gap(&[], 0, 1), None);
    }

    #[test]
    fn a_timeline_is_bounded_however_long_it_is() {
        for seconds in [0, 1, 47, 48, 3600, 100_000] {
            let timeline = timeline(&[], 5, 5 + seconds * 1_000_000_000);
            assert!(
                timeline.trades.len() <= MAX_SLICES as usize + 1,
                "{seconds}"
            );
            assert!(timeline.trades.len() as u64 * timeline.slice_ms >= seconds * 1000);
        }
    }
}
