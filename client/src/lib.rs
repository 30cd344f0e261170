//! The load generator, and the judge of what it was told.
//!
//! Sessions look random items up and trade them over persistent connections. Every acknowledgement
//! is written to a log file; at the end the judge reads every acknowledged order back and compares.
//! On the way it watches for what must never happen: a lookup that shows an item as it was before
//! something already seen, one order number given to two requests, one request given two numbers.
//!
//! [`run`] does it all from one [`Config`]; [`Load`] does it in steps, for a caller who injects
//! faults while the load runs; [`execute`] is the command line.
//!
//! It knows Bazaar by its HTTP interface alone.

mod api;
mod chart;
mod command;
mod config;
mod connection;
mod counters;
mod gap;
mod history;
mod judge;
mod judgement;
mod load;
mod log;
mod meter;
mod numbers;
mod pace;
mod plan;
mod progress;
mod report;
mod session;
mod slo;
mod sweep;
mod target;
mod text;
mod timeline;
mod watch;

pub use command::{execute, run};
pub use config::{Config, OutOfBounds, Probability, Rate};
pub use counters::Progress;
pub use gap::Gap;
pub use judgement::{Difference, Doubled, Judgement, ReadBack, Unbalanced, Undecided};
pub use load::{Ended, Handle, Load};
pub use log::Acknowledged;
pub use meter::{Kind, Latency};
pub use report::{Report, Settings, Throughput, Totals};
pub use slo::{InvalidSlo, Slo, SloResult};
pub use sweep::{Point, Sweep, sweep};
pub use target::{BaseUrl, InvalidUrl};
pub use timeline::Slice;
pub use watch::Stale;
