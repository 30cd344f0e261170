//! Replication of a state machine over a group of processes, by consensus. The only crate that
//! names openraft; it knows no shop.
//!
//! A service implements [`StateMachine`], opens a [`Group`] with it and proposes commands, which
//! are bytes here: what they mean is the service's business. With one member, the group's log is a
//! write-ahead log.
//!
//! ```text
//! propose ─▶ openraft ─▶ log store (fsync) ─▶ committed ─▶ adapter ─▶ the service's StateMachine
//!               │  ▲
//!        network│  │server            Protocol::Raft, between the replicas of one group
//!               ▼  │
//!            the other replicas
//! ```
//!
//! What the parts promise:
//!
//! - `log_store`: the vote and the log are on disk before they are acknowledged.
//! - `state_machine`: commands are applied once each, in the log's order, and answered afterwards.
//! - `formation`: a group is founded once, by all its founding members; a replica that has lost its
//!   disk is not taken for the one it was.
//! - `members`: a replica whose disk is lost is replaced by one with an empty disk, which gets a vote
//!   when it has the log.
//! - `founding`: where a group is lost and its state is not, a new one goes on from it.
//! - `failover`: a leader whose process has ended is replaced within milliseconds. Pauses and
//!   partitions are found by openraft's timers.
//! - `persistence`: the log does not grow without bound, and keeping it short costs a small share
//!   of the work.

mod barrier;
mod config;
mod data_dir;
mod error;
mod failover;
mod formation;
mod founding;
mod group;
mod heartbeat;
mod identity;
mod leadership;
mod link;
mod log_files;
#[cfg(not(feature = "simulation"))]
mod log_store;
#[cfg(feature = "simulation")]
#[path = "simulated_log.rs"]
mod log_store;
#[cfg(not(feature = "simulation"))]
mod log_tail;
mod machine;
mod mark;
mod members;
mod network;
mod outstanding;
mod peer;
mod persistence;
mod propose;
mod removal;
mod runtime;
mod server;
mod snapshot;
mod state_machine;
mod stored;
mod torn;
mod types;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use error::{OpenError, ProposeError, WAY_OUT};
pub use founding::found;
pub use group::Group;
#[cfg(not(feature = "simulation"))]
pub use log_tail::find_votes;
pub use machine::{StateMachine, View};
pub use mark::Mark;
pub use propose::{MAX_COMMAND, Receipts};
pub use removal::remove;
pub use torn::{has_blank_sector, written};
