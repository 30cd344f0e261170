//! The flags of an order replica.

use bazaar_daemon::Flags;

/// The flags of an order replica.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,

    /// How many replicas the order group was founded with. Their ids are 1 to N.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub members: u64,

    /// Sync the order history to disk, and let go of the replicated log that led to it, after so
    /// many entries of the log.
    #[arg(long, value_name = "N", env = "BAZAAR_SNAPSHOT_ENTRIES", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_entries: u64,

    /// The same, so long after a change.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub snapshot_interval: humantime::Duration,

    /// How many of the last entries of the replicated log to keep when it is let go of: a replica
    /// that missed no more than these catches up by them, another one by a snapshot.
    #[arg(
        long,
        value_name = "N",
        env = "BAZAAR_KEPT_ENTRIES",
        default_value_t = 5000
    )]
    pub kept_entries: u64,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}
