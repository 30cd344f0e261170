//! A whole cluster in one process: the services' own code on simulated machines, with a simulated
//! network, disks and time. One seed decides all that happens.
//!
//! ```text
//! Settings ─▶ World ─ step ─▶ every machine runs one tick, messages arrive
//!               │  ▲
//!    faults,    ▼  │  Probe: what a replica knows; Trace: what happened, and its digest
//!    clients    plan (whoever drives the world)
//! ```
//!
//! A process holds one world: run each seed in a process of its own. Between two steps nothing runs,
//! so a plan may look at every replica and do any harm there.
//!
//! Without the feature `simulate` this crate is empty (see its Cargo.toml).

#![cfg(feature = "simulate")]

mod hosts;
mod links;
mod probe;
mod settings;
mod trace;
mod world;

pub mod http;

pub use bazaar_machine::{Disk, Fsync, Machine};
pub use probe::{CatalogProbe, OrderProbe, Probe};
pub use settings::Settings;
pub use trace::Trace;
pub use world::World;
