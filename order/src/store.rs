//! The order history on disk, with its indexes: an embedded log-structured store.
//!
//! Orders, indexes, head and mark change in one atomic batch. A batch is handed to the kernel, not
//! synced: the replicated log is the journal, and is replayed from the mark that is found here. So
//! what may be found is what any earlier batch left behind, and never anything between two batches:
//!
//! * After the process was killed: the last batch. Each one is in the kernel when it returns.
//! * After a power loss: at least what was there at the last [`Store::persist`], and a prefix of the
//!   batches since. The store's own journal is one sequence over all keyspaces, it is read up to the
//!   first batch that is not whole (see `journal`), and it is synced before any table that holds its
//!   batches is written, so no table is ever ahead of it.
//!
//! Damage that a journal's end cannot explain is found by checksums, and by the numbers: order
//! numbers have no gap, so a hole shows wherever it is read, and the newest orders are read at start.

use std::path::{Path, PathBuf};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_replication::Mark;
use bazaar_rpc::{Order, OrderNumber, RequestId, Trade};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::engine::{Batch, Bytes, Engine, Keyspace};
use crate::error::StoreError;
use crate::format::{self, FORMAT, InvalidRecord};
use crate::state::Head;

/// The newest orders that are looked for at start: more than the engine holds in
/// memory. Older ones are in tables, whose blocks have checksums.
const CHECKED_AT_START: u64 = 1 << 17;

/// The most bytes of orders in one part of [`Store::part`].
pub(crate) const MAX_PART: usize = (1 << 20) - 1024;

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
    engine: Engine,
    dir: PathBuf,
    head: watch::Sender<Head>,
}

impl Store {
    /// Opens the store in `dir`; makes one where there is none.
    ///
    /// # Errors
    /// When it is damaged, of another format, in use, or cannot be read.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Checkpoint), StoreError> {
        let found = Engine::open(dir, |fresh| Self::over(fresh, dir).create())?;
        let store = Self::over(found, dir);
        let checkpoint = store.recover()?;
        store.head.send_replace(checkpoint.head);
        Ok((store, checkpoint))
    }

    fn over(engine: Engine, dir: &Path) -> Self {
        Self {
            engine,
            dir: dir.into(),
            head: watch::Sender::default(),
        }
    }

    /// Reads the checkpoint, and checks that the orders are there that it speaks of.
    fn recover(&self) -> Result<Checkpoint, StoreError> {
        let found = self.engine.get(Keyspace::Meta, FORMAT_KEY.as_bytes())?;
        let found = found.ok_or_else(|| self.damaged("it has no format"))?;
        if found[..] != [FORMAT] {
            let found = format!("{:?}", &found[..found.len().min(8)]);
            return Err(StoreError::Format {
                dir: self.dir.clone(),
                found,
                known: FORMAT,
            });
        }
        let checkpoint = self.checkpoint()?;
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
        let mut beyond = (self.engine).range(Keyspace::Orders, &end.0.to_be_bytes(), &[u8::MAX; 8]);
        if beyond.next().is_some() {
            return Err(self.damaged(format!("it has orders after the last one, {end}")));
        }
        Ok(checkpoint)
    }

    /// The checkpoint in the store.
    fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let record = self.engine.get(Keyspace::Meta, CHECKPOINT_KEY.as_bytes())?;
        self.decode(&record.ok_or_else(|| self.damaged("it has no checkpoint"))?)
    }

    /// Writes the first records of a store, durably.
    fn create(&self) -> Result<(), StoreError> {
        let mut batch = Batch::with_capacity(2);
        batch.insert(Keyspace::Meta, FORMAT_KEY, [FORMAT]);
        let checkpoint = format::encode(&Checkpoint::default());
        batch.insert(Keyspace::Meta, CHECKPOINT_KEY, checkpoint);
        self.engine.commit(batch)?;
        self.persist()
    }

    /// Adds `orders`, which follow the last one, and stores `checkpoint` with them: all or nothing,
    /// in the kernel and not yet synced when it returns.
    pub(crate) fn append(
        &self,
        orders: &[Order],
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        // What comes in a snapshot leaves the mark where it is until all of it is there.
        let is_unindexed =
            planted(Bug::SnapshotWithoutRequestIds) && checkpoint.mark == self.checkpoint()?.mark;
        let mut batch = Batch::with_capacity(3 * orders.len() + 1);
        for order in orders {
            let Order { number, trade } = order;
            let number = number.0.to_be_bytes();
            batch.insert(Keyspace::Orders, number, format::encode(trade));
            let request = trade.request.request;
            if !is_unindexed {
                batch.insert(Keyspace::ByRequest, request.as_bytes(), number);
            }
            if let Some((keyspace, key)) = states::entry(order) {
                batch.insert(keyspace, key, []);
            }
        }
        batch.insert(Keyspace::Meta, CHECKPOINT_KEY, format::encode(checkpoint));
        self.engine.commit(batch)?;
        self.head.send_if_modified(|head| {
            let moved = *head != checkpoint.head;
            *head = checkpoint.head;
            moved
        });
        Ok(())
    }

    /// Makes everything that was added durable.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        self.engine.persist()
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
        let key = number.0.to_be_bytes();
        let record = self.engine.get(Keyspace::Orders, &key)?;
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
        let number = self.engine.get(Keyspace::ByRequest, id.as_bytes())?;
        number.map(|bytes| self.number(&bytes)).transpose()
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
    ) -> impl Iterator<Item = Result<(OrderNumber, Bytes), StoreError>> + '_ {
        let (first, beyond) = (from.0.to_be_bytes(), end.0.max(from.0).to_be_bytes());
        let mut records = self.engine.range(Keyspace::Orders, &first, &beyond);
        (from.0..end.0).map(OrderNumber).map(move |number| {
            let record = records.next().ok_or_else(|| self.missing(number))?;
            let (key, record) = record?;
            if self.number(&key)? == number {
                Ok((number, record))
            } else {
                Err(self.missing(number))
            }
        })
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
}

mod states;
#[cfg(test)]
mod tests;
