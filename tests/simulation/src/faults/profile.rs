//! Which faults a run has, and how often.

use std::fmt;
use std::time::Duration;

use bazaar_rpc::ServiceKind::{Catalog, Frontend, Order};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::Settings;

use super::schedule::{Fault, Way, Whom, millis};

/// A mixture of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Profile {
    /// All of them, two at a time.
    Mixed,
    /// Processes are killed.
    Kill,
    /// Machines lose their power: one, most or all of a group.
    Power,
    /// Processes are stopped and go on.
    Pause,
    /// The network falls apart, in every way.
    Partition,
    /// Links are slow and uneven.
    Slow,
    /// Disks are slow, fail, or lie.
    Disk,
    /// The time of day jumps, also where a machine is cut off.
    Clock,
    /// Everything is restarted, again and again.
    Restart,
    /// Followers are away for long, and then lead.
    CatchUp,
    /// A majority of a group is away for longer than any client waits.
    Outage,
    /// Catalog leaders change while lease holders are cut off from them.
    Lease,
    /// Order leaders are stopped for long enough to be replaced, with batches under way, and go on.
    Depose,
    /// Disks are lost for good, and replicas replaced while other things happen.
    Replace,
}

type Draw = fn(&mut SmallRng) -> (Fault, Duration);

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Mixed,
        Self::Kill,
        Self::Power,
        Self::Pause,
        Self::Partition,
        Self::Slow,
        Self::Disk,
        Self::Clock,
        Self::Restart,
        Self::CatchUp,
        Self::Outage,
        Self::Lease,
        Self::Depose,
        Self::Replace,
    ];

    /// The profile of run number `seed`, where none is asked for: every other run has all faults.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) {
            return Self::Mixed;
        }
        let special = &Self::ALL[1..];
        let turn = usize::try_from(seed / 2 % special.len() as u64).unwrap_or_default();
        special[turn]
    }

    /// The cluster in which its faults happen.
    #[must_use]
    pub fn settings(self, seed: u64) -> Settings {
        let mut settings = Settings::from_seed(seed);
        if self == Self::Lease {
            // What is granted for longer outlives a change of leaders.
            settings.lease *= 3;
        }
        settings
    }

    /// How many faults there are at a time, at the most.
    pub(super) fn lanes(self) -> usize {
        match self {
            // What happens to a replica whose disk has lied is to be over before anything else does.
            Self::Disk
            | Self::Restart
            | Self::CatchUp
            | Self::Outage
            | Self::Lease
            | Self::Depose => 1,
            Self::Mixed
            | Self::Kill
            | Self::Power
            | Self::Pause
            | Self::Partition
            | Self::Slow
            | Self::Clock
            | Self::Replace => 2,
        }
    }

    /// The pause between two faults, at the least and at the most, in milliseconds.
    pub(super) fn pause(self) -> (u64, u64) {
        match self {
            Self::Disk => (1500, 3000),
            Self::Clock | Self::Slow | Self::Lease | Self::Depose => (100, 800),
            Self::Mixed
            | Self::Kill
            | Self::Power
            | Self::Pause
            | Self::Partition
            | Self::Restart
            | Self::CatchUp
            | Self::Outage
            | Self::Replace => (200, 2000),
        }
    }

    /// The share of requests whose clients wait until they are told something, however long it takes.
    pub(crate) fn waiting(self) -> f64 {
        match self {
            // What is said at the end of the patience of a frontend is said in this one.
            Self::Outage => 0.9,
            Self::Mixed
            | Self::Kill
            | Self::Power
            | Self::Pause
            | Self::Partition
            | Self::Slow
            | Self::Disk
            | Self::Clock
            | Self::Restart
            | Self::CatchUp
            | Self::Lease
            | Self::Depose
            | Self::Replace => 0.08,
        }
    }

    /// Draws one fault, and how long it lasts.
    pub(super) fn fault(self, rng: &mut SmallRng) -> (Fault, Duration) {
        let among = self.draws();
        among[rng.random_range(0..among.len())](rng)
    }

    fn draws(self) -> &'static [Draw] {
        match self {
            Self::Mixed => &[
                kill,
                kill,
                power,
                power,
                pause,
                pause,
                isolate,
                isolate,
                cut,
                flap,
                lossy,
                slow,
                slow_disk,
                failing_disk,
                lost_disk,
                clock,
                isolated_clock,
                company,
                orphans,
                held_up,
                rolling,
            ],
            Self::Kill => &[kill],
            Self::Power => &[power, power, slow_disks],
            Self::Pause => &[pause],
            Self::Partition => &[isolate, isolate, company, cut, flap],
            Self::Slow => &[slow, lossy, lossy],
            Self::Disk => &[slow_disk, failing_disk, lying_disk],
            Self::Clock => &[clock, isolated_clock, isolated_clock],
            Self::Restart => &[rolling],
            Self::CatchUp => &[away, away, kill_order_leader],
            Self::Outage => &[outage],
            Self::Lease => &[orphans, orphans, company],
            Self::Depose => &[depose, held_up, held_up],
            Self::Replace => &[
                lost_disk, lost_disk, amnesia, amnesia, kill, power, pause, isolate, slow_disk,
            ],
        }
    }
}

/// One replica of either group, a leader as often as not; or a frontend.
fn one(rng: &mut SmallRng) -> Whom {
    match rng.random_range(0..9) {
        0 | 1 => Whom::Leader(Order),
        2 => Whom::Follower(Order),
        3 | 4 => Whom::Leader(Catalog),
        5 => Whom::Follower(Catalog),
        6 => Whom::Any(Order),
        7 => Whom::Any(Catalog),
        _ => Whom::Any(Frontend),
    }
}

/// One, most or all replicas of a group.
fn some(rng: &mut SmallRng) -> Whom {
    let kind = if rng.random() { Order } else { Catalog };
    match rng.random_range(0..4) {
        0 => Whom::Leader(kind),
        1 => Whom::Any(kind),
        2 => Whom::Most(kind),
        _ if rng.random() => Whom::All(kind),
        _ => Whom::These(vec![Whom::All(Order), Whom::All(Catalog)]),
    }
}

fn way(rng: &mut SmallRng) -> Way {
    match rng.random_range(0..4) {
        0 => Way::In,
        1 => Way::Out,
        _ => Way::Both,
    }
}

fn kill(rng: &mut SmallRng) -> (Fault, Duration) {
    let whom = if rng.random_ratio(1, 8) {
        some(rng)
    } else {
        one(rng)
    };
    (Fault::Kill(whom), millis(rng, 50, 3000))
}

fn power(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::PowerCut(some(rng)), millis(rng, 50, 2000))
}

fn pause(rng: &mut SmallRng) -> (Fault, Duration) {
    let longest = if rng.random_ratio(1, 4) { 5000 } else { 1000 };
    (Fault::Pause(one(rng)), millis(rng, 50, longest))
}

fn depose(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::Pause(Whom::Leader(Order)), millis(rng, 250, 1500))
}

fn held_up(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::HeldUp, millis(rng, 800, 2000))
}

fn isolate(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::Isolate(one(rng), way(rng)), millis(rng, 50, 3000))
}

/// A leader is cut off together with a frontend, or the frontend from the leader alone.
fn company(rng: &mut SmallRng) -> (Fault, Duration) {
    let leader = Whom::Leader(if rng.random_ratio(3, 4) {
        Catalog
    } else {
        Order
    });
    let together = Whom::These(vec![leader, Whom::Any(Frontend)]);
    (Fault::Isolate(together, Way::Both), millis(rng, 300, 3000))
}

fn cut(rng: &mut SmallRng) -> (Fault, Duration) {
    let leader = Whom::Leader(if rng.random() { Catalog } else { Order });
    (
        Fault::Cut(one(rng), leader, way(rng)),
        millis(rng, 50, 3000),
    )
}

fn flap(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::Flap(one(rng)), millis(rng, 500, 3000))
}

fn lossy(rng: &mut SmallRng) -> (Fault, Duration) {
    let loss = if rng.random() {
        rng.random_range(0.1..0.9)
    } else {
        rng.random_range(0.9..0.985)
    };
    (Fault::Lossy(one(rng), loss), millis(rng, 500, 4000))
}

fn slow(rng: &mut SmallRng) -> (Fault, Duration) {
    let delay = millis(rng, 5, 300);
    (Fault::Slow(one(rng), delay), millis(rng, 500, 4000))
}

fn slow_disk(rng: &mut SmallRng) -> (Fault, Duration) {
    let time = millis(rng, 5, 500);
    (
        Fault::SlowDisk(one_replica(rng), time),
        millis(rng, 500, 4000),
    )
}

fn slow_disks(rng: &mut SmallRng) -> (Fault, Duration) {
    let kind = if rng.random() { Order } else { Catalog };
    let time = millis(rng, 20, 300);
    (
        Fault::SlowDisk(Whom::All(kind), time),
        millis(rng, 500, 3000),
    )
}

fn outage(rng: &mut SmallRng) -> (Fault, Duration) {
    let most = Whom::Most(if rng.random_ratio(3, 4) {
        Order
    } else {
        Catalog
    });
    let fault = match rng.random_range(0..3) {
        0 => Fault::Kill(most),
        1 => Fault::Pause(most),
        _ => Fault::Isolate(most, Way::Both),
    };
    (fault, millis(rng, 10_500, 12_000))
}

fn failing_disk(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::FailingDisk(one_replica(rng)), millis(rng, 100, 2000))
}

fn lying_disk(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::LyingDisk(one_replica(rng)), millis(rng, 300, 2000))
}

fn lost_disk(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::LostDisk(one_replica(rng)), millis(rng, 50, 3000))
}

fn amnesia(rng: &mut SmallRng) -> (Fault, Duration) {
    let kind = if rng.random() { Order } else { Catalog };
    (Fault::Amnesia(kind), millis(rng, 800, 3000))
}

fn one_replica(rng: &mut SmallRng) -> Whom {
    let kind = if rng.random() { Order } else { Catalog };
    if rng.random() {
        Whom::Leader(kind)
    } else {
        Whom::Any(kind)
    }
}

/// A jump of seconds, forward or back.
fn jump(rng: &mut SmallRng) -> i64 {
    let size = rng.random_range(200..20_000);
    if rng.random() { size } else { -size }
}

fn clock(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::ClockJump(one(rng), jump(rng)), millis(rng, 50, 2000))
}

fn isolated_clock(rng: &mut SmallRng) -> (Fault, Duration) {
    let fault = Fault::IsolatedClockJump(Whom::Any(Frontend), jump(rng));
    (fault, millis(rng, 400, 2500))
}

fn rolling(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::RollingRestart, millis(rng, 3000, 8000))
}

fn orphans(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::OrphanedLeases, millis(rng, 300, 1500))
}

/// Long enough that the log has been purged meanwhile.
fn away(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::Kill(Whom::Follower(Order)), millis(rng, 3000, 7000))
}

fn kill_order_leader(rng: &mut SmallRng) -> (Fault, Duration) {
    (Fault::Kill(Whom::Leader(Order)), millis(rng, 100, 2000))
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self);
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}
