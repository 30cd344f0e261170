//! The clock of the simulation, which is that of its histories.

use std::time::Duration;

/// The time since the simulation began.
#[must_use]
pub fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// The same, in nanoseconds.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(elapsed().as_nanos()).unwrap_or(u64::MAX)
}
