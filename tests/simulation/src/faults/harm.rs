//! The harm that a world has suffered, counted, so that of two faults at once the one that ends first
//! does not undo the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::replica::Role;

use crate::{Fsync, Probe, World};

/// Some processes, or their machines.
pub(super) type Names = BTreeSet<ServiceName>;

/// Links, each in one direction: from the first to the second.
pub(super) type Links = Vec<(ServiceName, ServiceName)>;

/// How long after its disk failed a process may still end for that reason.
const AFTERMATH: Duration = Duration::from_secs(2);

/// How long a process that ended stays so before it is started again, as a supervisor does.
const REST: Duration = Duration::from_millis(200);

/// A replica whose disk is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It has an empty disk; where it is started, it is to be refused.
    Empty,
    /// The operator is to have its group remove it.
    Removing,
    /// The replica with the empty disk runs.
    Joining,
}

/// What is wrong with a world.
#[derive(Default)]
pub(super) struct Harm {
    /// How many faults hold each process down.
    down: BTreeMap<ServiceName, u32>,
    /// How many faults hold each process still.
    paused: BTreeMap<ServiceName, u32>,
    /// What is wrong with each link.
    links: BTreeMap<(ServiceName, ServiceName), (u32, f64)>,
    /// The processes whose disks fail, or did until a while ago: until when that excuses them.
    failing: BTreeMap<ServiceName, Duration>,
    /// The processes whose disks have lied.
    pub(super) lied: Names,
    /// Those of them whose power was cut, until they serve again: what is left may be of no use.
    doubtful: Names,
    /// The replicas whose disks are lost, until the ones that take their places have votes.
    lost: BTreeMap<ServiceName, Loss>,
    /// The replicas whose disks were ever lost.
    replaced: Names,
    /// The processes that are down and that nobody holds down, and when they are started again.
    resting: BTreeMap<ServiceName, Duration>,
    now: Duration,
}

impl Harm {
    /// Whether there is a reason for which `name` may end by itself, or be down.
    pub(super) fn excuses(&self, name: ServiceName) -> bool {
        self.down.contains_key(&name)
            || self.lied.contains(&name)
            || matches!(self.lost.get(&name), Some(Loss::Empty | Loss::Removing))
            || self
                .failing
                .get(&name)
                .is_some_and(|until| self.now < *until)
    }

    /// Ends processes, and holds them down.
    pub(super) fn end(
        &mut self,
        world: &mut World,
        names: &Names,
        end: fn(&mut World, ServiceName),
    ) {
        for name in names {
            *self.down.entry(*name).or_default() += 1;
            if world.is_running(*name) {
                end(world, *name);
            }
        }
    }

    /// Holds processes down no longer.
    pub(super) fn start(&mut self, names: &Names) {
        for name in names {
            release(&mut self.down, *name);
            self.resting.insert(*name, self.now);
        }
    }

    /// Expects that processes which are about to lose what their disks never had may refuse the rest.
    pub(super) fn doubt(&mut self, names: &Names) {
        self.doubtful.extend(names);
    }

    /// Ends replicas, and gives them empty disks; but for those whose groups have lost one
    /// that is not replaced yet.
    pub(super) fn lose_disks(&mut self, world: &mut World, names: &Names) {
        for name in names {
            if self.lost.keys().any(|lost| lost.kind == name.kind) {
                continue;
            }
            if world.is_running(*name) {
                world.kill(*name);
            }
            self.lose_disk(world, *name);
        }
    }

    fn lose_disk(&mut self, world: &mut World, name: ServiceName) {
        world.replace_disk(name);
        self.lost.insert(name, Loss::Empty);
        self.replaced.insert(name);
    }

    /// Has replicas with empty disks take the places of those whose disks are lost.
    pub(super) fn replace(&mut self, world: &mut World, names: &Names) {
        for name in names {
            if self.lost.get(name) == Some(&Loss::Empty) {
                if world.is_running(*name) {
                    world.kill(*name);
                }
                self.lost.insert(*name, Loss::Removing);
                world.remove(*name);
            }
        }
    }

    /// Whether `name` may know less than it did, through no fault of its own.
    pub(super) fn may_forget(&self, name: ServiceName) -> bool {
        self.lied.contains(&name) || self.replaced.contains(&name)
    }

    /// Starts the processes that are down and that nobody holds down. One that refused what its disk
    /// left of its files is replaced first, as its message says to do: a group of three can do without
    /// one of its replicas, and not without two.
    pub(super) fn revive(&mut self, world: &mut World) {
        self.now = world.now();
        let names: Vec<_> = world.names().collect();
        for name in names {
            if self.down.contains_key(&name) || !self.may_run(world, name) {
                continue;
            }
            if world.is_running(name) {
                if world.probe(name).is_some() {
                    self.doubtful.remove(&name);
                }
                continue;
            }
            let has_ended = !self.resting.contains_key(&name);
            if has_ended && self.doubtful.remove(&name) {
                self.lose_disk(world, name);
                self.replace(world, &[name].into());
                continue;
            }
            let due = *self.resting.entry(name).or_insert(self.now + REST);
            if self.now >= due {
                self.resting.remove(&name);
                world.start(name);
            }
        }
    }

    /// Whether `name` may run; goes on with its replacement where that is under way.
    fn may_run(&mut self, world: &mut World, name: ServiceName) -> bool {
        match self.lost.get(&name) {
            Some(Loss::Removing) => {
                if world.has_removed(name) {
                    self.lost.insert(name, Loss::Joining);
                    self.resting.remove(&name);
                    world.start(name);
                }
                false
            }
            Some(Loss::Joining) => {
                let status = world.probe(name).as_ref().and_then(Probe::status);
                if status.is_some_and(|it| matches!(it.role, Role::Follower | Role::Leader)) {
                    world.note(format_args!("{name} is replaced"));
                    self.lost.remove(&name);
                }
                true
            }
            Some(Loss::Empty) | None => true,
        }
    }

    pub(super) fn pause(&mut self, world: &mut World, names: &Names) {
        for name in names {
            *self.paused.entry(*name).or_default() += 1;
            world.pause(*name);
        }
    }

    pub(super) fn resume(&mut self, world: &mut World, names: &Names) {
        for name in names {
            if release(&mut self.paused, *name) {
                world.resume(*name);
            }
        }
    }

    pub(super) fn cut(&mut self, world: &mut World, links: &Links) {
        for link in links {
            let (cuts, _) = self.links.entry(*link).or_default();
            *cuts += 1;
            if *cuts == 1 {
                world.cut_one_way(link.0, link.1);
            }
        }
    }

    pub(super) fn join(&mut self, world: &mut World, links: &Links) {
        for link in links {
            let (cuts, _) = self.links.entry(*link).or_default();
            *cuts = cuts.saturating_sub(1);
            if *cuts == 0 {
                self.mend(world, *link);
            }
        }
    }

    pub(super) fn lose(&mut self, world: &mut World, links: &Links, loss: f64) {
        for link in links {
            self.links.entry(*link).or_default().1 = loss;
            world.lose(link.0, link.1, loss);
        }
    }

    /// Leaves of the harm to a pair of machines what other faults still do to it.
    fn mend(&mut self, world: &mut World, (from, to): (ServiceName, ServiceName)) {
        world.mend(from, to);
        for link in [(from, to), (to, from)] {
            let (cuts, loss) = self.links.get(&link).copied().unwrap_or_default();
            if cuts > 0 {
                world.cut_one_way(link.0, link.1);
            }
            if loss > 0.0 {
                world.lose(link.0, link.1, loss);
            }
        }
    }

    pub(super) fn sync(&mut self, world: &mut World, names: &Names, fsync: Fsync) {
        for name in names {
            world.note(format_args!("syncs of {name}: {fsync:?}"));
            world.machine(*name).disk().set_fsync(fsync);
            match fsync {
                Fsync::Works => {
                    if let Some(until) = self.failing.get_mut(name) {
                        *until = world.now() + AFTERMATH;
                    }
                }
                Fsync::Fails => {
                    self.failing.insert(*name, Duration::MAX);
                }
                Fsync::Lies => {
                    self.lied.insert(*name);
                }
            }
        }
    }
}

/// One fault less holds `name`; says whether it was the last one.
fn release(held: &mut BTreeMap<ServiceName, u32>, name: ServiceName) -> bool {
    match held.get_mut(&name) {
        Some(count) if *count > 1 => {
            *count -= 1;
            false
        }
        _ => held.remove(&name).is_some(),
    }
}
