//! The accounts service: users, their passwords, and the tokens that they are known by.
//!
//! Everything that must last is in a database (`store`). Passwords are hashed by threads of their own
//! (`passwords`). Access tokens are signed (`tokens`, `keys`), and frontends verify them by
//! themselves: they follow a feed of the public keys and of the users whose tokens have become void
//! (`feed`).
//!
//! It is not simulated: a database has files and threads of its own.

mod admin;
mod app;
mod cli;
mod config;
mod error;
mod feed;
mod keys;
mod limits;
mod logins;
mod passwords;
mod private;
mod server;
mod service;
mod store;
mod tokens;
mod upkeep;
mod users;

pub use admin::{CreateAdmin, RotateKey};
pub use app::App;
pub use cli::{Action, Cli};
pub use config::{Config, Database, Place};
pub use error::StoreError;
pub use keys::KeyError;
pub use limits::{InvalidRate, Rate};
pub use store::{DatabaseUrl, InvalidDatabaseUrl};
