//! Does to a world what a schedule says, when it says so, and undoes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bazaar_history::{FaultChange, FaultEvent};
use bazaar_rpc::{ServiceKind, ServiceName};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::harm::{Harm, Links, Names};
use super::schedule::{Fault, Schedule, Step, Way, Whom};
use crate::{Fsync, Settings, World};

/// How long machines are apart, and together, while their links flap.
const FLAP: Duration = Duration::from_millis(150);

/// How long a process is down when everything is restarted, one after the other.
const DOWN: Duration = Duration::from_millis(150);

/// One thing that is done to the world.
#[derive(Clone, Debug)]
enum Act {
    Kill(Names),
    /// They may refuse what will be left on their disks.
    Doubt(Names),
    LoseDisks(Names),
    Replace(Names),
    CutPower(Names),
    Stop(Names),
    Start(Names),
    Pause(Names),
    Resume(Names),
    Cut(Links),
    Join(Links),
    Lose(Links, f64),
    Slow(Links, Duration),
    Sync(Names, Fsync),
    SyncTime(Names, (Duration, Duration)),
    Clock(Names, i64),
    /// The fault is over.
    End,
}

/// A fault under way.
struct Active {
    number: u64,
    /// What is still to be done, in the order of time.
    acts: Vec<(Duration, Act)>,
}

/// Injects the faults of one schedule.
pub(crate) struct Injector {
    /// In the reverse order of their beginnings.
    pending: Vec<Step>,
    active: Vec<Active>,
    harm: Harm,
    rng: SmallRng,
    begun: u64,
    /// What is usual, for the end of a fault.
    latency: Duration,
    sync_time: (Duration, Duration),
    /// What was done, for the history.
    pub(crate) events: Vec<FaultEvent>,
    /// How often each kind of fault was injected.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Injector {
    /// Injects the faults of `schedule` into a world of `settings`, whose cluster serves since
    /// `start`.
    pub(crate) fn new(schedule: &Schedule, settings: &Settings, start: Duration) -> Self {
        let shifted = schedule.steps.iter().map(|step| Step {
            begins: start + step.begins,
            ..step.clone()
        });
        Self {
            pending: shifted.rev().collect(),
            active: Vec::new(),
            harm: Harm::default(),
            rng: SmallRng::seed_from_u64(settings.seed ^ 0x0012_7ec7),
            begun: 0,
            latency: settings.latency.1 / 2,
            sync_time: settings.sync_time,
            events: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, world: &mut World) {
        let now = world.now();
        while self.pending.last().is_some_and(|step| step.begins <= now) {
            let step = self.pending.pop().expect("it was there just now");
            self.begin(&step, world);
        }
        for mut active in std::mem::take(&mut self.active) {
            while active.acts.first().is_some_and(|(at, _)| *at <= now) {
                let (_, act) = active.acts.remove(0);
                if let Act::End = act {
                    self.note(world, active.number, FaultChange::End {});
                } else {
                    self.act(act, world);
                }
            }
            if !active.acts.is_empty() {
                self.active.push(active);
            }
        }
        self.harm.revive(world);
    }

    /// Whether there is a reason for which `name` may end by itself.
    pub(crate) fn excuses(&self, name: ServiceName) -> bool {
        self.harm.excuses(name)
    }

    /// The replicas whose disks have lied: what they knew may be gone, and is no fault of theirs.
    pub(crate) fn lied(&self) -> &Names {
        &self.harm.lied
    }

    /// Whether `name` may know less than it did, because of what happened to its disk.
    pub(crate) fn may_forget(&self, name: ServiceName) -> bool {
        self.harm.may_forget(name)
    }

    fn begin(&mut self, step: &Step, world: &mut World) {
        let number = self.begun;
        self.begun += 1;
        *self.counts.entry(step.fault.kind().into()).or_default() += 1;
        let mut acts = self.plan(step, world);
        acts.push((step.begins + step.lasts, Act::End));
        acts.sort_by_key(|(at, _)| *at);
        let doing: Vec<_> = acts.iter().take(2).map(|(_, act)| act).collect();
        let what = format!("{:?}: {doing:?}", step.fault);
        self.note(world, number, FaultChange::Begin { what });
        self.active.push(Active { number, acts });
    }

    fn note(&mut self, world: &World, fault: u64, event: FaultChange) {
        world.note(format_args!("fault {fault}: {event:?}"));
        let at = u64::try_from(world.now().as_nanos()).unwrap_or(u64::MAX);
        self.events.push(FaultEvent { at, fault, event });
    }

    /// What is to be done for a fault, and when.
    fn plan(&mut self, step: &Step, world: &World) -> Vec<(Duration, Act)> {
        let (begin, end) = (step.begins, step.begins + step.lasts);
        let soon = |rng: &mut SmallRng| begin + Duration::from_millis(rng.random_range(0..60));
        match &step.fault {
            Fault::Kill(whom) => {
                let names = self.find(whom, world);
                vec![(begin, Act::Kill(names.clone())), (end, Act::Start(names))]
            }
            Fault::PowerCut(whom) => {
                let names = self.find(whom, world);
                let start = Act::Start(names.clone());
                vec![(begin, Act::CutPower(names)), (end, start)]
            }
            Fault::Pause(whom) => {
                let names = self.find(whom, world);
                vec![
                    (begin, Act::Pause(names.clone())),
                    (end, Act::Resume(names)),
                ]
            }
            Fault::Isolate(whom, way) => {
                let names = self.find(whom, world);
                let links = self.around(&names, *way, world);
                vec![(begin, Act::Cut(links.clone())), (end, Act::Join(links))]
            }
            Fault::Cut(one, other, way) => {
                let (ones, others) = (self.find(one, world), self.find(other, world));
                let links = between(&ones, &others, *way);
                vec![(begin, Act::Cut(links.clone())), (end, Act::Join(links))]
            }
            Fault::Flap(whom) => {
                let names = self.find(whom, world);
                let links = self.around(&names, Way::Both, world);
                let mut acts = Vec::new();
                let mut at = begin;
                while at < end {
                    acts.push((at, Act::Cut(links.clone())));
                    let apart = FLAP.mul_f64(self.rng.random_range(0.1..1.0));
                    acts.push(((at + apart).min(end), Act::Join(links.clone())));
                    at += apart + FLAP.mul_f64(self.rng.random_range(0.1..1.0));
                }
                acts
            }
            Fault::Lossy(whom, loss) => {
                let names = self.find(whom, world);
                let links = self.around(&names, Way::Both, world);
                vec![
                    (begin, Act::Lose(links.clone(), *loss)),
                    (end, Act::Lose(links, 0.0)),
                ]
            }
            Fault::Slow(whom, latency) => {
                let names = self.find(whom, world);
                let links = self.around(&names, Way::Out, world);
                let slow = Act::Slow(links.clone(), *latency);
                vec![(begin, slow), (end, Act::Slow(links, self.latency))]
            }
            Fault::SlowDisk(whom, longest) => {
                let names = self.find(whom, world);
                let slow = Act::SyncTime(names.clone(), (*longest / 10, *longest));
                vec![(begin, slow), (end, Act::SyncTime(names, self.sync_time))]
            }
            Fault::FailingDisk(whom) => {
                let names = self.find(whom, world);
                let fail = Act::Sync(names.clone(), Fsync::Fails);
                vec![(begin, fail), (end, Act::Sync(names, Fsync::Works))]
            }
            Fault::LyingDisk(whom) => {
                let names = self.find(whom, world);
                let cut = end.saturating_sub(DOWN);
                vec![
                    (begin, Act::Sync(names.clone(), Fsync::Lies)),
                    (cut, Act::Doubt(names.clone())),
                    (cut, Act::CutPower(names.clone())),
                    (cut, Act::Sync(names.clone(), Fsync::Works)),
                    (end, Act::Start(names)),
                ]
            }
            Fault::LostDisk(whom) => {
                let names = self.find(whom, world);
                let replace = Act::Replace(names.clone());
                vec![(begin, Act::LoseDisks(names)), (end, replace)]
            }
            Fault::Amnesia(kind) => {
                let leader = self.find(&Whom::Leader(*kind), world);
                let mut others = self.find(&Whom::All(*kind), world);
                others.retain(|name| !leader.contains(name));
                let behind: Names = others.pop_first().into_iter().collect();
                let links = self.around(&behind, Way::Both, world);
                let middle = end - step.lasts / 2;
                vec![
                    (begin, Act::Cut(links.clone())),
                    (middle, Act::LoseDisks(others.clone())),
                    (middle, Act::Kill(leader.clone())),
                    (middle, Act::Join(links)),
                    (end, Act::Start(leader)),
                    (end, Act::Replace(others)),
                ]
            }
            Fault::ClockJump(whom, error) => {
                let names = self.find(whom, world);
                vec![
                    (begin, Act::Clock(names.clone(), *error)),
                    (end, Act::Clock(names, 0)),
                ]
            }
            Fault::IsolatedClockJump(whom, error) => {
                let names = self.find(whom, world);
                let links = self.around(&names, Way::Both, world);
                vec![
                    (begin, Act::Cut(links.clone())),
                    (soon(&mut self.rng), Act::Clock(names.clone(), *error)),
                    (end, Act::Join(links)),
                    (end, Act::Clock(names, 0)),
                ]
            }
            Fault::RollingRestart => self.rolling(begin, step.lasts, world),
            Fault::OrphanedLeases => {
                let holders = self.find(&Whom::Any(ServiceKind::Frontend), world);
                let catalogs = self.find(&Whom::All(ServiceKind::Catalog), world);
                let leader = self.find(&Whom::Leader(ServiceKind::Catalog), world);
                let links = between(&holders, &catalogs, Way::Both);
                vec![
                    (begin, Act::Cut(links.clone())),
                    (begin, Act::Kill(leader.clone())),
                    (end, Act::Join(links)),
                    (end, Act::Start(leader)),
                ]
            }
            Fault::HeldUp => {
                let leader = self.find(&Whom::Leader(ServiceKind::Order), world);
                let catalogs = self.find(&Whom::All(ServiceKind::Catalog), world);
                let links = between(&leader, &catalogs, Way::Out);
                let arrival = end.saturating_sub(FLAP);
                vec![
                    (begin, Act::Cut(links.clone())),
                    (begin + FLAP, Act::Pause(leader.clone())),
                    (arrival, Act::Join(links)),
                    (end, Act::Resume(leader)),
                ]
            }
        }
    }

    /// Every process ends, in good order or not, and starts again.
    fn rolling(&mut self, begin: Duration, lasts: Duration, world: &World) -> Vec<(Duration, Act)> {
        let mut names: Vec<_> = world.names().collect();
        names.shuffle(&mut self.rng);
        let share = (lasts - DOWN) / u32::try_from(names.len()).unwrap_or(u32::MAX);
        let mut acts = Vec::new();
        for (turn, name) in (0..).zip(names) {
            let at = begin + share * turn;
            let one: Names = [name].into();
            let end: fn(Names) -> Act = if self.rng.random() {
                Act::Kill
            } else {
                Act::Stop
            };
            acts.push((at, end(one.clone())));
            acts.push((at + DOWN, Act::Start(one)));
        }
        acts
    }

    fn act(&mut self, act: Act, world: &mut World) {
        let harm = &mut self.harm;
        match act {
            Act::Kill(names) => harm.end(world, &names, World::kill),
            Act::Doubt(names) => harm.doubt(&names),
            Act::LoseDisks(names) => harm.lose_disks(world, &names),
            Act::Replace(names) => harm.replace(world, &names),
            Act::CutPower(names) => harm.end(world, &names, World::cut_power),
            Act::Stop(names) => harm.end(world, &names, World::stop),
            Act::Start(names) => harm.start(&names),
            Act::Pause(names) => harm.pause(world, &names),
            Act::Resume(names) => harm.resume(world, &names),
            Act::Cut(links) => harm.cut(world, &links),
            Act::Join(links) => harm.join(world, &links),
            Act::Lose(links, loss) => harm.lose(world, &links, loss),
            Act::Slow(links, latency) => {
                for (from, to) in links {
                    world.slow(from, to, latency);
                }
            }
            Act::Sync(names, fsync) => harm.sync(world, &names, fsync),
            Act::SyncTime(names, (shortest, longest)) => {
                for name in names {
                    world.machine(name).disk().set_sync_time(shortest, longest);
                }
            }
            Act::Clock(names, error) => {
                for name in names {
                    world.note(format_args!("the clock of {name} is off by {error} ms"));
                    world.machine(name).set_clock_error(error);
                }
            }
            Act::End => {}
        }
    }

    /// The machines that are meant, at this moment.
    fn find(&mut self, whom: &Whom, world: &World) -> Names {
        let of = |kind| world.names().filter(move |name| name.kind == kind);
        let found: Vec<ServiceName> = match whom {
            Whom::Named(name) => vec![*name],
            Whom::All(kind) => of(*kind).collect(),
            Whom::Leader(kind) => match world.leader(*kind) {
                Some(leader) => vec![leader],
                None => return self.find(&Whom::Any(*kind), world),
            },
            Whom::Follower(kind) => {
                let leader = world.leader(*kind);
                let followers: Vec<_> = of(*kind).filter(|name| Some(*name) != leader).collect();
                self.some(followers, 1)
            }
            Whom::Any(kind) => self.some(of(*kind).collect(), 1),
            Whom::Most(kind) => {
                let all: Vec<_> = of(*kind).collect();
                let most = all.len() / 2 + 1;
                self.some(all, most)
            }
            Whom::These(parts) => {
                return parts
                    .iter()
                    .flat_map(|part| self.find(part, world))
                    .collect();
            }
        };
        found.into_iter().collect()
    }

    fn some(&mut self, mut among: Vec<ServiceName>, count: usize) -> Vec<ServiceName> {
        among.shuffle(&mut self.rng);
        among.truncate(count);
        among
    }

    /// The links between these machines and all others. Clients are cut off from nobody.
    fn around(&self, names: &Names, way: Way, world: &World) -> Links {
        let others: BTreeSet<_> = world.names().filter(|name| !names.contains(name)).collect();
        between(names, &others, way)
    }
}

/// The links between the ones and the others, as seen from the ones.
fn between(ones: &Names, others: &Names, way: Way) -> Links {
    let mut links = Links::new();
    for one in ones {
        for other in others.iter().filter(|other| *other != one) {
            if way != Way::Out {
                links.push((*other, *one));
            }
            if way != Way::In {
                links.push((*one, *other));
            }
        }
    }
    links
}
