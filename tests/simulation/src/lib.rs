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

mod accounts;
mod children;
mod cli;
mod clock;
mod drive;
pub mod faults;
mod hosts;
mod hunt;
mod links;
mod log;
mod observer;
mod operator;
mod probe;
mod report;
mod runner;
mod settings;
mod trace;
mod verify;
mod workload;
mod world;

pub mod http;

pub use bazaar_machine::{Disk, Fsync, Machine};
pub use cli::{Cli, Command, Many, One, Planted};
pub use drive::run;
pub use probe::{CatalogProbe, OrderProbe, Probe};
pub use report::{Finding, Report, Work};
pub use runner::perform;
pub use settings::Settings;
pub use trace::Trace;
pub use world::World;
