//! The contract of the name service: Pyro's verbs over a table of names, addresses and metadata.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest name, and the longest piece of metadata, in bytes.
pub const MAX_TEXT: usize = 200;

/// The most pieces of metadata one entry may have.
pub const MAX_METADATA: usize = 32;

/// The most names the service keeps.
pub const MAX_ENTRIES: usize = 10_000;

/// The length of the lease under which services of a cluster keep their entries. They renew it
/// three times within its length.
pub const SERVICE_LEASE: Duration = Duration::from_secs(3);

/// Served by the name server.
#[tarpc::service]
pub trait Naming {
    /// Enters `registration`. A name that is taken is refused unless `replace` is set or the entry
    /// there is the same one: then its lease is renewed. Renewing and registering are one verb, so
    /// that a name server which has lost its table is whole again within one renewal.
    async fn register(registration: Registration, replace: bool) -> Result<(), NamingError>;

    /// The entry of `name`.
    async fn lookup(name: String) -> Result<Entry, NamingError>;

    /// The entries that `selector` selects, by name.
    async fn list(selector: Selector) -> Result<Vec<Entry>, NamingError>;

    /// The entries whose metadata has all of `all` and, where `any` is not empty, one of `any`
    /// (Pyro's yellow-pages lookup).
    async fn yplookup(
        all: BTreeSet<String>,
        any: BTreeSet<String>,
    ) -> Result<Vec<Entry>, NamingError>;

    /// Replaces the metadata of `name`.
    async fn set_metadata(name: String, metadata: BTreeSet<String>) -> Result<(), NamingError>;

    /// Removes the entries that `selector` selects; returns how many.
    async fn remove(selector: Selector) -> Result<u64, NamingError>;

    /// Answers.
    async fn ping();

    /// How many names there are.
    async fn count() -> u64;
}

/// What a service enters about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// 1 to [`MAX_TEXT`] bytes.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it says about itself, such as `kind:order`.
    pub metadata: BTreeSet<String>,
    /// How long the entry lives unless it is renewed; for ever where there is none.
    pub lease: Option<Duration>,
}

/// One live name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it says about itself.
    pub metadata: BTreeSet<String>,
    /// How much longer the entry lives unless it is renewed.
    pub expires_in: Option<Duration>,
}

/// Selects names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    /// All of them.
    All,
    /// This one.
    Name(String),
    /// Those that begin with it.
    Prefix(String),
    /// Those that this regular expression matches, as a whole.
    Regex(String),
}

/// Why the name service did not do what was asked. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NamingError {
    /// Nobody has that name, or its lease has run out.
    #[error("unknown name {0:?}")]
    Unknown(String),
    /// Somebody else has that name.
    #[error("the name {name:?} is taken by {address}; --replace overwrites it")]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        address: SocketAddr,
    },
    /// A name, a piece of metadata or a regular expression is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The table has [`MAX_ENTRIES`] entries.
    #[error("the name server is full")]
    Full,
}
