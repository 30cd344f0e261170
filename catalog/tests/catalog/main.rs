//! The catalog as its callers meet it: real processes' worth of it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod cache;
mod edits;
mod group;
mod leases;
mod running;
mod trades;
