//! What becomes of a packet: the faults of the moment, and what they remember of earlier packets.
//!
//! No clock and no socket: the same seed, packets and times have the same outcome.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::fault::{Effect, Fault, Host, Quality, Way};

/// How long a packet waits at most for its turn on a link of limited bandwidth: a queue as long as
/// that of a badly configured router, and no longer.
const LONGEST_QUEUE: Duration = Duration::from_millis(500);

/// The faults of the moment.
#[derive(Debug)]
pub(super) struct Rules {
    active: Vec<Active>,
    random: StdRng,
}

/// A fault, and what it remembers.
#[derive(Debug)]
struct Active {
    fault: Fault,
    /// How many packets it lost, delayed or doubled.
    hits: u64,
    there: Lane,
    back: Lane,
}

/// One way of an impaired link.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// When the last of the packets under way arrives.
    last: Option<Instant>,
    /// When the packets before have passed its narrowest point.
    free: Option<Instant>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// When it arrives.
    pub(super) due: Instant,
    /// How many of it do.
    pub(super) copies: u32,
}

impl Rules {
    /// No faults; `seed` decides those matters that faults leave to chance.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            active: Vec::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Begins a fault; one that there is already goes on.
    pub(super) fn inject(&mut self, fault: Fault) {
        if self.active.iter().all(|active| active.fault != fault) {
            self.active.push(Active {
                fault,
                hits: 0,
                there: Lane::default(),
                back: Lane::default(),
            });
        }
    }

    /// Ends a fault; returns how many packets it touched, none if there was no such fault.
    pub(super) fn heal(&mut self, fault: &Fault) -> Option<u64> {
        let found = self.active.iter().position(|active| active.fault == *fault);
        found.map(|index| self.active.remove(index).hits)
    }

    /// Ends every fault.
    pub(super) fn heal_all(&mut self) {
        self.active.clear();
    }

    /// What becomes of a packet that is sent `now`; none if it is lost.
    pub(super) fn pass(
        &mut self,
        from: Host,
        to: Host,
        bytes: usize,
        now: Instant,
    ) -> Option<Passage> {
        let mut passage = Passage {
            due: now,
            copies: 1,
        };
        for Active {
            fault,
            hits,
            there,
            back,
        } in &mut self.active
        {
            match fault.effect(from, to) {
                None => {}
                Some(Effect::Lost) => {
                    *hits += 1;
                    return None;
                }
                Some(Effect::Impaired(quality, way)) => {
                    let lane = match way {
                        Way::There => there,
                        Way::Back => back,
                    };
                    let passed = lane.pass(quality, &mut self.random, bytes, passage);
                    *hits += u64::from(passed != Some(passage));
                    passage = passed?;
                }
            }
        }
        Some(passage)
    }

    /// Whether a packet that was under way is lost at the end of it, because the link has been cut
    /// meanwhile.
    pub(super) fn is_cut(&self, from: Host, to: Host) -> bool {
        let effects = self
            .active
            .iter()
            .map(|active| active.fault.effect(from, to));
        effects.flatten().any(|effect| effect == Effect::Lost)
    }
}

impl Lane {
    fn pass(
        &mut self,
        quality: &Quality,
        random: &mut StdRng,
        bytes: usize,
        Passage { due, copies }: Passage,
    ) -> Option<Passage> {
        let mut happens = |share: f64| share > 0.0 && random.random::<f64>() < share;
        if happens(quality.loss) {
            return None;
        }
        let (is_doubled, overtakes) = (happens(quality.duplicate), happens(quality.reorder));
        let mut arrival = due;
        if let Some(bandwidth) = quality.bandwidth {
            let start = self.free.map_or(due, |free| free.max(due));
            if start - due > LONGEST_QUEUE {
                return None;
            }
            arrival = start + Duration::from_secs_f64(bytes as f64 / bandwidth.get() as f64);
            self.free = Some(arrival);
        }
        if !overtakes {
            let varied = quality.jitter.mul_f64(2.0 * random.random::<f64>());
            arrival += (quality.delay + varied).saturating_sub(quality.jitter);
            arrival = self.last.map_or(arrival, |last| last.max(arrival));
            self.last = Some(arrival);
        }
        Some(Passage {
            due: arrival,
            copies: if is_doubled { copies * 2 } else { copies },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::super::fault::Scope;
    use super::*;

    const ALL: [&str; 4] = ["order/1", "order/2", "order/3", "catalog/1"];

    fn host(name: &str) -> Host {
        match name {
            "machine" => Host::Machine,
            name => Host::Process(name.parse().unwrap()),
        }
    }

    fn hosts(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| host(name)).collect()
    }

    fn passes(rules: &mut Rules, from: &str, to: &str) -> bool {
        let now = Instant::now();
        let passes = rules.pass(host(from), host(to), 100, now).is_some();
        assert_eq!(passes, !rules.is_cut(host(from), host(to)));
        passes
    }

    /// Passes a packet a millisecond between two hosts; returns how long each was under way.
    fn under_way(quality: Quality, packets: u32) -> Vec<Option<(Duration, u32)>> {
        let mut rules = Rules::new(7);
        let scope = Scope::Between(host("order/1"), host("order/2"));
        rules.inject(Fault::Impair { scope, quality });
        let begin = Instant::now();
        let packet = |n| {
            let now = begin + Duration::from_millis(1) * n;
            let passage = rules.pass(host("order/1"), host("order/2"), 1000, now);
            passage.map(|Passage { due, copies }| (due - now, copies))
        };
        (0..packets).map(packet).collect()
    }

    #[test]
    fn a_cut_is_both_ways_and_concerns_nobody_else() {
        let mut rules = Rules::new(0);
        let (a, b) = (host("order/1"), host("order/2"));
        rules.inject(Fault::Cut { a, b });
        assert!(!passes(&mut rules, "order/1", "order/2"));
        assert!(!passes(&mut rules, "order/2", "order/1"));
        assert!(passes(&mut rules, "order/1", "order/3"));
        assert!(passes(&mut rules, "machine", "order/1"));
    }

    #[test]
    fn a_one_way_cut_leaves_the_way_back() {
        let mut rules = Rules::new(0);
        let (from, to) = (host("order/1"), host("order/2"));
        rules.inject(Fault::CutOneWay { from, to });
        assert!(!passes(&mut rules, "order/1", "order/2"));
        assert!(passes(&mut rules, "order/2", "order/1"));
    }

    #[test]
    fn who_is_isolated_reaches_nobody() {
        let mut rules = Rules::new(0);
        let host = host("order/1");
        rules.inject(Fault::Isolate { host });
        for other in ["order/2", "catalog/1", "machine"] {
            assert!(!passes(&mut rules, "order/1", other));
            assert!(!passes(&mut rules, other, "order/1"));
        }
        assert!(passes(&mut rules, "order/2", "machine"));
    }

    #[test]
    fn a_split_spares_who_is_in_no_group() {
        let mut rules = Rules::new(0);
        let groups = vec![hosts(&ALL[..2]), hosts(&ALL[2..3])];
        rules.inject(Fault::Split { groups });
        assert!(passes(&mut rules, "order/1", "order/2"));
        assert!(!passes(&mut rules, "order/1", "order/3"));
        assert!(!passes(&mut rules, "order/3", "order/2"));
        for name in ALL {
            assert!(passes(&mut rules, "machine", name));
        }
    }

    #[test]
    fn the_end_of_one_fault_ends_no_other() {
        let mut rules = Rules::new(0);
        let cut = Fault::Cut {
            a: host("order/1"),
            b: host("order/2"),
        };
        let isolation = Fault::Isolate {
            host: host("order/1"),
        };
        for _again in 0..2 {
            rules.inject(cut.clone());
            rules.inject(isolation.clone());
        }
        assert!(!passes(&mut rules, "order/1", "order/2"));
        assert_eq!(rules.heal(&cut), Some(1));
        assert_eq!(rules.heal(&cut), None);
        assert!(!passes(&mut rules, "order/1", "order/2"));
        assert_eq!(rules.heal(&isolation), Some(1));
        assert!(passes(&mut rules, "order/1", "order/2"));
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_keeps_the_order() {
        let ms = Duration::from_millis;
        let quality = Quality {
            delay: ms(20),
            jitter: ms(5),
            ..Quality::default()
        };
        let times: Vec<Duration> = under_way(quality, 1000)
            .into_iter()
            .map(|passage| passage.unwrap().0)
            .collect();
        assert!(times.iter().all(|time| (ms(15)..=ms(25)).contains(time)));
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1] + ms(1)));
        assert!(times.iter().min().unwrap() < &ms(18));
        assert!(times.iter().max().unwrap() > &ms(22));
    }

    #[test]
    fn loss_and_duplicates_are_as_frequent_as_asked_for() {
        let quality = Quality {
            loss: 0.1,
            duplicate: 0.2,
            ..Quality::default()
        };
        let passages = under_way(quality, 10_000);
        let lost = passages.iter().filter(|passage| passage.is_none()).count();
        assert!((900..1100).contains(&lost), "{lost}");
        let doubled = passages.iter().flatten().filter(|(_, copies)| *copies == 2);
        let doubled = doubled.count();
        assert!((1650..1950).contains(&doubled), "{doubled}");
        assert_eq!(passages, under_way(quality, 10_000));
    }

    #[test]
    fn some_packets_overtake_others() {
        let quality = Quality {
            delay: Duration::from_millis(20),
            reorder: 0.3,
            ..Quality::default()
        };
        let passages = under_way(quality, 1000);
        let times = passages.iter().flatten().map(|(time, _)| *time);
        let quick = times.filter(Duration::is_zero).count();
        assert!((250..350).contains(&quick), "{quick}");
    }

    #[test]
    fn a_narrow_link_lets_its_bandwidth_pass_and_its_queue_is_bounded() {
        // A tenth of the 1,000 bytes that come each millisecond.
        let quality = Quality {
            bandwidth: NonZeroU64::new(100_000),
            ..Quality::default()
        };
        let passages = under_way(quality, 10_000);
        let passed = passages.iter().flatten().count();
        assert!((1000..1100).contains(&passed), "{passed}");
        let longest = passages.iter().flatten().map(|(time, _)| *time).max();
        assert!(longest.unwrap() <= LONGEST_QUEUE + Duration::from_millis(10));
    }
}
