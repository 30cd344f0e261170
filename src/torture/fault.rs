//! The faults by name.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What can be done to a cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Kill -9 of any one process.
    Kill,
    /// Kill -9 of the leaders of both groups together.
    KillLeaders,
    /// SIGSTOP of any one process.
    Pause,
    /// Every process is restarted, one after the other.
    Rolling,
    /// A group's leader is cut off with a minority.
    LeaderInMinority,
    /// A follower is cut off; the leader keeps the majority.
    LeaderInMajority,
    /// What a leader sends does not arrive; what is sent to it does.
    OneWay,
    /// A replica is cut off and joined again, over and over.
    Flapping,
    /// A frontend is cut off from a group's leader only.
    FrontendCut,
    /// Every packet of a process takes long.
    Slow,
    /// A share of a process's packets gets lost.
    Lossy,
    /// A replica's disk is full.
    DiskFull,
    /// A replica's fsync fails.
    FsyncFails,
    /// A replica's fsync claims to have written, and has not; then the power goes.
    FsyncLies,
    /// One replica loses power: its unsynced writes are gone.
    PowerCutOne,
    /// A majority of a group loses power at once.
    PowerCutMost,
    /// Every replica of both groups loses power at once.
    PowerCutAll,
    /// A replica's log ends in the midst of a record.
    TornTail,
    /// A bit of a replica's log flips.
    FlipLog,
    /// A sector of a replica's log is blank.
    BlankLog,
    /// A bit of a replica's vote flips.
    FlipVote,
    /// A bit of an order replica's store flips: that is its snapshot.
    FlipSnapshot,
    /// A bit of `catalog.json` flips.
    FlipCatalog,
    /// A replica's log is cut short.
    TruncateLog,
    /// A replica's vote is cut short.
    TruncateVote,
    /// A file of an order replica's store is cut short.
    TruncateSnapshot,
    /// `catalog.json` is cut short.
    TruncateCatalog,
    /// A bit of the file flips that says whose data directory it is.
    FlipIdentity,
    /// A replica's files are lost for good.
    LostFiles,
    /// A process's time of day jumps.
    ClockJump,
    /// Clients reset their connections at every point of a request.
    Resets,
    /// The same key through every frontend at once.
    RetryStorm,
    /// Everybody wants the same item.
    HotItem,
}

/// What the command line asks for: a fault, or several by what they hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Every fault.
    All,
    /// Every fault of that lane.
    Lane(Lane),
    /// That fault.
    One(Fault),
}

/// What a fault gets hold of. Faults of one lane never overlap.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lane {
    /// Processes: they die or stand still.
    Process,
    /// The network between them.
    Network,
    /// Their disks and files.
    Disk,
    /// Their clocks.
    Clock,
    /// Their clients.
    Client,
}

impl Fault {
    /// What it gets hold of.
    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::Kill | Self::KillLeaders | Self::Pause | Self::Rolling => Lane::Process,
            Self::LeaderInMinority
            | Self::LeaderInMajority
            | Self::OneWay
            | Self::Flapping
            | Self::FrontendCut
            | Self::Slow
            | Self::Lossy => Lane::Network,
            Self::DiskFull
            | Self::FsyncFails
            | Self::FsyncLies
            | Self::PowerCutOne
            | Self::PowerCutMost
            | Self::PowerCutAll
            | Self::TornTail
            | Self::FlipLog
            | Self::BlankLog
            | Self::FlipVote
            | Self::FlipSnapshot
            | Self::FlipCatalog
            | Self::TruncateLog
            | Self::TruncateVote
            | Self::TruncateSnapshot
            | Self::TruncateCatalog
            | Self::FlipIdentity
            | Self::LostFiles => Lane::Disk,
            Self::ClockJump => Lane::Clock,
            Self::Resets | Self::RetryStorm | Self::HotItem => Lane::Client,
        }
    }

    /// What it is, in a sentence.
    pub(crate) fn story(self) -> String {
        let value = self.to_possible_value().expect("no fault is hidden");
        value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Whether a replica may lose what it has acknowledged. Damaged files are among these: what is
    /// cut off the end of a log looks as if it had never been written. So is a failed fsync: the
    /// kernel goes on showing what is not on the disk, and a replica that starts then takes it for
    /// durable.
    pub(crate) fn forgets(self) -> bool {
        self.lane() == Lane::Disk
            && !matches!(
                self,
                Self::DiskFull | Self::PowerCutOne | Self::PowerCutMost | Self::PowerCutAll
            )
    }

    /// How long it lasts where that is drawn: at least and at most.
    pub(crate) fn lengths(self) -> (Duration, Duration) {
        let (least, greatest) = match self {
            Self::Pause => (500, 30_000),
            Self::Flapping | Self::Rolling => (4_000, 20_000),
            Self::Slow | Self::Lossy => (2_000, 20_000),
            Self::Resets | Self::RetryStorm | Self::HotItem => (2_000, 15_000),
            _ => (500, 12_000),
        };
        (
            Duration::from_millis(least),
            Duration::from_millis(greatest),
        )
    }
}

impl Lane {
    /// Whether its faults keep replicas from agreeing, for as long as they last.
    pub(crate) fn disturbs(self) -> bool {
        match self {
            Self::Process | Self::Network | Self::Clock => true,
            Self::Disk | Self::Client => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        f.write_str(name.expect("no fault is hidden").get_name())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Lane(lane) => {
                let name = lane.to_possible_value();
                f.write_str(name.expect("no lane is hidden").get_name())
            }
            Self::One(fault) => fault.fmt(f),
        }
    }
}

/// A name that no fault has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no such fault; there are all, {}, {}",
    names(Lane::value_variants()),
    names(Fault::value_variants())
)]
pub(crate) struct UnknownFault;

impl FromStr for Choice {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        if text == "all" {
            return Ok(Self::All);
        }
        let lane = Lane::from_str(text, false).map(Self::Lane);
        lane.or_else(|_no_lane| Fault::from_str(text, false).map(Self::One))
            .map_err(|_unknown| UnknownFault)
    }
}

fn names<T: ValueEnum>(values: &[T]) -> String {
    let names = values.iter().filter_map(|value| value.to_possible_value());
    let names: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
    names.join(", ")
}

/// The faults that `choices` name, each once, in the catalogue's order.
pub(crate) fn select(choices: &[Choice]) -> BTreeSet<Fault> {
    let is_chosen = |fault: &Fault| {
        choices.iter().any(|choice| match choice {
            Choice::All => true,
            Choice::Lane(lane) => fault.lane() == *lane,
            Choice::One(one) => fault == one,
        })
    };
    let all = Fault::value_variants().iter().copied();
    all.filter(is_chosen).collect()
}

/// Those of `faults` that `choices` require.
///
/// # Errors
/// When one is required by its name that is not among `faults`.
pub(crate) fn require(
    choices: &[Choice],
    faults: &BTreeSet<Fault>,
) -> Result<BTreeSet<Fault>, NotAmongThem> {
    for choice in choices {
        match choice {
            Choice::One(fault) if !faults.contains(fault) => return Err(NotAmongThem(*fault)),
            Choice::All | Choice::Lane(_) | Choice::One(_) => {}
        }
    }
    Ok(&select(choices) & faults)
}

/// A fault that is required, and not to be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--require {0}: it is not among the --faults")]
pub(crate) struct NotAmongThem(Fault);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_among_the_faults() {
        let clients = select(&[Choice::Lane(Lane::Client)]);
        let required = |choice| require(&[choice], &clients);
        assert_eq!(required(Choice::All), Ok(clients.clone()));
        assert_eq!(required(Choice::Lane(Lane::Disk)), Ok(BTreeSet::new()));
        let hot = BTreeSet::from([Fault::HotItem]);
        assert_eq!(required(Choice::One(Fault::HotItem)), Ok(hot));
        assert_eq!(
            required(Choice::One(Fault::Kill)),
            Err(NotAmongThem(Fault::Kill))
        );
    }
}
