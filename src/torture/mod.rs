//! Faults over real processes, and the proof that none of them loses, doubles or oversells.

pub(crate) mod network;
