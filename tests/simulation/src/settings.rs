//! What a world is made of.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many catalog replicas there are.
    pub catalogs: u64,
    /// How many order replicas there are.
    pub orders: u64,
    /// How many frontends there are.
    pub frontends: u64,
    /// How far time moves in one step. Messages arrive between steps.
    pub tick: Duration,
    /// How long a message takes, at the least and at the most.
    pub latency: (Duration, Duration),
    /// How long a sync takes, at the least and at the most.
    pub sync_time: (Duration, Duration),
    /// How long a cache lease is.
    pub lease: Duration,
    /// How soon after a change the catalog writes its snapshot, and the order store is synced.
    pub snapshot_interval: Duration,
    /// After how many entries that is done at the latest.
    pub snapshot_entries: u64,
    /// How many entries stay in the order log when it is purged.
    pub kept_entries: u64,
}

impl Settings {
    /// A cluster of three catalogs, three orders and two frontends. What `seed` varies besides
    /// chance: the network's latency, how long syncs and leases take, how often the logs are purged.
    ///
    /// What a simulated second costs is mostly what the processes say to each other when nothing
    /// happens: so most leases are longer, and renewed less often, than a server's own default.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x5e77_1465);
        let mut millis = |range: Range<u64>| Duration::from_millis(rng.random_range(range));
        Self {
            seed,
            catalogs: 3,
            orders: 3,
            frontends: 2,
            tick: millis(3..12),
            latency: (Duration::ZERO, millis(0..8)),
            sync_time: (Duration::ZERO, millis(0..4)),
            lease: millis(100..500),
            snapshot_interval: millis(200..3000),
            snapshot_entries: rng.random_range(20..2000),
            kept_entries: rng.random_range(0..200),
        }
    }
}
