//! openraft's log, on raft-log's files.
//!
//! What openraft is told to be stored is on disk by then: entries are acknowledged after an fsync
//! that is shared by all that arrived meanwhile, votes and truncations are waited for. The committed
//! index rides along with the next write, so that a replica which starts alone knows how far it may
//! apply its log.
//!
//! Opened after a crash, a torn tail is cut with a warning: nothing in it was acknowledged. Any
//! other damage is an error.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bazaar_daemon::planted::{Bug, planted};
use futures::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;
use tokio::sync::oneshot;

use crate::error::OpenError;
use crate::stored::Stored;
use crate::types::{Entry, LogId, Payload, Types, Vote};
use crate::{log_files, log_tail};

/// How long the log waits for more to write before it syncs. Long enough to catch what is being
/// handed over, short against the sync itself.
const FLUSH_WAIT: Duration = Duration::from_micros(20);

/// The size at which a file of the log is closed. What the newest file holds stays in memory.
const FILE_BYTES: usize = 32 << 20;

/// How much of the log's older part is kept in memory, in bytes and in entries.
const CACHE_BYTES: usize = 64 << 20;
const CACHE_ENTRIES: usize = 65_536;

/// The buffer with which files are read when the log is opened.
const READ_BUFFER: usize = 1 << 20;

/// Entries are read from the log in pages of about so many bytes: it bounds an append request, well
/// below a frame's limit, and what waits in memory to be applied.
const PAGE_BYTES: u64 = 1 << 20;

/// The most entries read at once.
const PAGE_ENTRIES: u64 = 1024;

/// What raft-log is instantiated with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogTypes;

impl raft_log::Types for LogTypes {
    type LogId = Stored<LogId>;
    type LogPayload = Stored<Payload>;
    type Vote = Stored<Vote>;
    type Callback = Flushed;
    type UserData = Stored<()>;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        size(&payload.0)
    }
}

/// About how many bytes an entry takes.
fn size(payload: &Payload) -> u64 {
    const OVERHEAD: usize = 64;
    let bytes = match payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    (OVERHEAD + bytes) as u64
}

/// Who is told that a write is on disk.
pub(crate) enum Flushed {
    Openraft(IOFlushed<Types>),
    Caller(oneshot::Sender<io::Result<()>>),
}

impl raft_log::Callback for Flushed {
    fn send(self, outcome: io::Result<()>) {
        match self {
            Self::Openraft(flushed) => flushed.io_completed(outcome),
            // A caller that has gone away does not wait for it.
            Self::Caller(caller) => drop(caller.send(outcome)),
        }
    }
}

/// The log and the vote. Clones share them.
#[derive(Clone)]
pub(crate) struct LogStore {
    /// Never locked across an await.
    log: Arc<Mutex<RaftLog<LogTypes>>>,
}

impl LogStore {
    /// Opens the log in `dir`, or makes one there.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: dir.into(),
            source,
        };
        fs::create_dir_all(dir).map_err(io)?;
        let before = log_files::sizes(dir).map_err(io)?;
        log_tail::mend(dir).map_err(io)?;
        let mut config = raft_log::Config::new(dir.display());
        config.wal.flush_batch_wait = Some(FLUSH_WAIT);
        config.wal.chunk_max_size = Some(FILE_BYTES);
        config.wal.read_buffer_size = Some(READ_BUFFER);
        config.log_cache_capacity = Some(CACHE_BYTES);
        config.log_cache_max_items = Some(CACHE_ENTRIES);
        let log = RaftLog::open(Arc::new(config)).map_err(|error| match error.kind() {
            // What raft-log itself has to say about what it reads.
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::Other => OpenError::Damaged {
                path: dir.into(),
                reason: error.to_string(),
            },
            _ => io(error),
        })?;
        log_files::warn_of_cuts(before, &log_files::sizes(dir).map_err(io)?);
        let store = Self {
            log: Arc::new(Mutex::new(log)),
        };
        store.check_complete(dir)?;
        Ok(store)
    }

    /// Whether nothing was ever stored: no entry and no vote.
    pub(crate) fn is_fresh(&self) -> io::Result<bool> {
        let log = self.lock()?;
        let state = log.log_state();
        Ok(state.vote().is_none() && state.last().is_none())
    }

    /// Up to where the log has been purged.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        Ok(self.lock()?.log_state().purged().map(|log_id| log_id.0))
    }

    /// Makes sure that the first and the last entry that there ought to be are there: files may have
    /// been removed, which raft-log takes for purged ones.
    fn check_complete(&self, dir: &Path) -> Result<(), OpenError> {
        let damaged = |reason: String| OpenError::Damaged {
            path: dir.into(),
            reason,
        };
        let log = self.lock().map_err(|error| damaged(error.to_string()))?;
        let purged = log
            .log_state()
            .purged()
            .map_or(0, |log_id| log_id.0.index + 1);
        let end = log
            .log_state()
            .last()
            .map_or(0, |log_id| log_id.0.index + 1);
        for index in [purged, end.saturating_sub(1)] {
            if index < purged || index >= end {
                continue;
            }
            match log.read(index, index + 1).next() {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(damaged(format!("entry {index}: {error}"))),
                None => return Err(damaged(format!("entry {index} is missing"))),
            }
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, RaftLog<LogTypes>>> {
        // A panic inside raft-log leaves the log in no state to go on with.
        self.log
            .lock()
            .map_err(|_| io::Error::other("the log's lock is poisoned"))
    }

    /// Applies `write` and waits until it is on disk.
    async fn write(
        &self,
        write: impl FnOnce(&mut RaftLog<LogTypes>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (caller, flushed) = oneshot::channel();
        {
            let mut log = self.lock()?;
            write(&mut log)?;
            log.flush(true, Some(Flushed::Caller(caller)))?;
        }
        flushed
            .await
            .map_err(|_| io::Error::other("the log's writer has ended"))?
    }

    /// Stores the vote and the first entry of a group that is founded on disk.
    pub(crate) async fn begin(&self, vote: Vote, entry: (LogId, Payload)) -> io::Result<()> {
        let (log_id, payload) = entry;
        self.write(|log| {
            log.save_vote(Stored(vote))?;
            log.append([(Stored(log_id), Stored(payload))]).map(drop)
        })
        .await
    }

    /// The entries of `from..to`, all of them or as many as make a page, but at least one.
    fn read(&self, from: u64, to: u64, page: Option<u64>) -> io::Result<Vec<Entry>> {
        let log = self.lock()?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in log.read(from, to) {
            let (log_id, payload) = entry?;
            bytes += size(&payload.0);
            entries.push(Entry {
                log_id: log_id.0,
                payload: payload.0,
            });
            if page.is_some_and(|page| bytes >= page) {
                break;
            }
        }
        Ok(entries)
    }
}

/// The indexes that `range` names, as a half-open range.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to.max(from))
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.read(from, to, None)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, Some(PAGE_BYTES))
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let pages = stream::try_unfold((self.clone(), from), move |(log, from)| async move {
            let page = log.read(
                from,
                to.min(from.saturating_add(PAGE_ENTRIES)),
                Some(PAGE_BYTES),
            )?;
            let next = from + page.len() as u64;
            let page = stream::iter(page.into_iter().map(Ok));
            io::Result::Ok((next > from).then_some((page, (log, next))))
        });
        futures::TryStreamExt::try_flatten(pages)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock()?.log_state().vote().map(|vote| vote.0))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.lock()?;
        let state = log.log_state();
        Ok(LogState {
            last_purged_log_id: state.purged().map(|log_id| log_id.0),
            last_log_id: state.last().map(|log_id| log_id.0),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = Stored(*vote);
        self.write(|log| log.save_vote(vote).map(drop)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut log = self.lock()?;
        // raft-log takes no index that its log does not reach, as after a snapshot was installed:
        // the state machine then knows better.
        match committed.map(Stored) {
            Some(committed) if Some(&committed) <= log.log_state().last() => {
                log.commit(committed).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock()?.log_state().committed().map(|log_id| log_id.0))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (Stored(entry.log_id), Stored(entry.payload)));
        let mut log = self.lock()?;
        log.append(entries)?;
        if planted(Bug::AcknowledgeBeforeFsync) {
            flushed.io_completed(Ok(()));
            return log.flush(true, None);
        }
        log.flush(true, Some(Flushed::Openraft(flushed)))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let end = last.map_or(0, |log_id| log_id.index + 1);
        self.write(|log| {
            // raft-log wants to know the entry that stays last.
            let has_more = log
                .log_state()
                .last()
                .is_some_and(|last| last.0.index >= end);
            if has_more {
                log.truncate(end).map(drop)
            } else {
                Ok(())
            }
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.write(|log| log.purge(Stored(upto)).map(drop)).await
    }
}
