//! The order service: a replicated, gapless log of the trades that the catalog has made.
//!
//! Every replica keeps the log in an embedded store (`store`) behind a pure state machine (`state`,
//! `machine`). The leader has requests decided by the catalog and records what it makes: handlers
//! hand requests in (`reign`, `in_flight`), one task recovers what earlier leaders left unrecorded
//! (`lead`), sends batches (`sequencer`) and records the answers (`recorder`). What an amendment
//! comes to is decided (`amend`) when its order has no other one under way (`turns`).

mod amend;
mod app;
mod cli;
mod command;
mod config;
#[cfg(not(feature = "simulation"))]
mod engine;
#[cfg(feature = "simulation")]
#[path = "simulated_engine.rs"]
mod engine;
mod error;
pub mod export;
mod format;
mod in_flight;
#[cfg(feature = "simulation")]
mod inspect;
#[cfg(not(feature = "simulation"))]
mod journal;
mod lead;
mod machine;
mod recorder;
mod refusals;
mod reign;
mod request;
#[cfg(test)]
mod samples;
mod sequencer;
mod server;
mod state;
mod store;
mod turns;

pub use app::App;
pub use cli::{Action, Cli};
pub use config::Config;
pub use error::StoreError;
pub use export::Export;
#[cfg(feature = "simulation")]
pub use inspect::Inspector;
