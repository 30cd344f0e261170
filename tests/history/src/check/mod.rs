//! The checkers. Each is a pure function from what is known to a [`crate::Verdict`].

pub mod bank;
pub mod convergence;
pub mod freshness;
pub mod gapless;
pub mod idempotency;
pub mod linearizability;
pub mod liveness;
pub mod raft;
pub mod set;
