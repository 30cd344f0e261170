//! The faults that a network can have.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use serde::Serialize;

/// An end of links: one process of the cluster, or all else that runs on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub(crate) enum Host {
    /// Where the supervisor and the clients are.
    Machine,
    /// A process, alone on a host of its own.
    Process(ServiceName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.pad("machine"),
            Self::Process(name) => name.fmt(f),
        }
    }
}

impl From<ServiceName> for Host {
    fn from(name: ServiceName) -> Self {
        Self::Process(name)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

/// What can be wrong with a network. Faults are independent of each other: several may concern the
/// same link, and the end of one ends none of the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing passes between two hosts.
    Cut {
        /// One of them.
        a: Host,
        /// The other.
        b: Host,
    },
    /// Nothing passes from one host to another; the other way it does.
    CutOneWay {
        /// Whose packets are lost.
        from: Host,
        /// To whom.
        to: Host,
    },
    /// Nothing passes to a host, nor from it.
    Isolate {
        /// The host.
        host: Host,
    },
    /// Nothing passes from one group to another. A host in no group reaches them all.
    Split {
        /// The groups.
        groups: Vec<Vec<Host>>,
    },
    /// Links are worse than they were.
    Impair {
        /// Which links.
        scope: Scope,
        /// How they are.
        quality: Quality,
    },
}

/// Which links are impaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    /// All that a host sends, and all that it gets.
    LinkOf(Host),
    /// What two hosts send each other.
    Between(Host, Host),
}

/// How a link is, each way by itself. The default is a link that nothing is wrong with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quality {
    /// How long a packet is under way.
    pub(crate) delay: Duration,
    /// By how much at most that varies, up and down. Packets keep their order all the same.
    pub(crate) jitter: Duration,
    /// The share of packets that is lost, from 0 to 1.
    pub(crate) loss: f64,
    /// The share of packets that comes twice.
    pub(crate) duplicate: f64,
    /// The share of packets that overtakes those that are under way; none are without a delay.
    pub(crate) reorder: f64,
    /// How many bytes pass in a second. What would wait too long for its turn is lost.
    pub(crate) bandwidth: Option<NonZeroU64>,
}

/// What a fault does to a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect<'a> {
    /// It is lost.
    Lost,
    /// It passes a link of that quality; the two ways of a link are apart.
    Impaired(&'a Quality, Way),
}

/// One of the two ways of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    There,
    Back,
}

impl Fault {
    /// What it does to a packet; none where it is no concern of this fault's.
    pub(super) fn effect(&self, from: Host, to: Host) -> Option<Effect<'_>> {
        let lost = |is_lost: bool| is_lost.then_some(Effect::Lost);
        match self {
            Self::Cut { a, b } => lost((from, to) == (*a, *b) || (from, to) == (*b, *a)),
            Self::CutOneWay {
                from: source,
                to: sink,
            } => lost((from, to) == (*source, *sink)),
            Self::Isolate { host } => lost(from == *host || to == *host),
            Self::Split { groups } => {
                let group_of = |host| groups.iter().position(|group| group.contains(&host));
                let sides = group_of(from).zip(group_of(to));
                lost(sides.is_some_and(|(one, other)| one != other))
            }
            Self::Impair { scope, quality } => {
                let (there, back) = match *scope {
                    Scope::LinkOf(host) => (from == host, to == host),
                    Scope::Between(a, b) => ((from, to) == (a, b), (from, to) == (b, a)),
                };
                let way = if there { Way::There } else { Way::Back };
                (there || back).then_some(Effect::Impaired(quality, way))
            }
        }
    }

    /// The hosts that it names.
    pub(super) fn hosts(&self) -> Vec<Host> {
        match self {
            Self::Cut { a, b } | Self::CutOneWay { from: a, to: b } => vec![*a, *b],
            Self::Isolate { host } => vec![*host],
            Self::Split { groups } => groups.iter().flatten().copied().collect(),
            Self::Impair { scope, .. } => match *scope {
                Scope::LinkOf(host) => vec![host],
                Scope::Between(a, b) => vec![a, b],
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { a, b } => write!(f, "{a} and {b} are cut off from each other"),
            Self::CutOneWay { from, to } => write!(f, "{to} hears nothing from {from}"),
            Self::Isolate { host } => write!(f, "{host} is cut off"),
            Self::Split { groups } => {
                f.write_str("the network is split into")?;
                for (index, group) in groups.iter().enumerate() {
                    f.write_str(if index == 0 { " " } else { " | " })?;
                    let names: Vec<String> = group.iter().map(Host::to_string).collect();
                    f.write_str(&names.join(", "))?;
                }
                Ok(())
            }
            Self::Impair { scope, quality } => {
                match scope {
                    Scope::LinkOf(host) => write!(f, "the link of {host} has")?,
                    Scope::Between(a, b) => write!(f, "the link between {a} and {b} has")?,
                }
                write!(f, "{quality}")
            }
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {:?} ± {:?} of delay", self.delay, self.jitter)?;
        let shares = [
            ("loss", self.loss),
            ("duplicates", self.duplicate),
            ("reordering", self.reorder),
        ];
        for (what, share) in shares.into_iter().filter(|(_, share)| *share > 0.0) {
            write!(f, ", {:.1} % {what}", share * 100.0)?;
        }
        if let Some(bandwidth) = self.bandwidth {
            write!(f, ", {bandwidth} bytes/s")?;
        }
        Ok(())
    }
}
