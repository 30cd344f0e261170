//! The frontend's flags.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use bazaar_daemon::Flags;

/// Serves the shops over HTTP, with a cache of items.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,

    /// Where to serve HTTP; port 0 lets the kernel choose.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,

    /// Whether items are cached.
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    pub cache: Switch,

    /// The most items to cache.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub cache_items: NonZeroU32,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

/// Whether something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}
