//! The catalog: it holds the stock of every item, decides trades, answers lookups, and sees to it
//! that no cache shows an item as it was before an acknowledged trade.
//!
//! ```text
//! server.rs ──submit──▶ reign.rs ──propose──▶ the log ──apply──▶ machine.rs ─▶ state.rs
//!     │                     ▲                                       │
//!     │ lease               └────────── settled ◀── settle.rs ◀── touch
//!     ▼                                                 │ leases.rs
//!  a lease, and its pusher (push.rs) ◀── next_push ─────┘
//! ```
//!
//! A trade is decided where it is applied ([`state`](self)), in log order. Its items are *unsettled*
//! from before anybody can see them changed until every live cache lease has acknowledged that;
//! nothing that shows them is answered before.
//!
//! Items change by edits too, and by restocks on a timer (`restock.rs`): both take the same way.
//!
//! The caches that may hold a lease are on record in the state (`registrar.rs`), so that a new leader
//! knows whose leases of earlier reigns it has to wait for (`holders.rs`).

mod app;
mod cli;
mod command;
mod config;
mod error;
pub mod export;
mod holders;
#[cfg(feature = "simulation")]
mod inspect;
mod leases;
mod machine;
mod order_log;
mod push;
pub mod rebuild;
mod registrar;
mod reign;
mod restock;
mod server;
mod settle;
pub mod shop;
mod snapshot_file;
mod state;
mod stock;

pub use app::App;
pub use cli::{Action, Cli, RebuildFlags};
pub use config::Config;
pub use error::{ShopError, SnapshotError};
pub use export::Export;
#[cfg(feature = "simulation")]
pub use inspect::{Inspector, Stocked};
