//! The cache against a model of the truth: random schedules of lookups, fetches, trades, leases and
//! lost time, in which no lookup may be answered with the time before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{ItemNumber, LeaseId, Version};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::slot::Waiter;
use super::tests::{key, lease_id, name};
use super::*;
use crate::Error;

const ITEMS: usize = 2;
const CAPACITY: usize = 2;
const LENGTH: Duration = Duration::from_millis(100);

/// One thing that happens. An index picks among what there is to pick, modulo its number.
#[derive(Clone, Debug)]
enum Step {
    /// A client looks an item up, by name or by number.
    Lookup { item: usize, by_name: bool },
    /// The catalog reads the item for a fetch.
    Read(usize),
    /// The catalog's answer to a fetch arrives, if it may have been sent: what it shows is settled.
    Answer(usize),
    /// A fetch fails, or the task that performs it dies.
    Fail { fetch: usize, dies: bool },
    /// The catalog applies a trade and sends an invalidation.
    Trade { item: usize },
    /// An invalidation arrives and is acknowledged.
    Invalidate(usize),
    /// The frontend asks for a lease, and the catalog grants it.
    Ask,
    /// The grant arrives.
    Grant,
    /// Time passes.
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ITEMS, any::<bool>()).prop_map(|(item, by_name)| Step::Lookup { item, by_name }),
        4 => any::<usize>().prop_map(Step::Read),
        4 => any::<usize>().prop_map(Step::Answer),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(fetch, dies)| Step::Fail { fetch, dies }),
        3 => (0..ITEMS).prop_map(|item| Step::Trade { item }),
        3 => any::<usize>().prop_map(Step::Invalidate),
        2 => Just(Step::Ask),
        2 => Just(Step::Grant),
        2 => (0..60u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// What is broken on purpose, to show that the model finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The frontend's clock stands still, so that no lease ever runs out.
    ClockStandsStill,
    /// Invalidations are acknowledged before they are applied.
    AcknowledgedUnapplied,
    /// Invalidations pass fetches under way by.
    FetchesNotOvertaken,
    /// Every lease is taken for a renewal of the first.
    LeasesConfused,
}

struct World {
    fault: Fault,
    cache: Cache,
    epoch: Instant,
    now: Duration,
    /// The version of each item in the catalog, and the newest that is settled: no cache may show
    /// an older one, so trades are acknowledged and lookups answered.
    applied: [u64; ITEMS],
    settled: [u64; ITEMS],
    /// The lease as the catalog sees it, and when it runs out there.
    lease: Option<(LeaseId, Duration)>,
    leases: u64,
    /// When the request was sent, and what was granted.
    grants: Vec<(Duration, LeaseId)>,
    invalidations: Vec<(LeaseId, usize, u64)>,
    fetches: Vec<(Fetch, usize, Option<u64>)>,
    /// Lookups that wait, with the version that was settled when they started.
    waiting: Vec<(Waiter, u64)>,
}

impl World {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            cache: Cache::new(CAPACITY),
            epoch: Instant::now(),
            now: Duration::ZERO,
            applied: [1; ITEMS],
            settled: [1; ITEMS],
            lease: None,
            leases: 0,
            grants: Vec::new(),
            invalidations: Vec::new(),
            fetches: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn run(mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            self.take(step)?;
            self.settle();
            self.check_waiting()?;
            prop_assert!(self.cache.counts().items <= CAPACITY);
        }
        while !self.fetches.is_empty() {
            self.take(&Step::Fail {
                fetch: 0,
                dies: false,
            })?;
        }
        self.check_waiting()?;
        prop_assert!(self.waiting.is_empty(), "somebody waits for ever");
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Lookup { item, by_name } => self.look_up(*item, *by_name)?,
            Step::Read(fetch) => {
                if let Some((_, item, read)) = pick(&mut self.fetches, *fetch) {
                    read.get_or_insert(self.applied[*item]);
                }
            }
            Step::Answer(fetch) => self.answer(*fetch),
            Step::Fail { fetch, dies } => {
                if let Some((fetch, ..)) = take(&mut self.fetches, *fetch)
                    && !dies
                {
                    self.cache.complete(fetch, Err(Error::Busy));
                }
            }
            Step::Trade { item } => {
                self.applied[*item] += 1;
                if let Some((lease, _)) = self.live_lease() {
                    self.invalidations.push((lease, *item, self.applied[*item]));
                }
            }
            Step::Invalidate(which) => {
                if let Some((_, item, version)) = take(&mut self.invalidations, *which) {
                    self.invalidate(item, version);
                }
            }
            Step::Ask => self.ask(),
            Step::Grant => {
                if let Some((sent, id)) = take(&mut self.grants, 0) {
                    let id = if self.fault == Fault::LeasesConfused {
                        lease_id(1)
                    } else {
                        id
                    };
                    let valid_until = self.epoch + sent + LENGTH * 9 / 10;
                    self.cache.grant(Lease { id, valid_until });
                }
            }
            Step::Pass { millis } => self.now += Duration::from_millis(*millis),
        }
        Ok(())
    }

    fn look_up(&mut self, item: usize, by_name: bool) -> Result<(), TestCaseError> {
        let settled = self.settled[item];
        let still = self.fault == Fault::ClockStandsStill;
        let now = self.epoch + if still { Duration::ZERO } else { self.now };
        match self.cache.lookup(&key(item, by_name), || now) {
            Lookup::Hit(item) => check(item.version.0, settled)?,
            Lookup::Join(waiter) => self.waiting.push((waiter, settled)),
            Lookup::Lead(fetch) => {
                self.waiting.push((fetch.waiter(), settled));
                self.fetches.push((fetch, item, None));
            }
            Lookup::Alone => {}
        }
        Ok(())
    }

    fn answer(&mut self, fetch: usize) {
        let Some((_, item, Some(version))) = pick(&mut self.fetches, fetch) else {
            return;
        };
        let (item, version) = (*item, *version);
        if version <= self.settled[item]
            && let Some((fetch, ..)) = take(&mut self.fetches, fetch)
        {
            self.cache
                .complete(fetch, Ok(Some(Arc::new(super::tests::item(item, version)))));
        }
    }

    fn invalidate(&mut self, item: usize, version: u64) {
        let under_way = self.fetches.iter().any(|(_, fetched, _)| *fetched == item);
        match self.fault {
            Fault::AcknowledgedUnapplied => {}
            Fault::FetchesNotOvertaken if under_way => {}
            _ => self.cache.invalidate(&[Invalidation {
                number: ItemNumber(item as u64),
                name: name(item),
                version: Version(version),
            }]),
        }
    }

    /// The lease that the catalog believes to be held.
    fn live_lease(&self) -> Option<(LeaseId, Duration)> {
        self.lease.filter(|(_, ends)| self.now < *ends)
    }

    /// The request is sent and answered at once; the answer travels. A lease is renewed while it is
    /// live, and replaced by another when it has run out.
    fn ask(&mut self) {
        let id = match self.live_lease() {
            Some((id, _)) => id,
            None => {
                self.leases += 1;
                lease_id(self.leases)
            }
        };
        self.lease = Some((id, self.now + LENGTH));
        self.grants.push((self.now, id));
    }

    /// A version is settled once no live lease has its invalidation unacknowledged.
    fn settle(&mut self) {
        let live = self.live_lease().map(|(id, _)| id);
        for item in 0..ITEMS {
            let oldest = self
                .invalidations
                .iter()
                .filter(|(lease, changed, _)| Some(*lease) == live && *changed == item)
                .map(|(.., version)| version - 1)
                .min();
            let settled = oldest.unwrap_or(self.applied[item]);
            self.settled[item] = self.settled[item].max(settled);
        }
    }

    fn check_waiting(&mut self) -> Result<(), TestCaseError> {
        for (waiter, settled) in std::mem::take(&mut self.waiting) {
            match waiter.now() {
                Some(Ok(Some(item))) => check(item.version.0, settled)?,
                Some(_) => {}
                None if waiter.is_abandoned() => {}
                None => self.waiting.push((waiter, settled)),
            }
        }
        Ok(())
    }
}

fn check(shown: u64, settled: u64) -> Result<(), TestCaseError> {
    prop_assert!(
        shown >= settled,
        "shows version {shown} where {settled} was acknowledged"
    );
    Ok(())
}

fn pick<T>(from: &mut [T], index: usize) -> Option<&mut T> {
    let length = from.len();
    from.get_mut(index.checked_rem(length)?)
}

fn take<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    let index = index.checked_rem(from.len())?;
    Some(from.remove(index))
}

/// Runs `cases` random schedules, the same ones each time.
fn schedules(fault: Fault, cases: u32) -> Result<(), TestError<Vec<Step>>> {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng).run(&prop::collection::vec(step(), 1..150), |steps| {
        World::new(fault).run(&steps)
    })
}

#[test]
fn no_lookup_is_answered_with_the_time_before_it() {
    if let Err(error) = schedules(Fault::None, 5000) {
        panic!("{error}");
    }
}

#[test]
fn the_model_finds_what_is_broken_on_purpose() {
    for fault in [
        Fault::ClockStandsStill,
        Fault::AcknowledgedUnapplied,
        Fault::FetchesNotOvertaken,
        Fault::LeasesConfused,
    ] {
        assert!(schedules(fault, 5000).is_err(), "{fault:?} goes unnoticed");
    }
}
