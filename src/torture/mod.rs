//! `bazaar torture`: faults over real processes.

pub(crate) mod clock;
pub(crate) mod disk;
