//! The order history on disk, with its indexes: an embedded log-structured store.
//!
//! Orders, indexes, head and mark change in one atomic batch. A batch is handed to the kernel, not
//! synced: the replicated log is the journal, and is replayed from the mark that is found here. So
//! what may be found is what any earlier batch left behind, and never anything between two batches:
//!
//! * After the process was killed: the last batch. Each one is in the kernel when it returns.
//! * After a power loss: at least what was there at the last [`Store::persist`], and a prefix of the
//!   batches since. The store's own journal is one sequence over all keyspaces, it is read up to the
//!   first batch that is not whole (see [`journal`]), and it is synced before any table that holds its
//!   batches is written, so no table is ever ahead of it.
//!
//! Damage that a journal's end cannot explain is found by checksums, and by the numbers: order
//! numbers have no gap, so a hole shows wherever it is read, and the newest orders are read at start.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bazaar_replication::Mark;
use bazaar_rpc::{Order, OrderNumber, RequestId, Trade, UserId};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::StoreError;
use crate::format::{self, FORMAT, InvalidRecord};
use crate::journal;
use crate::state::Head;

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

/// The newest orders that are looked for at start: more than [`ORDERS_MEMORY`] holds. Older ones are
/// in tables, whose blocks have checksums.
const CHECKED_AT_START: u64 = 1 << 17;

/// The most bytes of orders in one part of [`Store::part`].
pub(crate) const MAX_PART: usize = (1 << 20) - 1024;

/// The file that makes a directory one of the embedded store.
const VERSION_FILE: &str = "version";

const FORMAT_KEY: &str = "format";
const CHECKPOINT_KEY: &str = "checkpoint";

/// How far the store is: the end of the order log, and the place in the replicated log that led
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) head: Head,
    pub(crate) mark: Option<Mark>,
}

/// The order store. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    db: Database,
    /// Number → trade.
    orders: Keyspace,
    /// Request id → number.
    by_request: Keyspace,
    /// User and number → nothing.
    by_user: Keyspace,
    /// Format and checkpoint.
    meta: Keyspace,
    dir: PathBuf,
    head: watch::Sender<Head>,
}

impl Store {
    /// Opens the store in `dir`; makes one where there is none.
    ///
    /// # Errors
    /// When it is damaged, of another format, in use, or cannot be read.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Checkpoint), StoreError> {
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
            Self::open_files(&aside)?.create()?;
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
        let store = Self::open_files(dir)?;
        let checkpoint = store.recover()?;
        store.head.send_replace(checkpoint.head);
        Ok((store, checkpoint))
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
            orders: keyspace("orders", ORDERS_MEMORY)?,
            by_request: keyspace("by_request", INDEX_MEMORY)?,
            by_user: keyspace("by_user", INDEX_MEMORY)?,
            meta: keyspace("meta", META_MEMORY)?,
            db,
            dir: dir.into(),
            head: watch::Sender::default(),
        })
    }

    /// Reads the checkpoint, and checks that the orders are there that it speaks of.
    fn recover(&self) -> Result<Checkpoint, StoreError> {
        let get = |key| self.meta.get(key).map_err(|error| self.failure(error));
        let found = get(FORMAT_KEY)?.ok_or_else(|| self.damaged("it has no format"))?;
        if found[..] != [FORMAT] {
            let found = format!("{:?}", &found[..found.len().min(8)]);
            return Err(StoreError::Format {
                dir: self.dir.clone(),
                found,
                known: FORMAT,
            });
        }
        let record = get(CHECKPOINT_KEY)?.ok_or_else(|| self.damaged("it has no checkpoint"))?;
        let checkpoint: Checkpoint = self.decode(&record)?;
        let end = checkpoint.head.next_number;
        let checked = OrderNumber(end.0.saturating_sub(CHECKED_AT_START));
        let mut last = None;
        for record in self.scan(checked, end) {
            last = Some(record?);
        }
        if let Some((number, record)) = last {
            let trade: Trade = self.decode(&record)?;
            if self.number_of_request(trade.request.request)? != Some(number) {
                return Err(self.damaged(format!("order {number} is not in the index")));
            }
        }
        let mut beyond = self.orders.range(end.0.to_be_bytes()..);
        if beyond.next().is_some() {
            return Err(self.damaged(format!("it has orders after the last one, {end}")));
        }
        Ok(checkpoint)
    }

    /// Writes the first records of a store, durably.
    fn create(&self) -> Result<(), StoreError> {
        let mut batch = self.batch(2);
        batch.insert(&self.meta, FORMAT_KEY, [FORMAT]);
        batch.insert(
            &self.meta,
            CHECKPOINT_KEY,
            format::encode(&Checkpoint::default()),
        );
        batch.commit().map_err(|error| self.failure(error))?;
        self.persist()
    }

    /// Adds `orders`, which follow the last one, and stores `checkpoint` with them: all or nothing,
    /// in the kernel and not yet synced when it returns.
    pub(crate) fn append(
        &self,
        orders: &[Order],
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        let mut batch = self.batch(3 * orders.len() + 1);
        for Order { number, trade } in orders {
            let number = number.0.to_be_bytes();
            batch.insert(&self.orders, number, format::encode(trade));
            batch.insert(&self.by_request, trade.request.request.as_bytes(), number);
            if let Some(user) = trade.request.user {
                batch.insert(&self.by_user, user_key(user, number), []);
            }
        }
        batch.insert(&self.meta, CHECKPOINT_KEY, format::encode(checkpoint));
        batch.commit().map_err(|error| self.failure(error))?;
        self.head.send_if_modified(|head| {
            let moved = *head != checkpoint.head;
            *head = checkpoint.head;
            moved
        });
        Ok(())
    }

    /// Makes everything that was added durable.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.failure(error))
    }

    /// The end of the order log: what is before it can be read.
    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// The order of that number.
    pub(crate) fn order(&self, number: OrderNumber) -> Result<Option<Order>, StoreError> {
        if number >= self.head().next_number {
            return Ok(None);
        }
        let record = self
            .orders
            .get(number.0.to_be_bytes())
            .map_err(|error| self.failure(error))?;
        let record = record.ok_or_else(|| self.missing(number))?;
        Ok(Some(Order {
            number,
            trade: self.decode(&record)?,
        }))
    }

    /// The order that was recorded under that request id.
    pub(crate) fn order_of_request(&self, id: RequestId) -> Result<Option<Order>, StoreError> {
        self.number_of_request(id)?
            .map_or(Ok(None), |number| self.order(number))
    }

    fn number_of_request(&self, id: RequestId) -> Result<Option<OrderNumber>, StoreError> {
        let number = self
            .by_request
            .get(id.as_bytes())
            .map_err(|error| self.failure(error))?;
        number.map(|bytes| self.number(&bytes)).transpose()
    }

    /// At most `limit` orders of `user`, by number, after `after`.
    pub(crate) fn orders_of_user(
        &self,
        user: UserId,
        after: Option<OrderNumber>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let first = after
            .map_or(OrderNumber(0), OrderNumber::next)
            .0
            .to_be_bytes();
        let range: RangeInclusive<_> =
            user_key(user, first)..=user_key(user, u64::MAX.to_be_bytes());
        let mut orders = Vec::new();
        for entry in self.by_user.range(range).take(limit) {
            let key = entry.key().map_err(|error| self.failure(error))?;
            let number = self.number(&key[8..])?;
            // The index may already be ahead of the head that readers see.
            orders.extend(self.order(number)?);
        }
        Ok(orders)
    }

    /// The orders from `from` on, at most `limit`.
    pub(crate) fn page(&self, from: OrderNumber, limit: usize) -> Result<Vec<Order>, StoreError> {
        let end = OrderNumber(from.0.saturating_add(limit as u64)).min(self.head().next_number);
        self.scan(from, end)
            .map(|record| {
                let (number, record) = record?;
                Ok(Order {
                    number,
                    trade: self.decode(&record)?,
                })
            })
            .collect()
    }

    /// The trades of the orders from `from` on and before `end`, as many as [`MAX_PART`] bytes hold.
    pub(crate) fn part(
        &self,
        from: OrderNumber,
        end: OrderNumber,
    ) -> Result<Vec<Trade>, StoreError> {
        let mut trades = Vec::new();
        let mut size = 0;
        for record in self.scan(from, end) {
            let (_, record) = record?;
            size += record.len();
            if size > MAX_PART {
                break;
            }
            trades.push(self.decode(&record)?);
        }
        Ok(trades)
    }

    /// The records from `from` on and before `end`; an error where one is missing.
    fn scan(
        &self,
        from: OrderNumber,
        end: OrderNumber,
    ) -> impl Iterator<Item = Result<(OrderNumber, Slice), StoreError>> + '_ {
        let mut records = self
            .orders
            .range(from.0.to_be_bytes()..end.0.max(from.0).to_be_bytes());
        (from.0..end.0).map(OrderNumber).map(move |number| {
            let record = records.next().ok_or_else(|| self.missing(number))?;
            let (key, record) = record.into_inner().map_err(|error| self.failure(error))?;
            if self.number(&key)? == number {
                Ok((number, record))
            } else {
                Err(self.missing(number))
            }
        })
    }

    fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity)
            .durability(Some(PersistMode::Buffer))
    }

    fn number(&self, bytes: &[u8]) -> Result<OrderNumber, StoreError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| self.damaged("an index entry is no number"))?;
        Ok(OrderNumber(u64::from_be_bytes(bytes)))
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, record: &[u8]) -> Result<T, StoreError> {
        format::decode(record).map_err(|error: InvalidRecord| self.damaged(error.to_string()))
    }

    fn missing(&self, number: OrderNumber) -> StoreError {
        self.damaged(format!("order {number} is missing"))
    }

    fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            dir: self.dir.clone(),
            reason: reason.into(),
        }
    }

    fn failure(&self, error: fjall::Error) -> StoreError {
        failure(&self.dir, error)
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

/// A key of the index by user.
fn user_key(user: UserId, number: [u8; 8]) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&user.0.to_be_bytes());
    key[8..].copy_from_slice(&number);
    key
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

#[cfg(test)]
mod tests;
