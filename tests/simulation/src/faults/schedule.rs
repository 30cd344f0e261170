//! Which faults happen when, drawn from a profile by a seed.

use std::fmt;
use std::time::Duration;

use bazaar_rpc::{ServiceKind, ServiceName};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Profile;

/// The faults of one run, in the order of their beginnings.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// They may overlap.
    pub steps: Vec<Step>,
}

/// One fault.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it begins, counted from the moment when the cluster serves.
    pub begins: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// What is done. Everything ends with the step.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Kills processes; the disk keeps what the kernel has. They start again at the end.
    Kill(Whom),
    /// Cuts the power of machines; a disk keeps what was synced, and what it likes of the rest.
    PowerCut(Whom),
    /// Stops processes as SIGSTOP does.
    Pause(Whom),
    /// Nothing passes between these machines and all others, in one direction or in both. What was
    /// sent arrives at the end, late, as TCP has it.
    Isolate(Whom, Way),
    /// Nothing passes between two machines.
    Cut(Whom, Whom, Way),
    /// Isolates and reunites in quick succession.
    Flap(Whom),
    /// Of what goes between these machines and all others such a share is lost, and sent again.
    Lossy(Whom, f64),
    /// Whatever goes between these machines and all others takes so long.
    Slow(Whom, Duration),
    /// Syncs take up to so long.
    SlowDisk(Whom, Duration),
    /// Syncs fail.
    FailingDisk(Whom),
    /// Syncs do nothing, and at the end the power is cut.
    LyingDisk(Whom),
    /// A disk is lost for good; at the end a replica with an empty one takes its place, and is to be
    /// refused before. Nothing happens while another one of the group is being replaced.
    LostDisk(Whom),
    /// One replica of the group is left behind. Then the leader is killed and another one's disk is
    /// lost: a majority would be there, and does not know what was acknowledged.
    Amnesia(ServiceKind),
    /// The time of day jumps by so many milliseconds, and back at the end.
    ClockJump(Whom, i64),
    /// A machine is isolated, and its time of day jumps a moment later.
    IsolatedClockJump(Whom, i64),
    /// Every process is killed and started again, one after the other.
    RollingRestart,
    /// A holder of a lease is cut off from all catalogs, and the leader that granted it is killed.
    OrphanedLeases,
    /// What the order leader sends to the catalogs is held up, and the leader is paused a moment
    /// later: its batches arrive when another one leads.
    HeldUp,
}

/// In which directions a machine is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// Nothing reaches it.
    In,
    /// Nothing comes from it.
    Out,
}

/// Which machines are meant, found out at the moment when it happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom {
    /// Whoever leads the group.
    Leader(ServiceKind),
    /// One that does not lead the group.
    Follower(ServiceKind),
    /// Any one.
    Any(ServiceKind),
    /// More than half of the group.
    Most(ServiceKind),
    /// All of the group.
    All(ServiceKind),
    /// This one.
    Named(ServiceName),
    /// All of these together.
    These(Vec<Whom>),
}

/// Nothing happens before this, so that the cluster has something to lose.
const PROLOGUE: Duration = Duration::from_secs(1);

/// How long before the end of a run the last fault ends: the ten seconds within which everything is
/// to work again, and some in which it is to go on working.
const EPILOGUE: Duration = Duration::from_secs(13);

/// The most faults at a time.
const LANES: usize = 2;

impl Schedule {
    /// Draws the faults of a run of `duration`.
    #[must_use]
    pub fn draw(profile: Profile, seed: u64, duration: Duration) -> Self {
        // Not the seed of anything else.
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x5eed_fa17);
        let end = duration.saturating_sub(EPILOGUE);
        let mut steps = Vec::new();
        for _ in 0..profile.lanes().min(LANES) {
            let mut at = PROLOGUE + millis(&mut rng, 0, 1500);
            loop {
                let (fault, lasts) = profile.fault(&mut rng);
                if at + lasts > end {
                    break;
                }
                steps.push(Step {
                    begins: at,
                    lasts,
                    fault,
                });
                let (shortest, longest) = profile.pause();
                at += lasts + millis(&mut rng, shortest, longest);
            }
        }
        steps.sort_by_key(|step| step.begins);
        Self { steps }
    }

    /// Leaves out the steps of these places.
    pub fn leave_out(&mut self, places: &[usize]) {
        let mut place = 0..;
        self.steps
            .retain(|_| !places.contains(&place.next().unwrap_or_default()));
    }

    /// When the last fault ends.
    #[must_use]
    pub fn end(&self) -> Duration {
        let ends = self.steps.iter().map(|step| step.begins + step.lasts);
        ends.max().unwrap_or_default()
    }
}

/// A length of time.
pub(super) fn millis(rng: &mut SmallRng, shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(rng.random_range(shortest..=longest))
}

impl Fault {
    /// Its kind, for the table of what was injected.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::PowerCut(_) => "power cut",
            Self::Pause(_) => "pause",
            Self::Isolate(_, Way::Both) | Self::Cut(_, _, Way::Both) => "partition",
            Self::Isolate(..) | Self::Cut(..) => "one-way partition",
            Self::Flap(_) => "flapping",
            Self::Lossy(..) => "lossy link",
            Self::Slow(..) => "slow link",
            Self::SlowDisk(..) => "slow disk",
            Self::FailingDisk(_) => "failing fsync",
            Self::LyingDisk(_) => "lying fsync",
            Self::LostDisk(_) => "lost disk",
            Self::Amnesia(_) => "lost disk, leader killed",
            Self::ClockJump(..) => "clock jump",
            Self::IsolatedClockJump(..) => "clock jump in a partition",
            Self::RollingRestart => "rolling restart",
            Self::OrphanedLeases => "lease holders cut off, leader killed",
            Self::HeldUp => "batches held up, leader paused",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            begins,
            lasts,
            fault,
        } = self;
        write!(f, "{begins:>10.3?} for {lasts:.3?}: {fault:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_draws_one_schedule_and_leaves_time_to_recover() {
        for profile in Profile::ALL {
            for seed in 0..20 {
                let schedule = Schedule::draw(*profile, seed, MINUTE);
                let again = Schedule::draw(*profile, seed, MINUTE);
                assert_eq!(format!("{schedule:?}"), format!("{again:?}"));
                assert!(schedule.steps.len() >= 3, "{profile} {seed}: {schedule:?}");
                assert!(
                    schedule.steps.iter().all(|step| step.begins >= PROLOGUE
                        && step.begins + step.lasts + EPILOGUE <= MINUTE)
                );
            }
        }
    }
}
