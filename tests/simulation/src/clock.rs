//! The clock of the simulation, which is that of its histories; and the one on the wall.

use std::time::Duration;

/// The time since the simulation began.
#[must_use]
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// The same, in nanoseconds.
#[must_use]
pub(crate) fn now() -> u64 {
    u64::try_from(elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The time on the wall, since the machine's start. The process's own clocks belong to the simulation,
/// and stand still outside of it.
pub(crate) fn wall() -> Duration {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime
        .split(' ')
        .next()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or_default())
}
