//! The first line of a history: what it is, and where it comes from.

use serde::{Deserialize, Serialize};

/// What every header's `format` says.
pub(crate) const FORMAT: &str = "bazaar-history";

/// The version of the format that this crate writes, and the only one that it reads.
pub(crate) const VERSION: u32 = 3;

/// What a file's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What clients asked for and were told: [`crate::ClientEvent`].
    Client,
    /// The log of an order replica: [`crate::OrdersLine`].
    Orders,
    /// The stock of a catalog replica: [`crate::StockLine`].
    Stock,
    /// Which faults were active when: [`crate::FaultEvent`].
    Faults,
    /// How replicas saw their group: [`crate::Observation`].
    Consensus,
}

impl Kind {
    /// The kind as it stands in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Orders => "orders",
            Self::Stock => "stock",
            Self::Faults => "faults",
            Self::Consensus => "consensus",
        }
    }
}

/// What a file's lines come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Who saw it: a replica such as `order/3`, or whatever tells this file from others of its kind.
    pub source: String,
    /// The cluster that it is about, where that is known.
    pub cluster: Option<String>,
    /// The clock that its times are of, in nanoseconds; files with times can be read together only
    /// if they share one. None where there are no times.
    pub clock: Option<String>,
}

impl Origin {
    /// The clock of a simulation.
    pub const SIMULATED: &'static str = "simulated";

    /// Of `source`, without times.
    #[must_use]
    pub fn timeless(source: impl Into<String>, cluster: Option<String>) -> Self {
        Self {
            source: source.into(),
            cluster,
            clock: None,
        }
    }

    /// Of `source`, with times of `clock`.
    #[must_use]
    pub fn timed(
        source: impl Into<String>,
        cluster: Option<String>,
        clock: impl Into<String>,
    ) -> Self {
        Self {
            source: source.into(),
            cluster,
            clock: Some(clock.into()),
        }
    }
}

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    #[serde(flatten)]
    pub(crate) origin: Origin,
}

/// What the first line has in every version.
#[derive(Debug, Deserialize)]
pub(crate) struct Preamble {
    pub(crate) format: String,
    pub(crate) version: u32,
}
