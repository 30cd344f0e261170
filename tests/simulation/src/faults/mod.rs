//! Faults: what can be done to the cluster, drawn from a profile by a seed, and doing it.

mod harm;
mod injector;
mod profile;
mod schedule;

pub(crate) use injector::Injector;
pub use profile::Profile;
pub use schedule::{Fault, Schedule, Step, Way, Whom};
