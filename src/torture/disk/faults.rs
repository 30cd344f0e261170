//! What is wrong with a disk at the moment.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// So many times.
    Next(u64),
    /// Until it is repaired.
    Always,
}

/// What is wrong with syncing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncFault {
    /// It fails with EIO, and what it was to make durable never will be.
    Fail,
    /// It returns as if it had done its work, and does nothing.
    Lie,
}

/// A fault, as long as it lasts.
#[derive(Clone, Debug)]
struct Pending<F> {
    fault: F,
    times: Times,
    /// The file or directory that it is limited to.
    within: PathBuf,
}

impl<F: Copy> Pending<F> {
    /// What strikes the file at `path`.
    fn strike(&mut self, path: &Path) -> Option<F> {
        if !path.starts_with(&self.within) {
            return None;
        }
        match &mut self.times {
            Times::Always => {}
            Times::Next(0) => return None,
            Times::Next(times) => *times -= 1,
        }
        Some(self.fault)
    }
}

/// The faults of a disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    sync: Option<Pending<SyncFault>>,
    read: Option<Pending<()>>,
    /// How much longer a sync takes.
    pub(crate) sync_delay: Duration,
    /// The bytes that files may take together, while there is a limit.
    pub(crate) capacity: Option<u64>,
    /// How many writes found the disk full.
    pub(crate) found_full: u64,
    /// How many syncs failed, or lied.
    pub(crate) broken_syncs: u64,
}

impl Faults {
    /// Syncs of what lies within `within` go wrong.
    pub(crate) fn break_sync(&mut self, fault: SyncFault, times: Times, within: &Path) {
        let within = within.into();
        self.sync = Some(Pending {
            fault,
            times,
            within,
        });
    }

    /// Reads of what lies within `within` fail with EIO.
    pub(crate) fn break_read(&mut self, times: Times, within: &Path) {
        let within = within.into();
        self.read = Some(Pending {
            fault: (),
            times,
            within,
        });
    }

    /// Whether a fault depends on where a file lies: finding that out takes time.
    pub(crate) fn breaks_reads(&self) -> bool {
        self.read.is_some()
    }

    /// What befalls a sync of the file at `path`.
    pub(crate) fn strike_sync(&mut self, path: &Path) -> Option<SyncFault> {
        let fault = self.sync.as_mut()?.strike(path);
        self.broken_syncs += u64::from(fault.is_some());
        fault
    }

    /// Whether a read of the file at `path` fails.
    pub(crate) fn strike_read(&mut self, path: &Path) -> bool {
        let fault = self.read.as_mut();
        fault.and_then(|fault| fault.strike(path)).is_some()
    }
}
