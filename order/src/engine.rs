//! The embedded store under the order history: keyspaces of bytes, and batches of changes to them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fjall::{Database, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::error::StoreError;
use crate::format::FORMAT;
use crate::journal;

/// A key or a value, as read.
pub(crate) use fjall::Slice as Bytes;

/// The cache of blocks read, in bytes.
const CACHE: u64 = 32 << 20;
/// The journals on disk, in bytes. What they hold is read again at start.
const JOURNALS: u64 = 128 << 20;
/// What each keyspace holds in memory until it writes a table, in bytes.
const ORDERS_MEMORY: u64 = 8 << 20;
const INDEX_MEMORY: u64 = 8 << 20;
const META_MEMORY: u64 = 2 << 20;
/// The tables kept open.
const OPEN_FILES: usize = 128;
/// The threads that write and merge tables.
const WORKERS: usize = 2;

/// The file that makes a directory one of the embedded store.
pub(crate) const VERSION_FILE: &str = "version";

/// What holds keys and values, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keyspace {
    /// Number → trade.
    Orders,
    /// Request id → number.
    ByRequest,
    /// User and number → nothing, of orders that amend none.
    ByUser,
    /// Amended order and number → nothing.
    Amendments,
    /// Format and checkpoint.
    Meta,
}

/// Changes that are made together or not at all.
pub(crate) struct Batch(Vec<(Keyspace, Bytes, Bytes)>);

impl Batch {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn insert(
        &mut self,
        keyspace: Keyspace,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) {
        self.0.push((keyspace, key.into(), value.into()));
    }
}

/// The store. Clones share it.
#[derive(Clone)]
pub(crate) struct Engine {
    db: Database,
    /// One for each of [`Keyspace`], in that order.
    keyspaces: [fjall::Keyspace; 5],
    dir: PathBuf,
}

impl Engine {
    /// Opens the store in `dir`. Where there is none, one is made, and `create` writes what belongs
    /// into a new one, durably.
    pub(crate) fn open(
        dir: &Path,
        create: impl FnOnce(Self) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io {
            dir: dir.into(),
            source,
        };
        if is_vacant(dir).map_err(io)? {
            // Aside, so that what has the store's name is whole.
            let aside = dir.with_extension("new");
            if aside.exists() {
                fs::remove_dir_all(&aside).map_err(io)?;
            }
            create(Self::open_files(&aside)?)?;
            fs::rename(&aside, dir).map_err(io)?;
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))
                .and_then(|it| it.sync_all())
                .map_err(io)?;
        }
        if !dir.join(VERSION_FILE).exists() {
            let reason = format!("it has no file {VERSION_FILE}");
            return Err(StoreError::Damaged {
                dir: dir.into(),
                reason,
            });
        }
        journal::mend(dir).map_err(io)?;
        Self::open_files(dir)
    }

    fn open_files(dir: &Path) -> Result<Self, StoreError> {
        let failed = |error| failure(dir, error);
        let db = Database::builder(dir)
            .cache_size(CACHE)
            .max_journaling_size(JOURNALS)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(WORKERS)
            .open()
            .map_err(failed)?;
        let keyspace = |name, memory| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(memory)
            })
            .map_err(failed)
        };
        Ok(Self {
            keyspaces: [
                keyspace("orders", ORDERS_MEMORY)?,
                keyspace("by_request", INDEX_MEMORY)?,
                keyspace("by_user", INDEX_MEMORY)?,
                keyspace("amendments", INDEX_MEMORY)?,
                keyspace("meta", META_MEMORY)?,
            ],
            db,
            dir: dir.into(),
        })
    }

    /// The value of `key`.
    pub(crate) fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.keyspace(keyspace)
            .get(key)
            .map_err(|error| failure(&self.dir, error))
    }

    /// The keys from `first` up to and not including `beyond`, with their values.
    pub(crate) fn range(
        &self,
        keyspace: Keyspace,
        first: &[u8],
        beyond: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<> {
        let dir = self.dir.clone();
        self.keyspace(keyspace)
            .range(first..beyond)
            .map(move |entry| entry.into_inner().map_err(|error| failure(&dir, error)))
    }

    /// Makes the changes of `batch`: all or nothing, in the kernel and not yet synced when it
    /// returns.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut changes = OwnedWriteBatch::with_capacity(self.db.clone(), batch.0.len())
            .durability(Some(PersistMode::Buffer));
        for (keyspace, key, value) in batch.0 {
            changes.insert(self.keyspace(keyspace), key, value);
        }
        changes.commit().map_err(|error| failure(&self.dir, error))
    }

    /// Makes everything that was committed durable.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(|error| failure(&self.dir, error))
    }

    /// The store's own keyspace.
    pub(crate) fn keyspace(&self, keyspace: Keyspace) -> &fjall::Keyspace {
        &self.keyspaces[keyspace as usize]
    }
}

/// Whether there is nothing in `dir`.
fn is_vacant(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn failure(dir: &Path, error: fjall::Error) -> StoreError {
    let dir = dir.into();
    match error {
        fjall::Error::Locked => StoreError::Locked { dir },
        fjall::Error::Io(source) => StoreError::Io { dir, source },
        fjall::Error::Poisoned => {
            let source = io::Error::other("an earlier write has failed");
            StoreError::Io { dir, source }
        }
        fjall::Error::InvalidVersion(Some(found)) => StoreError::Format {
            dir,
            found: format!("{found:?}"),
            known: FORMAT,
        },
        fjall::Error::InvalidVersion(None) => StoreError::Damaged {
            dir,
            reason: format!("its file {VERSION_FILE} says nothing"),
        },
        other => StoreError::Damaged {
            dir,
            reason: other.to_string(),
        },
    }
}
