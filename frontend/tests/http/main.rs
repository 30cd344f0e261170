//! The frontend over real sockets: HTTP clients on one side, and on the other in-memory services
//! that keep Bazaar's contracts, on real connections.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it is not as expected"
)]

mod bad_input;
mod client;
mod connections;
mod contracts;
mod lookups;
mod services;
mod trades;
mod world;
