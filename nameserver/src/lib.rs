//! The name service: names to addresses and metadata, each under a lease that its owner renews.
//!
//! The table is soft state. Services register again within one renewal, so a name server that is
//! killed, or loses its disk, is whole again as soon as it is back on its address; the copy on disk
//! keeps what nobody renews, and what was there before the first renewals arrive.

mod app;
pub mod cli;
mod config;
mod error;
mod matcher;
mod server;
mod state;
mod store;

pub use app::App;
pub use config::Config;
pub use error::StoreError;
