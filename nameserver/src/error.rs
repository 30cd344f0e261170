//! What can go wrong with the name server's file.

use std::io;
use std::path::PathBuf;

/// The table could not be read from disk or written to it. The process stops: a disk that fails
/// once is not to be trusted with anything.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// What happened.
    pub source: io::Error,
}
