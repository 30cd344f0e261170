//! The tables of a group's replicas against a model of the truth: random schedules of trades,
//! elections, lease requests, registrations, lost time and messages that come late, in which nothing
//! may settle that a cache which is still served from may not know.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::tests::{LENGTH, change, holder, ms};
use super::*;

const REPLICAS: usize = 2;
const FRONTENDS: usize = 2;

/// A step of an adversary who decides when time passes, when messages arrive, and which are lost.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// The leader has a trade committed, and every replica applies it.
    Trade,
    /// A frontend asks whom it takes for the leader: the newest, or an earlier one.
    Ask { frontend: usize, newest: bool },
    /// A request arrives. Whoever sent it calls in, and is registered where it has to be.
    Arrive(Index),
    /// The leader confirms that it leads, for a request that has arrived.
    Confirm(Index),
    /// A request that was confirmed is granted, in its own time.
    Serve(Index),
    /// A grant arrives.
    Grant(Index),
    /// A pusher sends what has changed.
    Push(Index),
    /// A push arrives.
    Invalidate(Index),
    /// Its acknowledgement arrives.
    Acknowledge(Index),
    /// A pusher loses its connection.
    Disconnect(Index),
    /// A replica takes the idle caches from the record.
    TakeIdle(usize),
    /// What it proposed is committed, if it leads still.
    Forget(usize),
    /// A replica is elected. The one before it does not know.
    Elect(usize),
    /// The leader's reign is broken off, and begins again in its term.
    Resume,
    /// A frontend starts anew.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => (1..40_u64).prop_map(Step::Pass),
        4 => Just(Step::Trade),
        6 => (0..FRONTENDS, prop::bool::weighted(0.8))
            .prop_map(|(frontend, newest)| Step::Ask { frontend, newest }),
        6 => index().prop_map(Step::Arrive),
        6 => index().prop_map(Step::Confirm),
        6 => index().prop_map(Step::Serve),
        6 => index().prop_map(Step::Grant),
        6 => index().prop_map(Step::Push),
        6 => index().prop_map(Step::Invalidate),
        6 => index().prop_map(Step::Acknowledge),
        1 => index().prop_map(Step::Disconnect),
        2 => (0..REPLICAS).prop_map(Step::TakeIdle),
        2 => (0..REPLICAS).prop_map(Step::Forget),
        2 => (0..REPLICAS).prop_map(Step::Elect),
        1 => Just(Step::Resume),
        1 => (0..FRONTENDS).prop_map(Step::Restart),
    ]
}

/// What is broken on purpose, to show that the model finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A new leader takes it that nobody holds leases.
    NobodyAwaited,
    /// A frontend goes on under its lease when it asks another leader.
    NothingGivenUp,
    /// A frontend takes a grant of a term that it has given up.
    LateGrantTaken,
    /// A leader grants without having confirmed that it leads.
    Unconfirmed,
    /// A lease is granted to a cache that is not on record.
    Unregistered,
    /// A cache is forgotten without having been taken from the record first.
    ForgottenWhileLeased,
    /// A lease is granted to a cache that was forgotten since its request arrived.
    AdmissionIgnored,
    /// A reign that goes on after a break takes itself for a new one.
    ResumedAsNew,
}

/// A lease request on its way, or being served.
struct Request {
    cache: CacheId,
    replica: usize,
    term: Term,
    sent: Instant,
    held: Option<LeaseId>,
}

/// A replica: its table, and what of it counts.
struct Replica {
    leases: Leases,
    /// The version of the one item at each ticket.
    versions: Vec<u64>,
    /// It has led from this ticket on, before which it shows nothing,
    led_from: Ticket,
    /// up to this one, where it leads no more; what came later it shows to nobody.
    led_until: Option<Ticket>,
    /// Caches that it has taken from the record, and has proposed to forget.
    forgetting: Vec<CacheId>,
}

/// One incarnation of a frontend's cache.
struct Frontend {
    cache: CacheId,
    /// Leases of earlier terms are given up.
    since: Term,
    /// What it goes by: a lease, until when.
    held: Option<(LeaseId, Instant)>,
}

struct Pusher {
    cache: CacheId,
    told: Ticket,
    /// On its way, in order: acknowledged up to where, as of which version.
    pushes: VecDeque<(Ticket, u64)>,
    acknowledgements: VecDeque<Ticket>,
}

struct World {
    fault: Fault,
    now: Instant,
    version: u64,
    leader: usize,
    term: u64,
    /// The caches on record in the replicated state.
    record: BTreeSet<CacheId>,
    replicas: Vec<Replica>,
    frontends: Vec<Frontend>,
    caches: u64,
    sent: Vec<Request>,
    arrived: Vec<(Request, Admission)>,
    confirmed: Vec<(Request, Admission)>,
    /// Grants on their way: to which cache, for a request sent when.
    grants: Vec<(CacheId, LeaseId, Instant)>,
    pushers: BTreeMap<(usize, LeaseId), Pusher>,
    /// How new whatever is cached under a lease is at least.
    known: BTreeMap<LeaseId, u64>,
    /// What was settled, by anybody who may have answered.
    settled: u64,
}

impl World {
    fn new(fault: Fault) -> Self {
        let replica = || Replica {
            leases: Leases::new(LENGTH),
            versions: vec![0],
            led_from: Ticket(u64::MAX),
            led_until: None,
            forgetting: Vec::new(),
        };
        let frontend = |id: usize| Frontend {
            cache: holder(id as u64),
            since: Term(0),
            held: None,
        };
        let mut world = Self {
            fault,
            now: Instant::now(),
            version: 0,
            leader: 0,
            term: 0,
            record: BTreeSet::new(),
            replicas: (0..REPLICAS).map(|_| replica()).collect(),
            frontends: (0..FRONTENDS).map(frontend).collect(),
            caches: FRONTENDS as u64,
            sent: Vec::new(),
            arrived: Vec::new(),
            confirmed: Vec::new(),
            grants: Vec::new(),
            pushers: BTreeMap::new(),
            known: BTreeMap::new(),
            settled: 0,
        };
        world.elect(0);
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(passed) => self.now += ms(passed),
            Step::Trade => self.trade(),
            Step::Ask { frontend, newest } => self.ask(frontend, newest),
            Step::Arrive(index) => self.arrive(&index),
            Step::Confirm(index) => self.confirm(&index),
            Step::Serve(index) => self.serve(&index),
            Step::Grant(index) => self.grant(&index),
            Step::Push(index) => self.push(&index),
            Step::Invalidate(index) => self.invalidate(&index),
            Step::Acknowledge(index) => {
                if let Some(((replica, lease), pusher)) = pick(&mut self.pushers, &index)
                    && let Some(upto) = pusher.acknowledgements.pop_front()
                {
                    let leases = &mut self.replicas[replica].leases;
                    leases.acknowledge(lease, upto, self.now);
                }
            }
            Step::Disconnect(index) => {
                if let Some(((replica, lease), _)) = pick(&mut self.pushers, &index) {
                    self.replicas[replica].leases.disconnect(lease);
                    self.pushers.remove(&(replica, lease));
                }
            }
            Step::TakeIdle(at) => {
                let replica = &mut self.replicas[at];
                // One thing after the other.
                if replica.forgetting.is_empty() {
                    replica.forgetting = replica.leases.take_idle(self.now);
                    if self.fault == Fault::ForgottenWhileLeased {
                        replica.forgetting = self.record.iter().copied().collect();
                    }
                }
            }
            Step::Forget(at) => {
                let caches = std::mem::take(&mut self.replicas[at].forgetting);
                if at == self.leader {
                    self.record.retain(|cache| !caches.contains(cache));
                }
            }
            Step::Elect(at) => self.elect(at),
            Step::Resume if self.fault == Fault::ResumedAsNew => {
                let leases = &mut self.replicas[self.leader].leases;
                leases.next.term = Term(0);
                self.begin();
            }
            Step::Resume => self.begin(),
            Step::Restart(at) => {
                self.caches += 1;
                self.frontends[at] = Frontend {
                    cache: holder(self.caches),
                    since: Term(0),
                    held: None,
                };
            }
        }
        self.note_settled();
    }

    fn trade(&mut self) {
        self.version += 1;
        for replica in &mut self.replicas {
            let changed = vec![change(1, self.version)];
            replica.leases.touch(changed, self.now);
            replica.versions.push(self.version);
        }
    }

    fn elect(&mut self, at: usize) {
        let former = &mut self.replicas[self.leader];
        former.led_until = Some(former.leases.latest());
        self.term += 1;
        self.leader = at;
        let elected = &mut self.replicas[at];
        elected.led_until = None;
        // What it proposed in an earlier reign comes before this one in the log, or nowhere.
        elected.forgetting.clear();
        self.pushers.retain(|(replica, _), _| *replica != at);
        self.begin();
    }

    fn begin(&mut self) {
        let record = match self.fault {
            Fault::NobodyAwaited => BTreeSet::new(),
            _ => self.record.clone(),
        };
        let (term, replica) = (Term(self.term), &mut self.replicas[self.leader]);
        let from = replica.leases.begin(term, 0, Some(record), self.now);
        replica.led_from = from;
        replica.versions.push(self.version);
    }

    fn ask(&mut self, frontend: usize, newest: bool) {
        let replica = if newest {
            self.leader
        } else {
            (self.leader + 1) % REPLICAS
        };
        let term = self.replicas[replica].leases.next.term;
        let frontend = &mut self.frontends[frontend];
        frontend.since = frontend.since.max(term);
        if self.fault != Fault::NothingGivenUp {
            let since = frontend.since;
            frontend.held.take_if(|(lease, _)| lease.term < since);
        }
        self.sent.push(Request {
            cache: frontend.cache,
            replica,
            term,
            sent: self.now,
            held: frontend.held.map(|(lease, _)| lease),
        });
    }

    fn arrive(&mut self, index: &Index) {
        let Some(request) = take(&mut self.sent, index) else {
            return;
        };
        let (cache, leads) = (request.cache, request.replica == self.leader);
        let replica = &mut self.replicas[request.replica];
        if request.term != replica.leases.next.term {
            return;
        }
        replica.leases.call_in(cache, request.term);
        let admission = match replica.leases.admission(cache) {
            Some(admission) => admission,
            None if self.fault == Fault::Unregistered => replica.leases.admit(cache, self.now),
            // What is proposed by a leader that is none any more is never committed.
            None if leads && replica.forgetting.is_empty() => {
                self.record.insert(cache);
                replica.leases.admit(cache, self.now)
            }
            None => return,
        };
        self.arrived.push((request, admission));
    }

    fn confirm(&mut self, index: &Index) {
        if let Some((request, admission)) = take(&mut self.arrived, index) {
            let leads = request.replica == self.leader && request.term == Term(self.term);
            if leads || self.fault == Fault::Unconfirmed {
                self.confirmed.push((request, admission));
            }
        }
    }

    fn serve(&mut self, index: &Index) {
        let Some((request, admission)) = take(&mut self.confirmed, index) else {
            return;
        };
        let Request {
            cache,
            replica: at,
            sent,
            held,
            ..
        } = request;
        let replica = &mut self.replicas[at];
        let renewal = held.map(|held| (held, replica.leases.renew(held, cache, self.now)));
        match renewal {
            Some((held, Renewal::Renewed)) => self.grants.push((cache, held, sent)),
            Some((_, Renewal::Overdue)) => {}
            Some((_, Renewal::Unknown)) | None => {
                let admission = match self.fault {
                    Fault::AdmissionIgnored => replica.leases.admit(cache, self.now),
                    _ => admission,
                };
                let Some(lease) = replica.leases.grant(cache, admission, self.now) else {
                    return;
                };
                let told = replica.leases.latest();
                let pusher = Pusher {
                    cache,
                    told,
                    pushes: VecDeque::new(),
                    acknowledgements: VecDeque::new(),
                };
                self.pushers.insert((at, lease), pusher);
                // What is fetched under it is fetched from now on. As a deposed leader may know
                // less than its successor, only what it knew itself is taken for known.
                let known = replica.versions[usize::try_from(told.0).unwrap()];
                self.known.insert(lease, known);
                self.grants.push((cache, lease, sent));
            }
        }
    }

    fn grant(&mut self, index: &Index) {
        let Some((cache, lease, sent)) = take(&mut self.grants, index) else {
            return;
        };
        let until = sent + LENGTH;
        for frontend in self.frontends.iter_mut().filter(|it| it.cache == cache) {
            if lease.term >= frontend.since || self.fault == Fault::LateGrantTaken {
                frontend.held = Some((lease, until));
            }
        }
    }

    fn push(&mut self, index: &Index) {
        if let Some(((replica, lease), pusher)) = pick(&mut self.pushers, index)
            && let Some(push) = self.replicas[replica].leases.push(lease, pusher.told)
        {
            pusher.told = push.upto;
            let version = self.replicas[replica].versions[usize::try_from(push.upto.0).unwrap()];
            pusher.pushes.push_back((push.upto, version));
        }
    }

    fn invalidate(&mut self, index: &Index) {
        if let Some(((_, lease), pusher)) = pick(&mut self.pushers, index)
            && let Some((upto, version)) = pusher.pushes.pop_front()
        {
            // A cache that is gone acknowledges nothing.
            if self.frontends.iter().any(|it| it.cache == pusher.cache) {
                let known = self.known.entry(lease).or_default();
                *known = version.max(*known);
                pusher.acknowledgements.push_back(upto);
            }
        }
    }

    fn note_settled(&mut self) {
        for replica in &mut self.replicas {
            let settled = replica.leases.settle(self.now);
            if settled < replica.led_from {
                continue;
            }
            let settled = replica.led_until.map_or(settled, |last| settled.min(last));
            let version = replica.versions[usize::try_from(settled.0).unwrap()];
            self.settled = self.settled.max(version);
        }
    }

    /// What is settled is known to everybody who may still serve from a cache.
    fn check(&self) -> Result<(), TestCaseError> {
        for Frontend { cache, held, .. } in &self.frontends {
            if let Some((lease, until)) = held
                && self.now < *until
            {
                let known = self.known[lease];
                prop_assert!(
                    known >= self.settled,
                    "version {} is settled, and {cache} goes by {lease:?} and knows {known}",
                    self.settled
                );
            }
        }
        Ok(())
    }
}

fn pick<'a, K: Copy + Ord, V>(
    map: &'a mut BTreeMap<K, V>,
    index: &Index,
) -> Option<(K, &'a mut V)> {
    let at = (!map.is_empty()).then(|| index.index(map.len()))?;
    map.iter_mut().nth(at).map(|(key, value)| (*key, value))
}

fn take<T>(from: &mut Vec<T>, index: &Index) -> Option<T> {
    let at = (!from.is_empty()).then(|| index.index(from.len()))?;
    Some(from.remove(at))
}

/// Runs `cases` random schedules, the same ones each time. What fails is made simpler in `simplify`
/// attempts at most.
fn schedules(
    cases: u32,
    simplify: u32,
    run: impl Fn(Vec<Step>) -> Result<(), TestCaseError>,
) -> Result<(), TestError<Vec<Step>>> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: simplify,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng).run(&prop::collection::vec(step(), 1..200), run)
}

fn check(fault: Fault, cases: u32, simplify: u32) -> Result<(), TestError<Vec<Step>>> {
    schedules(cases, simplify, |steps| {
        let mut world = World::new(fault);
        for step in steps {
            world.step(step);
            world.check()?;
        }
        Ok(())
    })
}

#[test]
fn nothing_settles_that_a_live_cache_may_not_know() {
    if let Err(error) = check(Fault::None, 5_000, 20_000) {
        panic!("{error}");
    }
}

#[test]
fn the_model_finds_what_is_broken_on_purpose() {
    for fault in [
        Fault::NobodyAwaited,
        Fault::NothingGivenUp,
        Fault::LateGrantTaken,
        Fault::Unconfirmed,
        Fault::Unregistered,
        Fault::ForgottenWhileLeased,
        Fault::AdmissionIgnored,
        Fault::ResumedAsNew,
    ] {
        let found = check(fault, 20_000, 0);
        assert!(found.is_err(), "{fault:?} goes unnoticed");
    }
}

#[test]
fn everything_settles_within_one_and_a_half_lengths_whatever_the_holders_do() {
    let outcome = schedules(2_000, 20_000, |steps| {
        let mut world = World::new(Fault::None);
        let mut given = VecDeque::new();
        for step in steps {
            if let Step::Elect(_) = step {
                // The tickets are another replica's from here on, and so is the wait.
                given.clear();
            }
            world.step(step);
            let leases = &mut world.replicas[world.leader].leases;
            let (latest, now) = (leases.latest(), world.now);
            if given.back().is_none_or(|(ticket, _)| *ticket < latest) {
                given.push_back((latest, now));
            }
            let settled = leases.settle(now);
            while given.front().is_some_and(|(ticket, _)| *ticket <= settled) {
                given.pop_front();
            }
            if let Some((ticket, at)) = given.front() {
                let waited = now - *at;
                prop_assert!(waited < LENGTH * 3 / 2, "{ticket:?} has waited {waited:?}");
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
