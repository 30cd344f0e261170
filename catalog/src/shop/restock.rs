//! How a shop restocks by itself.

use std::time::Duration;

use bazaar_rpc::Quantity;
use serde::{Deserialize, Serialize};

/// How a shop restocks: items of which few are left are filled up, on a timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedRestock")]
pub struct Restock {
    /// How often it is looked for such items.
    pub every: Period,
    /// Items with fewer units than this are restocked; not zero.
    pub below: Quantity,
    /// The units they have then, at least [`Restock::below`].
    pub to: Quantity,
}

/// A time from [`Period::MIN`] to [`Period::MAX`], written as people do: `90s`, `5m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Period(Duration);

impl Period {
    /// The shortest: a second.
    pub const MIN: Duration = Duration::from_secs(1);

    /// The longest: 30 days.
    pub const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// The time.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }
}

/// Why a text is no [`Period`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidPeriod {
    /// It is no time at all.
    #[error("{text:?} is not a time such as 90s, 5m or 1h: {source}")]
    Duration {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: humantime::DurationError,
    },
    /// It is too short or too long.
    #[error("a shop restocks every 1s to every 30days")]
    Bounds,
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        let period = humantime::parse_duration(&text)
            .map_err(|source| InvalidPeriod::Duration { text, source })?;
        if (Self::MIN..=Self::MAX).contains(&period) {
            Ok(Self(period))
        } else {
            Err(InvalidPeriod::Bounds)
        }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        humantime::format_duration(period.0).to_string()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedRestock {
    every: Period,
    below: Quantity,
    to: Quantity,
}

/// A [`Restock`] that contradicts itself.
#[derive(Debug, thiserror::Error)]
enum InvalidRestock {
    #[error("`below` is zero: no stock is below that")]
    ZeroBelow,
    #[error("`to` is less than `below`")]
    ToBelowBelow,
}

impl TryFrom<UncheckedRestock> for Restock {
    type Error = InvalidRestock;

    fn try_from(unchecked: UncheckedRestock) -> Result<Self, InvalidRestock> {
        let UncheckedRestock { every, below, to } = unchecked;
        if below == Quantity::default() {
            Err(InvalidRestock::ZeroBelow)
        } else if to < below {
            Err(InvalidRestock::ToBelowBelow)
        } else {
            Ok(Self { every, below, to })
        }
    }
}
