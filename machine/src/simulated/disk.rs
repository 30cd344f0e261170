//! A simulated disk, and what it loses.
//!
//! It behaves as ext4 does in its worst mode (`data=writeback`): the names of files are journalled
//! in order, and any sync makes all of them durable that came before it; the contents of a file are
//! durable by a sync of that file alone, and a rename is no sync. After a power loss a file that was
//! appended to may end anywhere in what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};

/// What becomes of syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// They do what they say.
    #[default]
    Works,
    /// They fail, and sync nothing.
    Fails,
    /// They succeed, and sync nothing.
    Lies,
}

/// A disk. Clones share it.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// What has a name.
#[derive(Clone)]
pub(super) enum Node {
    Directory,
    File(Arc<Mutex<Contents>>),
}

/// The contents of a file, as the kernel has them and as the disk has them.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    durable: Vec<u8>,
    /// From here on, the two may differ.
    changed_from: usize,
}

/// The files by name.
pub(super) type Names = BTreeMap<PathBuf, Node>;

pub(super) struct State {
    pub(super) names: Names,
    durable_names: Names,
    names_changed: bool,
    /// Counts the processes that have had this disk: what an earlier one opened is closed.
    pub(super) owner: u64,
    /// Whether the newest of them still runs.
    pub(super) is_owned: bool,
    fsync: Fsync,
    /// How long a sync takes, at the least and at the most.
    sync_time: (Duration, Duration),
    /// The time that syncs took and nobody has spent yet.
    owed: Duration,
    is_full: bool,
    rng: SmallRng,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::from([(PathBuf::from("/"), Node::Directory)]),
            durable_names: BTreeMap::from([(PathBuf::from("/"), Node::Directory)]),
            names_changed: false,
            owner: 0,
            is_owned: false,
            fsync: Fsync::Works,
            sync_time: (Duration::ZERO, Duration::from_millis(1)),
            owed: Duration::ZERO,
            is_full: false,
            rng: SmallRng::seed_from_u64(seed),
        })))
    }

    /// Sets what becomes of syncs from now on.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.state().fsync = fsync;
    }

    /// Sets how long a sync takes, at the least and at the most.
    pub fn set_sync_time(&self, shortest: Duration, longest: Duration) {
        self.state().sync_time = (shortest, longest);
    }

    /// Sets whether there is no room for another byte.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Removes everything: the disk was replaced by a new one.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.names.retain(|path, _| path == Path::new("/"));
        state.durable_names = state.names.clone();
        state.names_changed = false;
    }

    /// Flips one bit in the contents of the file at `path`; says whether there is such a bit.
    pub fn flip(&self, path: &Path, bit: usize) -> bool {
        let state = self.state();
        let Some(Node::File(contents)) = state.names.get(path) else {
            return false;
        };
        let mut contents = lock(contents);
        let Contents { bytes, durable, .. } = &mut *contents;
        for copy in [&mut *bytes, durable] {
            if let Some(byte) = copy.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        bit / 8 < bytes.len()
    }

    /// The names and sizes of all files.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.state();
        let files = state.names.iter().filter_map(|(path, node)| match node {
            Node::File(contents) => Some((path.clone(), lock(contents).bytes.len())),
            Node::Directory => None,
        });
        files.collect()
    }

    /// How long the next sync takes.
    #[must_use]
    pub fn sync_time(&self) -> Duration {
        let State { sync_time, rng, .. } = &mut *self.state();
        let (shortest, longest) = (sync_time.0.as_micros(), sync_time.1.as_micros());
        let micros = rng.random_range(shortest..=longest.max(shortest));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Takes the time that syncs took.
    pub(super) fn owed(&self) -> Duration {
        std::mem::take(&mut self.state().owed)
    }

    pub(super) fn owe(&self) {
        let time = self.sync_time();
        self.state().owed += time;
    }

    pub(super) fn own(&self) {
        let mut state = self.state();
        state.owner += 1;
        state.is_owned = true;
    }

    pub(super) fn disown(&self) {
        let mut state = self.state();
        state.is_owned = false;
        state.owed = Duration::ZERO;
    }

    pub(super) fn lose_unsynced(&self) {
        let State {
            names,
            durable_names,
            names_changed,
            rng,
            ..
        } = &mut *self.state();
        if *names_changed && rng.random_bool(0.5) {
            *names = durable_names.clone();
        }
        *durable_names = names.clone();
        *names_changed = false;
        for node in names.values() {
            if let Node::File(contents) = node {
                lock(contents).lose_unsynced(rng);
            }
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// # Errors
    /// When there is no room.
    pub(super) fn check_room(&self) -> io::Result<()> {
        if self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn change_names(&mut self) -> &mut Names {
        self.names_changed = true;
        &mut self.names
    }

    /// Makes all names durable, and the contents of `file`.
    pub(super) fn sync(&mut self, file: Option<&Arc<Mutex<Contents>>>) -> io::Result<()> {
        match self.fsync {
            Fsync::Lies => return Ok(()),
            Fsync::Fails => return Err(io::Error::other("input/output error")),
            Fsync::Works => {}
        }
        if self.names_changed {
            self.durable_names = self.names.clone();
            self.names_changed = false;
        }
        if let Some(file) = file {
            lock(file).sync();
        }
        Ok(())
    }
}

impl Contents {
    /// Replaces what is at `position`.
    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        self.changed_from = self.changed_from.min(position);
        let end = position + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[position..end].copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.changed_from = self.changed_from.min(length).min(self.bytes.len());
        self.bytes.resize(length, 0);
    }

    fn sync(&mut self) {
        let same = self.changed_from.min(self.durable.len());
        self.durable.truncate(same);
        self.durable.extend_from_slice(&self.bytes[same..]);
        self.changed_from = self.bytes.len();
    }

    fn lose_unsynced(&mut self, rng: &mut SmallRng) {
        let is_longer = self.changed_from >= self.durable.len();
        let mut left = std::mem::take(&mut self.durable);
        if is_longer && self.bytes.len() > left.len() && rng.random_bool(0.5) {
            // Part of what was appended got there all the same.
            let end = rng.random_range(left.len()..=self.bytes.len());
            left.extend_from_slice(&self.bytes[left.len()..end]);
        }
        self.bytes.clone_from(&left);
        self.changed_from = left.len();
        self.durable = left;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
