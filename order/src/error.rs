//! What can go wrong with the order store.

use std::io;
use std::path::PathBuf;

use bazaar_replication::WAY_OUT;

/// The order store cannot be used. Whatever it says, the process stops: a disk that fails once is
/// not to be trusted with anything.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another version of this program wrote it.
    #[error(
        "order store {dir}: it has format {found}, and this version reads format {known} only; \
         run the version that wrote it"
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// The format it has.
        found: String,
        /// The format this version reads.
        known: u8,
    },
    /// It does not hold together.
    #[error("order store {dir}: damaged: {reason}. {WAY_OUT}")]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another process has it open.
    #[error("order store {dir}: in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The machine could not read or write.
    #[error("order store {dir}: {source}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
