//! The frontend over real sockets: HTTP clients on one side, and on the other in-memory services
//! that keep Bazaar's contracts, on real connections.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it is not as expected"
)]

mod accounts;
mod bad_input;
mod client;
mod conditional;
mod connections;
mod contracts;
mod documents;
mod edge;
mod grpc;
mod lookups;
mod services;
mod trades;
mod world;
