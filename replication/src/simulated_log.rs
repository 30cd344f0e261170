//! openraft's log on a simulated disk: what `log_store` promises, without its threads.
//!
//! The entries are in memory; one file takes every change, each as a record with a checksum. Entries
//! are acknowledged after a sync that is shared by all that arrived meanwhile, votes and truncations
//! are waited for. Opened after a power loss, a torn tail is cut; other damage is an error.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Write as _};
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_machine::disk::{self, File};
use codeq::{Decode as _, Encode as _};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::error::OpenError;
use crate::log_files;
use crate::stored::Stored;
use crate::types::{Entry, LogId, Payload, Types, Vote};

/// The file, in the log's directory.
const FILE: &str = "all.wal";

/// Entries are read from the log in pages of about so many bytes, as from the real one.
const PAGE_BYTES: usize = 1 << 20;

/// One change of the log.
#[derive(Serialize, Deserialize)]
enum Change {
    Vote(Vote),
    Append(Entry),
    /// The entries from this index on are gone.
    Truncate(u64),
    Purge(LogId),
    Commit(LogId),
}

/// Who is told that a write is on disk.
enum Waiter {
    Openraft(IOFlushed<Types>),
    Caller(oneshot::Sender<io::Result<()>>),
}

/// The log as it is in memory.
#[derive(Default)]
struct Log {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
}

struct Inner {
    log: Log,
    file: File,
    waiting: mpsc::UnboundedSender<Waiter>,
}

/// The log and the vote. Clones share them.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Mutex<Inner>>);

impl Log {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Append(entry) => {
                self.entries.insert(entry.log_id.index, entry);
            }
            Change::Truncate(end) => drop(self.entries.split_off(&end)),
            Change::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(upto);
            }
            Change::Commit(committed) => self.committed = Some(committed),
        }
    }

    fn last(&self) -> Option<LogId> {
        let last = self.entries.last_key_value().map(|(_, entry)| entry.log_id);
        last.or(self.purged)
    }

    /// The entries of `range`, all of them or as many as make a page, but at least one.
    fn read(&self, range: impl RangeBounds<u64>, page: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.entries.range(range).map(|(_, entry)| entry) {
            if bytes > page {
                break;
            }
            bytes += match &entry.payload {
                EntryPayload::Normal(command) => command.0.len(),
                EntryPayload::Blank | EntryPayload::Membership(_) => 0,
            };
            entries.push(entry.clone());
        }
        entries
    }
}

/// What is found where a record is expected.
enum Found {
    Whole(Change, usize),
    /// The file ends within the record.
    Torn,
}

fn decode(bytes: &[u8]) -> Result<Found, String> {
    let mut rest = bytes;
    match Stored::<Change>::decode(&mut rest) {
        Ok(Stored(change)) => {
            let length = bytes.len() - rest.len();
            let Some(check) = rest.first_chunk::<4>() else {
                return Ok(Found::Torn);
            };
            if u32::from_le_bytes(*check) != crc32fast::hash(&bytes[..length]) {
                return Err("a record does not match its checksum".into());
            }
            Ok(Found::Whole(change, length + check.len()))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Found::Torn),
        Err(error) => Err(error.to_string()),
    }
}

impl Inner {
    fn change(&mut self, change: Change) -> io::Result<()> {
        let record = Stored(change);
        let mut bytes = Vec::new();
        record.encode(&mut bytes)?;
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        self.file.write_all(&bytes)?;
        self.log.apply(record.0);
        Ok(())
    }

    fn wait(&self, waiter: Waiter) -> io::Result<()> {
        let ended = |_| io::Error::other("the log's writer has ended");
        self.waiting.send(waiter).map_err(ended)
    }
}

/// Syncs `file` for all who wait, until nobody writes to it any more.
async fn sync(file: File, mut waiting: mpsc::UnboundedReceiver<Waiter>) {
    let mut waiters = Vec::new();
    while waiting.recv_many(&mut waiters, usize::MAX).await > 0 {
        let synced = file.sync().await;
        for waiter in waiters.drain(..) {
            let outcome = match &synced {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            match waiter {
                Waiter::Openraft(flushed) => flushed.io_completed(outcome),
                // A caller that has gone away does not wait for it.
                Waiter::Caller(caller) => drop(caller.send(outcome)),
            }
        }
    }
}

impl LogStore {
    /// Opens the log in `dir`, or makes one there.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: dir.into(),
            source,
        };
        disk::create_dir_all(dir).map_err(io)?;
        let before = log_files::sizes(dir).map_err(io)?;
        let path = dir.join(FILE);
        let file = File::append(&path).map_err(io)?;
        let bytes = disk::read(&path).map_err(io)?;
        let mut log = Log::default();
        let mut end = 0;
        while end < bytes.len() {
            match decode(&bytes[end..]) {
                Ok(Found::Whole(change, length)) => {
                    log.apply(change);
                    end += length;
                }
                Ok(Found::Torn) => break,
                Err(reason) => {
                    return Err(OpenError::Damaged {
                        path: dir.into(),
                        reason,
                    });
                }
            }
        }
        file.set_len(end as u64).map_err(io)?;
        drop(file);
        log_files::warn_of_cuts(before, &log_files::sizes(dir).map_err(io)?);
        let file = File::append(&path).map_err(io)?;
        // What was never acknowledged, and is believed from now on, has to stay.
        file.sync_all().map_err(io)?;
        let (waiting, waiters) = mpsc::unbounded_channel();
        let syncing = File::open(&path).map_err(io)?;
        drop(bazaar_machine::task::spawn(sync(syncing, waiters)));
        Ok(Self(Arc::new(Mutex::new(Inner { log, file, waiting }))))
    }

    /// Whether nothing was ever stored: no entry and no vote.
    pub(crate) fn is_fresh(&self) -> io::Result<bool> {
        let inner = self.lock();
        Ok(inner.log.vote.is_none() && inner.log.last().is_none())
    }

    /// Up to where the log has been purged.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        Ok(self.lock().log.purged)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `change`, and waits until it is on disk.
    async fn write(&self, change: Change) -> io::Result<()> {
        let (caller, flushed) = oneshot::channel();
        {
            let mut inner = self.lock();
            inner.change(change)?;
            inner.wait(Waiter::Caller(caller))?;
        }
        let ended = |_| io::Error::other("the log's writer has ended");
        flushed.await.map_err(ended)?
    }

    /// Stores the vote and the first entry of a group that is founded on disk.
    pub(crate) async fn begin(&self, vote: Vote, entry: (LogId, Payload)) -> io::Result<()> {
        let (log_id, payload) = entry;
        self.lock().change(Change::Vote(vote))?;
        self.write(Change::Append(Entry { log_id, payload })).await
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.lock().log.read(range, usize::MAX))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        Ok(self.lock().log.read(start..end, PAGE_BYTES))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().log.vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let inner = self.lock();
        Ok(LogState {
            last_purged_log_id: inner.log.purged,
            last_log_id: inner.log.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Change::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut inner = self.lock();
        match committed {
            Some(committed) if Some(committed) <= inner.log.last() => {
                inner.change(Change::Commit(committed))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock().log.committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut inner = self.lock();
        for entry in entries {
            inner.change(Change::Append(entry))?;
        }
        if planted(Bug::AcknowledgeBeforeFsync) {
            flushed.io_completed(Ok(()));
            return inner.wait(Waiter::Caller(oneshot::channel().0));
        }
        inner.wait(Waiter::Openraft(flushed))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let end = last.map_or(0, |log_id| log_id.index + 1);
        self.write(Change::Truncate(end)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.write(Change::Purge(upto)).await
    }
}
