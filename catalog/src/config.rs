//! The flags of the catalog.

use std::path::PathBuf;
use std::time::Duration;

use bazaar_daemon::Flags;

/// The flags of the catalog.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,

    /// A shop to open beside the three that ship; may be given more than once. A shop, or an item,
    /// that is open already goes on as it is.
    #[arg(long = "shop", value_name = "FILE")]
    pub shops: Vec<PathBuf>,

    /// How many replicas the catalog has, with the ids from 1 on; set when they first start.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub members: u64,

    /// How long a frontend may serve from its cache without hearing from the catalog. A trade waits
    /// up to one and a half times as long for a frontend that has stopped, and up to once as long for
    /// one that a new leader has not heard from. The same on every replica, and not to be shortened
    /// while frontends run.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = lease)]
    pub lease: Duration,

    /// How soon after a change `catalog.json` is written.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub snapshot_interval: Duration,

    /// After how many log entries `catalog.json` is written at the latest.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_entries: u64,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

/// Why a text is no lease length.
#[derive(Debug, thiserror::Error)]
enum InvalidLease {
    #[error(transparent)]
    Duration(#[from] humantime::DurationError),
    #[error("a lease lasts from 10ms to 10s")]
    Bounds,
}

fn lease(text: &str) -> Result<Duration, InvalidLease> {
    let lease = humantime::parse_duration(text)?;
    if (Duration::from_millis(10)..=Duration::from_secs(10)).contains(&lease) {
        Ok(lease)
    } else {
        Err(InvalidLease::Bounds)
    }
}
