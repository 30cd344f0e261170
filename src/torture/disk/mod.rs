//! A disk that fails as disks do, for one process's data directory.
//!
//! It is a file system of this program's own (FUSE), mounted where the process keeps its data. What
//! the process writes it reads back at once; what it has not synced is gone when the power is cut.
//! The process must be killed first; of several processes on one machine all are killed, and then the
//! power of every disk is cut. A process that is killed in the midst of a sync first waits until it is
//! done, so that a cut in the midst of syncs takes [`Disk::switch_off`] before the kill.
//!
//! What a power cut leaves:
//!
//! * **Content.** A file's bytes and length are durable once `fsync` or `fdatasync` of that file has
//!   returned. Of what was written later, [`PowerCut::Clean`] leaves nothing. [`PowerCut::Torn`] leaves
//!   what its seed says of what a disk may leave: nothing; the first so many bytes, cut at any byte
//!   or at a sector of 512; or any of the sectors, each as it was at some time since, those that are
//!   missing before others as they were or as zeros. Truncations keep their order among themselves and
//!   with what is written after them.
//! * **Names.** Creating, renaming, removing: one journal of the whole disk carries them, in order,
//!   and each is whole or not at all, as ext4 in its mode `data=ordered` does it. A sync of a directory
//!   writes the journal up to there. A sync of a file does not ([`Names::ByDirectory`]: POSIX promises
//!   no more), or does as well ([`Names::ByAnySync`]: ext4, XFS and btrfs). A torn cut leaves any
//!   beginning of what is not written. Names and content know nothing of each other: a file that was
//!   renamed and not synced may be empty, as without ext4's `auto_da_alloc`.
//! * **Failed syncs.** What a failed sync was to make durable never will be, and the next sync says
//!   that all is well: that is what Linux does.
//!
//! Not modelled: writing back by itself after some time (a torn cut leaves what that would have
//! left), bits that rot (see [`corrupt`]), modes, owners, times, links. Memory maps work. A sync
//! costs no time but what [`Disk::slow_sync`] gives it: the host's disk is not synced.

pub(crate) mod console;
pub(crate) mod corrupt;
pub(crate) mod mounts;

mod content;
mod faults;
mod fuse;
mod image;
mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, MountOption};

pub(crate) use self::faults::{SyncFault, Times};
pub(crate) use self::image::{CutReport, Names, PowerCut};

use self::image::Image;

/// The threads that serve one disk.
const THREADS: usize = 4;

/// Why there is no faulty disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// What it is to be mounted on, or what is to be on it, cannot be had.
    #[error("{path}: {source}")]
    Io {
        /// What.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{path}: not empty, so no disk can be mounted there")]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// The machine does not permit it.
    #[error("cannot mount a file system on {path}: {source}{hint}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
        /// What may help.
        hint: &'static str,
    },
}

/// A disk. Dropping it unmounts it; what was on it stays in its backing directory.
pub(crate) struct Disk {
    image: Arc<Image>,
    mount_point: PathBuf,
    backing: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Mounts a disk at `mount_point`, an empty directory that is made where it is missing. Its files
    /// lie in `backing`: in a new directory an empty disk, else what was on the disk when it was last
    /// unmounted.
    ///
    /// # Errors
    /// When the directories cannot be used, or the machine permits no mount.
    pub(crate) fn mount(
        mount_point: &Path,
        backing: &Path,
        names: Names,
    ) -> Result<Self, DiskError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| DiskError::Io { path, source }
        };
        mounts::remove_stale(mount_point).map_err(io(mount_point))?;
        fs::create_dir_all(mount_point).map_err(io(mount_point))?;
        let mut entries = fs::read_dir(mount_point).map_err(io(mount_point))?;
        if entries.next().is_some() {
            return Err(DiskError::NotEmpty {
                path: mount_point.into(),
            });
        }
        let image = Arc::new(Image::open(backing, names).map_err(io(backing))?);
        let mut config = fuser::Config::default();
        config.mount_options = vec![
            MountOption::FSName(mounts::NAME.into()),
            MountOption::NoAtime,
        ];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(fuse::Fuse::new(Arc::clone(&image)), mount_point, &config)
            .map_err(|source| DiskError::Mount {
                path: mount_point.into(),
                hint: mounts::hint(&source),
                source,
            })?;
        Ok(Self {
            image,
            mount_point: mount_point.into(),
            backing: backing.into(),
            session: Some(session),
        })
    }

    /// Whether this machine permits such disks: one is mounted in `scratch`, written to and
    /// unmounted.
    ///
    /// # Errors
    /// Why not.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a look at what a machine permits")
    )]
    pub(crate) fn probe(scratch: &Path) -> Result<(), DiskError> {
        let (mount_point, backing) = (scratch.join("probe"), scratch.join("probe.disk"));
        let disk = Self::mount(&mount_point, &backing, Names::default())?;
        let file = mount_point.join("file");
        let written = fs::write(&file, b"probe").and_then(|()| fs::read(&file));
        let source = match written {
            Ok(read) if read == b"probe" => None,
            Ok(_) => Some(io::Error::other("it does not give back what was written")),
            Err(error) => Some(error),
        };
        drop(disk);
        let cleared = fs::remove_dir(&mount_point).and_then(|()| fs::remove_dir_all(&backing));
        match source.or(cleared.err()) {
            None => Ok(()),
            Some(source) => Err(DiskError::Io { path: file, source }),
        }
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Where its files lie on the host, for a look at them once it is unmounted. As the process sees
    /// them: what is not synced is there, too.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a look from outside"))]
    pub(crate) fn files(&self) -> PathBuf {
        self.backing.join("files")
    }

    /// The power is cut and comes back: see the module. The processes that use the disk must have
    /// been killed, and waited for.
    ///
    /// # Errors
    /// When the host's disk fails.
    pub(crate) fn cut(&self, how: PowerCut) -> Result<CutReport, DiskError> {
        let cut = self.image.cut(how);
        cut.map_err(|source| DiskError::Io {
            path: self.backing.clone(),
            source,
        })
    }

    /// Takes the power away: until [`Disk::cut`], which must follow, whatever is asked of the disk
    /// fails, and syncs under way make nothing durable.
    pub(crate) fn switch_off(&self) {
        self.image.switch_off();
    }

    /// Syncs of the files and directories within `within` (a path on the disk; an empty one is all of
    /// it) go wrong.
    pub(crate) fn break_sync(&self, fault: SyncFault, times: Times, within: &Path) {
        self.image.faults().break_sync(fault, times, within);
    }

    /// Reads of the files within `within` fail with EIO, except what the kernel has in its cache.
    pub(crate) fn break_read(&self, times: Times, within: &Path) {
        self.image.faults().break_read(times, within);
    }

    /// Each sync takes so much longer.
    pub(crate) fn slow_sync(&self, delay: Duration) {
        self.image.faults().sync_delay = delay;
    }

    /// The disk is full once it has taken `room` more bytes.
    pub(crate) fn fill(&self, room: u64) {
        let capacity = self.image.used().saturating_add(room);
        self.image.faults().capacity = Some(capacity);
    }

    /// Ends every fault, a full disk, too. What a sync has lost stays lost.
    pub(crate) fn repair(&self) {
        *self.image.faults() = faults::Faults::default();
    }

    /// How many writes have found it full since it was last repaired.
    pub(crate) fn found_full(&self) -> u64 {
        self.image.faults().found_full
    }

    /// How many syncs have failed or lied since it was last repaired.
    pub(crate) fn broken_syncs(&self) -> u64 {
        self.image.faults().broken_syncs
    }

    /// Whether a power cut would find nothing to take.
    pub(crate) fn is_synced(&self) -> bool {
        self.image.is_synced()
    }

    /// Makes everything durable, as a machine does that is shut down well.
    pub(crate) fn settle(&self) {
        self.image.settle();
    }

    /// The syncs there have been, of files and directories, whatever became of them.
    pub(crate) fn syncs(&self) -> u64 {
        self.image.syncs()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        drop(session);
        // What still uses it keeps it busy: it then vanishes for all others, and ends with the last.
        if let Err(error) = mounts::remove(&self.mount_point) {
            let mount_point = self.mount_point.display();
            tracing::warn!(%mount_point, %error, "cannot unmount");
        }
    }
}

#[cfg(test)]
mod tests;
