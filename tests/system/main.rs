//! The whole system under test: real processes of the `bazaar` command, real sockets, real disks.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod accounts;
mod amendments;
mod bad_input;
mod cluster;
mod command;
mod faults;
mod freshness;
mod grpc;
mod history;
mod http;
mod imports;
mod merch;
#[path = "../../accounts/tests/accounts/postgres.rs"]
mod postgres;
mod readme;
mod rebuild;
mod restart;
mod shops;
mod single_failures;
mod tokens;
mod torture;
mod users;
