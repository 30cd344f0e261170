//! The client against a server over a socket that does everything right, or one thing wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bazaar;
mod command;
mod history;
mod judge;
