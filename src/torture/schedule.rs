//! Which fault strikes when: a pure function of the seed, the faults and the time there is.
//!
//! Three rules say what may overlap, so that the promises must hold whatever is drawn:
//!
//! 1. Faults that get hold of the same thing (see `Lane`) never overlap. So at most one replica at
//!    a time has a disk that lies or files that are damaged: never a majority.
//! 2. A fault that takes away what a replica has already acknowledged (see
//!    [`Fault::forgets`]) overlaps with none that kills, pauses, cuts off or delays: with one
//!    memory less, a majority that agrees on the past needs everybody else.
//! 3. Every fault ends before the time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::torture::fault::Fault;

/// How long the cluster is left alone at first.
pub(crate) const LEAD_IN: Duration = Duration::from_secs(2);

/// How long it is left alone between two faults of `--each`, at least.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// How long nothing of the same lane happens after a fault, in milliseconds.
const REST: std::ops::RangeInclusive<u64> = 500..=5_000;

/// A fault that is to be injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Planned {
    /// When, since the beginning; later where what came before took longer than planned.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub(crate) at: Duration,
    /// How long it lasts.
    #[serde(rename = "lasts_ms", serialize_with = "milliseconds")]
    pub(crate) lasts: Duration,
    /// Which one.
    pub(crate) fault: Fault,
    /// Decides what it leaves to chance, such as its victim.
    pub(crate) seed: u64,
}

impl Planned {
    /// When it is over.
    pub(crate) fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

/// Every one of `faults` once, each for `lasts`, one after the other.
pub(crate) fn each(seed: u64, faults: &BTreeSet<Fault>, lasts: Duration) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = LEAD_IN;
    let planned = faults.iter().map(|&fault| {
        let planned = Planned {
            at,
            lasts,
            fault,
            seed: random.random(),
        };
        at = planned.end() + PAUSE;
        planned
    });
    planned.collect()
}

/// As many of `faults` as `duration` has room for, drawn so that each of a lane comes up before any
/// comes up again. They are in the order of their beginnings.
pub(crate) fn draw(seed: u64, faults: &BTreeSet<Fault>, duration: Duration) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut lanes = BTreeMap::new();
    for &fault in faults {
        let lane = lanes.entry(fault.lane()).or_insert_with(Deck::default);
        lane.cards.push(fault);
    }
    for deck in lanes.values_mut() {
        deck.free = LEAD_IN + rest(&mut random);
    }
    let mut planned = Vec::new();
    while let Some((&lane, deck)) = lanes.iter_mut().min_by_key(|(_, deck)| deck.free) {
        let fault = deck.draw(&mut random);
        let lasts = milliseconds_in(&mut random, fault.lengths());
        let mut at = deck.free;
        if fault.forgets() {
            // Alone: what is under way ends first, and nothing begins before it has ended.
            let others = planned.iter().filter(|other| must_not_meet(fault, other));
            at = others.map(Planned::end).max().unwrap_or(at).max(at);
        }
        let drawn = Planned {
            at,
            lasts,
            fault,
            seed: random.random(),
        };
        if drawn.end() > duration {
            lanes.remove(&lane);
            continue;
        }
        for (other, deck) in &mut lanes {
            if *other == lane {
                deck.free = drawn.end() + rest(&mut random);
            } else if fault.forgets() && other.disturbs() {
                deck.free = deck.free.max(drawn.end());
            }
        }
        planned.push(drawn);
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// The faults of one lane, and when it is free.
#[derive(Default)]
struct Deck {
    cards: Vec<Fault>,
    /// Those that have not come up.
    left: Vec<Fault>,
    free: Duration,
}

impl Deck {
    fn draw(&mut self, random: &mut StdRng) -> Fault {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
            self.left.shuffle(random);
        }
        self.left.pop().expect("a lane has a fault")
    }
}

/// Whether `forgetting`, which forgets, must not overlap with `other`.
fn must_not_meet(forgetting: Fault, other: &Planned) -> bool {
    other.fault.lane().disturbs() || other.fault.lane() == forgetting.lane()
}

fn rest(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(REST))
}

fn milliseconds_in(random: &mut StdRng, (least, greatest): (Duration, Duration)) -> Duration {
    // Short ones are as probable as ten times longer ones: most of what breaks, breaks at the edges.
    let (least, greatest) = (least.as_secs_f64().ln(), greatest.as_secs_f64().ln());
    let seconds = random.random_range(least..=greatest).exp();
    Duration::from_millis((seconds * 1e3).round() as u64)
}

fn milliseconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use proptest::prelude::*;

    use super::*;
    use crate::torture::fault::Lane;

    const LONG: Duration = Duration::from_secs(600);

    fn all() -> BTreeSet<Fault> {
        Fault::value_variants().iter().copied().collect()
    }

    fn overlap(one: &Planned, other: &Planned) -> bool {
        one.at < other.end() && other.at < one.end()
    }

    #[test]
    fn the_schedule_of_a_seed_is_always_the_same_and_that_of_another_is_not() {
        assert_eq!(draw(7, &all(), LONG), draw(7, &all(), LONG));
        assert_ne!(draw(7, &all(), LONG), draw(8, &all(), LONG));
        assert_eq!(each(7, &all(), PAUSE), each(7, &all(), PAUSE));
    }

    #[test]
    fn each_fault_comes_once_and_alone() {
        let planned = each(3, &all(), Duration::from_secs(10));
        let faults: BTreeSet<_> = planned.iter().map(|planned| planned.fault).collect();
        assert_eq!((planned.len(), faults), (all().len(), all()));
        assert!(
            planned
                .windows(2)
                .all(|pair| pair[0].end() + PAUSE == pair[1].at)
        );
    }

    #[test]
    fn every_fault_comes_up_when_there_is_time() {
        let hour = draw(1, &all(), Duration::from_secs(3600));
        let faults: BTreeSet<_> = hour.iter().map(|planned| planned.fault).collect();
        assert_eq!(faults, all());
    }

    #[test]
    fn without_time_there_are_no_faults() {
        assert_eq!(draw(1, &all(), LEAD_IN), []);
        assert_eq!(draw(1, &BTreeSet::new(), LONG), []);
    }

    proptest! {
        #[test]
        fn a_drawn_schedule_keeps_the_rules(
            seed: u64,
            seconds in 0_u64..900,
            chosen in prop::sample::subsequence(Fault::value_variants().to_vec(), 0..20),
        ) {
            let chosen: BTreeSet<Fault> = chosen.into_iter().collect();
            let duration = Duration::from_secs(seconds);
            let planned = draw(seed, &chosen, duration);
            for (index, one) in planned.iter().enumerate() {
                let (least, greatest) = one.fault.lengths();
                prop_assert!(chosen.contains(&one.fault));
                prop_assert!(one.at >= LEAD_IN && one.end() <= duration);
                prop_assert!(least <= one.lasts && one.lasts <= greatest);
                for other in planned[index + 1..].iter().filter(|other| overlap(one, other)) {
                    let lanes = (one.fault.lane(), other.fault.lane());
                    prop_assert_ne!(lanes.0, lanes.1, "{:?} and {:?}", one, other);
                    prop_assert!(!(one.fault.forgets() && lanes.1.disturbs()));
                    prop_assert!(!(other.fault.forgets() && lanes.0.disturbs()));
                }
            }
        }
    }

    #[test]
    fn faults_of_different_lanes_do_overlap() {
        let hour = draw(1, &all(), Duration::from_secs(3600));
        let process = hour.iter().filter(|one| one.fault.lane() == Lane::Process);
        let meets = |one: &&Planned| {
            let others = hour
                .iter()
                .filter(|other| other.fault.lane() == Lane::Network);
            others.into_iter().any(|other| overlap(one, other))
        };
        assert!(process.filter(meets).count() > 10);
    }
}
