//! The client's flags.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bazaar_rpc::ItemName;
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::{BaseUrl, Slo};

/// The most connections: each costs a file descriptor and some 20 KiB.
const MAX_CONNECTIONS: i64 = 10_000;

/// What to load, how hard, for how long, and what to check.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// A frontend. Given several times, sessions are spread over the frontends, and move on to the
    /// next when theirs is down.
    #[arg(
        long = "url",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8080"
    )]
    pub urls: Vec<BaseUrl>,

    /// How many sessions, each on a connection of its own.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS)
    )]
    pub connections: u32,

    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,

    /// Stop after so many requests, however long they take.
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    pub requests: Option<u64>,

    /// How long to run before measuring. What is acknowledged meanwhile is verified too.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,

    /// Send so many requests a second, on a fixed schedule shared by all sessions (open loop).
    /// Latency counts from the scheduled moment, so a stall of the server counts against every
    /// request that it held up. Without it each session sends its next request when the last one is
    /// answered (closed loop).
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<Rate>,

    /// Makes the sequence of intended operations of every session repeatable; random by default,
    /// and printed.
    #[arg(long)]
    pub seed: Option<u64>,

    /// How probably an item that was looked up is then traded.
    #[arg(long, value_name = "P", default_value = "0.2")]
    pub trade_probability: Probability,

    /// How probably an acknowledged order is then looked up by its number.
    #[arg(long, value_name = "P", default_value = "0")]
    pub query_probability: Probability,

    /// A trade is for 1 to so many units.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    pub max_quantity: u64,

    /// The items to trade, by name; all of the shop `stocks` by default.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = parse_item)]
    pub items: Vec<ItemName>,

    /// Ask the frontends not to answer lookups from their caches.
    #[arg(long)]
    pub no_cache: bool,

    /// How long one attempt at a request may take; longer than a frontend's own deadline by default.
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// How long a request that fails is sent again, a trade under the same idempotency key.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub retry_for: Duration,

    /// Where to log acknowledged orders, one JSON object a line; must be a new file, and is
    /// `var/client/orders-<run>.ndjson` by default.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Where to record every request and what it was told, for `bazaar check`; must be a new file.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    pub history: Option<PathBuf>,

    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,

    /// A service level to meet, such as `p99<50ms`, `lookup.p99<5ms`, `trade.p99.9<100ms`,
    /// `mean<1ms`, `errors<1%`; the exit status tells whether all were met.
    #[arg(long, value_name = "LEVEL")]
    pub slo: Vec<Slo>,

    /// Do not read acknowledged orders back.
    #[arg(long)]
    pub no_verify: bool,

    /// Nobody else trades these items, and nobody edits or restocks them: check also that no order
    /// appears that this client did not make, and that each item's stock is what its orders make it.
    #[arg(long, conflicts_with = "no_verify")]
    pub exclusive: bool,

    /// Measure latency at trade probabilities 0 to 0.8, with cache and without, and draw it as an
    /// SVG into this file; the figures go beside it as JSON. `--duration` is for each of the ten
    /// steps.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "latency.svg"
    )]
    pub sweep: Option<PathBuf>,

    /// In a sweep, a frontend that runs without a cache. By default the others are asked not to use
    /// theirs.
    #[arg(
        long = "uncached-url",
        value_name = "URL",
        value_delimiter = ',',
        requires = "sweep"
    )]
    pub uncached_urls: Vec<BaseUrl>,
}

impl Default for Config {
    /// What the command line means when nothing is given.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            config: Config,
        }
        Arguments::parse_from(["client"]).config
    }
}

fn parse_item(text: &str) -> Result<ItemName, String> {
    ItemName::new(text).map_err(|error| error.to_string())
}

/// A probability, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Probability(f64);

/// A rate of requests, more than 0 and at most a million a second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Rate(f64);

/// A number out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// Not a probability.
    #[error("a probability is a number from 0 to 1")]
    Probability,
    /// Not a rate.
    #[error("a rate is a number of requests a second, more than 0 and at most 1000000")]
    Rate,
}

impl Probability {
    /// Checks `value`.
    ///
    /// # Errors
    /// When it is not from 0 to 1.
    pub fn new(value: f64) -> Result<Self, OutOfBounds> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(OutOfBounds::Probability)
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Rate {
    /// Checks `per_second`.
    ///
    /// # Errors
    /// When it is not more than 0, or more than a million.
    pub fn new(per_second: f64) -> Result<Self, OutOfBounds> {
        if per_second > 0.0 && per_second <= 1e6 {
            Ok(Self(per_second))
        } else {
            Err(OutOfBounds::Rate)
        }
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }
}

/// What a bounded number needs to be read from the command line and from JSON.
macro_rules! bounded {
    ($($name:ident, $error:ident;)*) => {$(
        impl TryFrom<f64> for $name {
            type Error = OutOfBounds;

            fn try_from(value: f64) -> Result<Self, OutOfBounds> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = OutOfBounds;

            fn from_str(text: &str) -> Result<Self, OutOfBounds> {
                text.parse().map_err(|_not_a_number| OutOfBounds::$error).and_then(Self::new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

bounded! {
    Probability, Probability;
    Rate, Rate;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent_and_have_defaults() {
        let config = Config::default();
        assert_eq!(config.urls, ["http://127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(config.duration, Duration::from_secs(10));
        assert!(config.items.is_empty());
    }

    #[test]
    fn probabilities_and_rates_have_bounds() {
        assert!("0.2".parse::<Probability>().is_ok());
        for bad in ["-0.1", "1.1", "NaN", "p"] {
            assert!(bad.parse::<Probability>().is_err(), "{bad}");
        }
        assert!("2500".parse::<Rate>().is_ok());
        for bad in ["0", "-1", "inf", "NaN", "1e7", ""] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
