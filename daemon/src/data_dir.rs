//! The directory that a process keeps its state in, locked so that it has one owner.

use std::io;
use std::path::{Path, PathBuf};

use bazaar_machine::disk::{self, File, TryLockError};

/// A directory that belongs to this process until it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The kernel drops the lock when the process ends, however it ends.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, or not be written to.
    #[error("data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Another process owns it.
    #[error("data directory {path}: locked by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

impl DataDir {
    /// Makes `path` where it does not exist, and locks it.
    ///
    /// # Errors
    /// When it cannot be written to, or is locked by another process.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: path.into(),
            source,
        };
        disk::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.into(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let owner = DataDir::open(&path).unwrap();
        assert!(matches!(
            DataDir::open(&path),
            Err(DataDirError::Locked { .. })
        ));
        drop(owner);
        DataDir::open(&path).unwrap();
    }
}
