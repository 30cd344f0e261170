//! The clock of histories of real processes.
//!
//! `CLOCK_MONOTONIC` counts from the machine's start, the same for all of its processes, and never
//! goes back. A simulation has a clock of its own and uses nothing of this.

use std::{fs, io};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    let part = |part| u64::try_from(part).expect("it counts from the machine's start");
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

/// What [`now`] counts, for a header: it tells this machine, since its last start, from every other.
///
/// # Errors
/// When the kernel does not say which start this is.
pub fn name() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("monotonic {}", boot.trim()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_goes_back_and_has_a_name() {
        let before = super::now();
        assert!(before > 0 && super::now() >= before);
        assert!(super::name().unwrap().len() > "monotonic ".len());
    }
}
