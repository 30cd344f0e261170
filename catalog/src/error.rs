//! What can go wrong with the files that the catalog lives on.

use std::io;
use std::path::PathBuf;

use bazaar_replication::ProposeError;
use bazaar_rpc::catalog::CatalogError;

/// A shop file that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// It cannot be read.
    #[error("shop file {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Its content is wrong.
    #[error("shop file {}, line {line}: {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field and what is wrong with it.
        problem: String,
    },
}

/// Why `catalog.json` cannot be used. Each says what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Another version of the program wrote it.
    #[error(
        "{}: has format {found} and this program reads format {known}; \
         start the program that wrote it",
        file.display()
    )]
    Format {
        /// The file.
        file: PathBuf,
        /// The format it has.
        found: u64,
        /// The format that is read here.
        known: u64,
    },
    /// It is not what was written.
    #[error(
        "{}: damaged or edited ({problem}); put a good copy back in its place. Where there is none, \
         `bazaar replace` gives one of several replicas what its group has, and `bazaar catalog \
         rebuild` restores a catalog that is alone",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The catalog's answer where the group did not take, or may not have taken, what was asked.
pub(crate) fn not_proposed(error: ProposeError) -> CatalogError {
    match error {
        ProposeError::NotLeader { leader } => CatalogError::NotLeader { leader },
        ProposeError::Unknown => CatalogError::Unknown,
    }
}
