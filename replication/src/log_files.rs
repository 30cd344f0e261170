//! The files of the log, as they lie in its directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bazaar_machine::disk;
use tracing::warn;

/// The files of the log in `dir` and their sizes.
pub(crate) fn sizes(dir: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    for entry in disk::read_dir(dir)? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "wal")
        {
            files.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(files)
}

/// Whether `dir` holds a log.
pub(crate) fn exist(dir: &Path) -> io::Result<bool> {
    match sizes(dir) {
        Ok(files) => Ok(!files.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Warns of the files that are shorter than they were, or gone.
pub(crate) fn warn_of_cuts(before: BTreeMap<PathBuf, u64>, after: &BTreeMap<PathBuf, u64>) {
    for (file, bytes) in before {
        let left = after.get(&file).copied().unwrap_or(0);
        if left < bytes {
            let (file, cut) = (file.display(), bytes - left);
            warn!(%file, cut, left, "cut off the torn tail of the log, in bytes");
        }
    }
}
