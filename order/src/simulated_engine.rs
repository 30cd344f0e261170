//! The embedded store on a simulated disk: what `engine` promises, without its threads.
//!
//! Ordered maps in memory; one journal takes every batch, each as a record with a checksum. Opened
//! after a power loss, the journal is read up to the first batch that is not whole.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_machine::disk::{self, File};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::format;

/// A key or a value, as read.
pub(crate) type Bytes = Vec<u8>;

/// The journal, in the store's directory.
const JOURNAL: &str = "all.journal";

/// What holds keys and values, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Serialize, Deserialize)]
pub(crate) struct Batch(Vec<(Keyspace, Bytes, Bytes)>);

impl Batch {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn insert(
        &mut self,
        keyspace: Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.0.push((keyspace, key, value));
    }
}

/// The store. Clones share it.
#[derive(Clone)]
pub(crate) struct Engine {
    inner: Arc<Mutex<Inner>>,
    dir: PathBuf,
}

struct Inner {
    keyspaces: BTreeMap<Keyspace, BTreeMap<Bytes, Bytes>>,
    journal: File,
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
        if !disk::exists(dir).map_err(io)? {
            // Aside, so that what has the store's name is whole.
            let aside = dir.with_extension("new");
            if disk::exists(&aside).map_err(io)? {
                disk::remove_dir_all(&aside).map_err(io)?;
            }
            create(Self::read(&aside).map_err(io)?)?;
            disk::rename(&aside, dir).map_err(io)?;
            let parent = dir.parent().unwrap_or(Path::new("/"));
            File::open(parent)
                .and_then(|it| it.sync_all())
                .map_err(io)?;
        }
        Self::read(dir).map_err(io)
    }

    fn read(dir: &Path) -> io::Result<Self> {
        disk::create_dir_all(dir)?;
        let path = dir.join(JOURNAL);
        let journal = File::append(&path)?;
        let bytes = disk::read(&path)?;
        let mut keyspaces = BTreeMap::<_, BTreeMap<_, _>>::new();
        let mut rest = &bytes[..];
        while let Some((batch, after)) = next(rest) {
            for (keyspace, key, value) in batch.0 {
                keyspaces.entry(keyspace).or_default().insert(key, value);
            }
            rest = after;
        }
        journal.set_len((bytes.len() - rest.len()) as u64)?;
        let journal = File::append(&path)?;
        let inner = Inner { keyspaces, journal };
        Ok(Self {
            inner: Arc::new(Mutex::new(inner)),
            dir: dir.into(),
        })
    }

    /// The value of `key`.
    pub(crate) fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let inner = self.lock();
        let found = inner.keyspaces.get(&keyspace).and_then(|it| it.get(key));
        Ok(found.cloned())
    }

    /// The keys from `first` up to and not including `beyond`, with their values.
    pub(crate) fn range(
        &self,
        keyspace: Keyspace,
        first: &[u8],
        beyond: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<> {
        let found: Vec<_> = match self.lock().keyspaces.get(&keyspace) {
            Some(keys) => keys
                .range(first.to_vec()..beyond.to_vec())
                .map(|(key, value)| Ok((key.clone(), value.clone())))
                .collect(),
            None => Vec::new(),
        };
        found.into_iter()
    }

    /// Makes the changes of `batch`: all or nothing, in the kernel and not yet synced when it
    /// returns.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let record = format::encode(&batch);
        let length = u32::try_from(record.len()).expect("a batch is far below 4 GiB");
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&record).to_le_bytes());
        bytes.extend_from_slice(&record);
        let mut inner = self.lock();
        let written = inner.journal.write_all(&bytes);
        written.map_err(|source| self.failure(source))?;
        for (keyspace, key, value) in batch.0 {
            let keys = inner.keyspaces.entry(keyspace).or_default();
            keys.insert(key, value);
        }
        Ok(())
    }

    /// Makes everything that was committed durable.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        let synced = self.lock().journal.sync_all();
        synced.map_err(|source| self.failure(source))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            dir: self.dir.clone(),
            source,
        }
    }
}

/// The batch at the beginning of `bytes`, where it is whole, and what comes after it.
fn next(bytes: &[u8]) -> Option<(Batch, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (record, rest) = rest.split_at_checked(length)?;
    if crc32fast::hash(record) != u32::from_le_bytes(*check) {
        return None;
    }
    format::decode(record).ok().map(|batch| (batch, rest))
}
