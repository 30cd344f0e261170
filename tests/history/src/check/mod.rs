//! The checkers. Each is a pure function from what is known to a [`crate::Verdict`].
//!
//! With n operations, p of them under way at a time, and r orders in each of k logs:
//!
//! | checker | after | time |
//! |---|---|---|
//! | [`set`] | Jepsen's set test | n + k·r |
//! | [`bank`] | Jepsen's bank test | k·r |
//! | [`freshness`] | real-time order (Herlihy & Wing 1990), of versions | n log n |
//! | [`linearizability`] | Wing & Gong 1993, Lowe 2017, Horn & Kroening 2015 | n·p where answers show versions; exponential at worst, within a budget |
//! | [`idempotency`] | | n log n |
//! | [`convergence`] | | k·r |
//! | [`gapless`] | | k·r |
//! | [`amendments`] | | k·r |
//! | [`raft`] | Ongaro & Ousterhout 2014, figure 3 | observations |
//! | [`liveness`] | | n |
//!
//! None of them calls anything a violation that a correct run could show, short of a slip of the
//! clock by which the histories were timed: operations that share an instant count as concurrent.

pub mod amendments;
pub mod bank;
pub mod convergence;
pub mod freshness;
pub mod gapless;
pub mod idempotency;
pub mod linearizability;
pub mod liveness;
pub mod raft;
pub mod set;
