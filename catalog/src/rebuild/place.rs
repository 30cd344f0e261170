//! The data directory of one replica that is being rebuilt: what is in its place, and what is made
//! aside to take it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bazaar_daemon::{DataDir, DataDirError};
use bazaar_rpc::ServiceName;

use super::RebuildError;

/// The file by which a data directory is locked. A directory with nothing else holds no state.
const LOCK: &str = "lock";

/// The most states set aside beside one directory.
const MAX_ASIDES: u32 = 1000;

/// A directory that nobody else uses until this is dropped.
pub(super) struct Place {
    pub(super) name: ServiceName,
    pub(super) dir: PathBuf,
    /// Whether there is a state in it.
    pub(super) holds_state: bool,
    /// Where the new one is made, on the same file system.
    aside: PathBuf,
    _locked: DataDir,
}

impl Place {
    /// Locks `dir`, and makes it where there is none.
    pub(super) fn claim(name: ServiceName, dir: PathBuf) -> Result<Self, RebuildError> {
        let locked = match DataDir::open(&dir) {
            Err(DataDirError::Locked { path: dir }) => {
                return Err(RebuildError::InUse { name, dir });
            }
            locked => locked?,
        };
        let failed = |source| DataDirError::Io {
            path: dir.clone(),
            source,
        };
        let mut holds_state = false;
        for entry in fs::read_dir(&dir).map_err(failed)? {
            holds_state |= entry.map_err(failed)?.file_name() != LOCK;
        }
        // Whatever way the directory was named, what lies beside it can be named by this.
        let dir = dir.canonicalize().map_err(failed)?;
        Ok(Self {
            name,
            holds_state,
            aside: beside(&dir, "rebuilt"),
            dir,
            _locked: locked,
        })
    }

    /// Where the new directory is made.
    pub(super) fn aside(&self) -> &Path {
        &self.aside
    }

    /// Removes what an earlier attempt left aside, and locks what is made there now.
    pub(super) fn clear_aside(&self) -> Result<DataDir, RebuildError> {
        match fs::remove_dir_all(&self.aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RebuildError::Io {
                path: self.aside.clone(),
                source: error,
            }),
            _ => Ok(DataDir::open(&self.aside)?),
        }
    }

    /// Puts what was made aside in its place, for good. Returns where the state that was there is
    /// now.
    ///
    /// Between the two renames there is nothing in the place, which is what is there when a disk is
    /// lost.
    pub(super) fn install(self) -> io::Result<Option<PathBuf>> {
        sync(&self.aside)?;
        let parent = self.dir.parent().unwrap_or(Path::new("/"));
        let set_aside = if self.holds_state {
            let lost = self.vacant_name()?;
            fs::rename(&self.dir, &lost)?;
            Some(lost)
        } else {
            fs::remove_file(self.dir.join(LOCK))?;
            fs::remove_dir(&self.dir)?;
            None
        };
        fs::rename(&self.aside, &self.dir)?;
        sync(parent)?;
        Ok(set_aside)
    }

    /// A name for the state that is set aside.
    fn vacant_name(&self) -> io::Result<PathBuf> {
        let names = (1..=MAX_ASIDES).map(|number| beside(&self.dir, &format!("aside-{number}")));
        let mut vacant = names.filter(|name| !name.exists());
        vacant
            .next()
            .ok_or_else(|| io::Error::other("too many states were set aside; remove some"))
    }
}

/// The directory's name with `suffix`.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{name}.{suffix}"))
}

/// Makes the names in `dir` durable.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all())
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::ServiceKind;

    use super::*;

    fn claim(dir: &Path) -> Place {
        Place::claim(ServiceName::new(ServiceKind::Catalog, 1), dir.into()).unwrap()
    }

    #[test]
    fn what_was_made_aside_takes_the_place_and_what_was_there_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("catalog");
        for round in 0..3 {
            let place = claim(&dir);
            assert_eq!(place.holds_state, round > 0);
            fs::create_dir_all(place.aside()).unwrap();
            fs::write(place.aside().join("left over"), "").unwrap();
            let _built = place.clear_aside().unwrap();
            fs::write(place.aside().join("state"), round.to_string()).unwrap();
            let set_aside = place.install().unwrap();
            assert_eq!(
                fs::read_to_string(dir.join("state")).unwrap(),
                round.to_string()
            );
            assert!(!dir.join("left over").exists());
            let kept = set_aside.map(|aside| fs::read_to_string(aside.join("state")).unwrap());
            assert_eq!(kept, (round > 0).then(|| (round - 1).to_string()));
        }
    }

    #[test]
    fn a_directory_in_use_is_not_claimed() {
        let root = tempfile::tempdir().unwrap();
        let name = ServiceName::new(ServiceKind::Catalog, 1);
        let _running = DataDir::open(root.path()).unwrap();
        let refused = Place::claim(name, root.path().into());
        assert!(matches!(refused, Err(RebuildError::InUse { .. })));
    }
}
