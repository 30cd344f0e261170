//! The flags of the accounts service.

use std::path::PathBuf;

use bazaar_daemon::Flags;

use crate::limits::Rate;
use crate::store::DatabaseUrl;

/// Keeps users, and issues the tokens that they are known by.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,

    /// Which database.
    #[command(flatten)]
    pub database: Database,

    /// How often one may try to log in under the same user name.
    #[arg(long, value_name = "N/TIME", default_value = "10/1m")]
    pub logins_per_user: Rate,

    /// How often one may try to log in, or register, from the same address.
    #[arg(long, value_name = "N/TIME", default_value = "100/1m")]
    pub logins_per_address: Rate,

    /// How old a key may become before another one signs.
    #[arg(long, value_name = "TIME", default_value = "30days")]
    pub rotate_keys: humantime::Duration,
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

/// Which database the accounts are in.
#[derive(Clone, Debug, clap::Args)]
pub struct Database {
    /// The database's URL, such as `postgres://user@host/accounts`; a file in the data directory
    /// where there is none. One that holds a password is better given in the environment.
    #[arg(
        long = "database",
        value_name = "URL",
        env = "BAZAAR_DATABASE",
        hide_env_values = true
    )]
    pub url: Option<DatabaseUrl>,
}

/// Where a command finds what the service keeps.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The data directory: the service's own, or that of a cluster of `bazaar up`.
    #[arg(long, value_name = "DIR", default_value = "var")]
    pub data_dir: PathBuf,
}
