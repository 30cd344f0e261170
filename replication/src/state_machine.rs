//! Between openraft and a service's state machine.
//!
//! openraft is compiled for this one adapter, whatever the service: the service's state machine is
//! behind a trait object in it.

use std::io;
use std::sync::Arc;

use bazaar_daemon::{Failure, Tasks};
use bazaar_machine::task::spawn_blocking;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, StoredMembership};
use tokio::sync::watch;

use crate::machine::Machine;
use crate::snapshot::Transfer;
use crate::types::{Answer, LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::{Mark, View};

/// The most commands, and about the most bytes of commands, that are applied together.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The name under which a failure of the service's state machine is reported.
const TASK: &str = "state machine";

/// How far the state machine is, for those beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last index applied.
    pub(crate) applied: Option<u64>,
    /// The last index that is durable without the log, as far as is known.
    pub(crate) persisted: Option<u64>,
    /// Counts the views persisted since the process started.
    pub(crate) views: u64,
    /// Counts the snapshots received since the process started.
    pub(crate) installed: u64,
}

/// A service's state machine, as openraft drives it.
pub(crate) struct Adapter {
    /// None while a task that may block has it, and for ever once it has failed.
    machine: Option<Box<dyn Machine>>,
    applied: Option<LogId>,
    membership: Membership,
    progress: Arc<watch::Sender<Progress>>,
    tasks: Tasks,
}

impl Adapter {
    pub(crate) fn new(machine: Box<dyn Machine>, tasks: Tasks) -> Self {
        let mark = machine.mark();
        let index = mark.as_ref().map(Mark::index);
        let progress = watch::Sender::new(Progress {
            applied: index,
            persisted: index,
            ..Progress::default()
        });
        let (applied, membership) = match mark {
            Some(mark) => (Some(mark.log_id), mark.membership),
            None => (None, StoredMembership::default()),
        };
        Self {
            machine: Some(machine),
            applied,
            membership,
            progress: Arc::new(progress),
            tasks,
        }
    }

    /// How far it is, as that changes.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What the service has already; see [`crate::StateMachine::position`].
    pub(crate) fn position(&mut self) -> io::Result<Bytes> {
        Ok(self.machine()?.position())
    }

    fn machine(&mut self) -> io::Result<&mut Box<dyn Machine>> {
        self.machine.as_mut().ok_or_else(has_failed)
    }

    fn apply_batch(&mut self, batch: Batch) -> io::Result<()> {
        let Some(last) = batch.last else {
            return Ok(());
        };
        self.applied = Some(last);
        if let Some(membership) = batch.membership {
            self.membership = membership;
        }
        let mark = Mark {
            log_id: last,
            membership: self.membership.clone(),
        };
        let expected = batch.commands.len();
        let outcome = self
            .machine()?
            .apply(batch.commands, mark)
            .and_then(|answers| {
                if answers.len() == expected {
                    Ok(answers)
                } else {
                    Err(io::Error::other("not one answer for each command"))
                }
            });
        let mut answers = match outcome {
            Ok(answers) => answers.into_iter(),
            Err(error) => {
                self.machine = None;
                return Err(failed(&self.tasks, error));
            }
        };
        self.progress
            .send_modify(|progress| progress.applied = Some(last.index));
        for (is_command, responder) in batch.responders {
            let answer = if is_command {
                answers.next().unwrap_or_default()
            } else {
                Bytes::new()
            };
            if let Some(responder) = responder {
                responder.send(Answer(answer));
            }
        }
        Ok(())
    }
}

fn has_failed() -> io::Error {
    io::Error::other("the state machine has failed")
}

/// Reports that the service's state machine has failed, which ends the process.
fn failed(tasks: &Tasks, error: io::Error) -> io::Error {
    tasks.fail(Failure {
        task: TASK,
        reason: error.to_string(),
    });
    error
}

/// Consecutive entries, to be applied together.
#[derive(Default)]
struct Batch {
    commands: Vec<Bytes>,
    bytes: usize,
    /// For each entry, whether it is a command, and who waits for its answer.
    responders: Vec<(bool, Option<ApplyResponder<Types>>)>,
    membership: Option<Membership>,
    last: Option<LogId>,
}

impl Batch {
    fn push(&mut self, (entry, responder): EntryResponder<Types>) {
        let is_command = match entry.payload {
            EntryPayload::Normal(command) => {
                self.bytes += command.0.len();
                self.commands.push(command.0);
                true
            }
            EntryPayload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
                false
            }
            EntryPayload::Blank => false,
        };
        self.responders.push((is_command, responder));
        self.last = Some(entry.log_id);
    }

    fn is_full(&self) -> bool {
        self.commands.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }
}

impl RaftStateMachine<Types> for Adapter {
    type SnapshotData = Transfer;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(entry) = entries.try_next().await? {
            batch.push(entry);
            if batch.is_full() {
                self.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        self.apply_batch(batch)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            view: self.machine().map(|machine| machine.view()),
            progress: self.progress.clone(),
            tasks: self.tasks.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Transfer) -> io::Result<()> {
        let log_id = meta
            .last_log_id
            .ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
        let mark = Mark {
            log_id,
            membership: meta.last_membership.clone(),
        };
        let mut machine = self.machine.take().ok_or_else(has_failed)?;
        let installed = spawn_blocking(move || {
            let mut chunks = data.chunks(&machine.position())?;
            machine.install(&mut *chunks, mark)?;
            // The log that led here is purged next: the state must stand without it.
            machine.view().persist()?;
            io::Result::Ok(machine)
        });
        match installed.await.map_err(io::Error::other).flatten() {
            Ok(machine) => self.machine = Some(machine),
            Err(error) => return Err(failed(&self.tasks, error)),
        }
        self.applied = Some(log_id);
        self.membership = meta.last_membership.clone();
        self.progress.send_modify(|progress| {
            progress.applied = Some(log_id.index);
            progress.persisted = Some(log_id.index);
            progress.installed += 1;
        });
        Ok(())
    }

    /// The state as it is now, persisted or not: a replica that lacks the purged part of the log is
    /// best served with the newest state, and the state is never behind the purged part, because
    /// only what is persisted is purged. openraft purges nothing on the strength of this snapshot;
    /// it does so after a [`Builder`] has finished.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let view = self.machine()?.view();
        let meta = view.mark().map(Mark::snapshot_meta);
        Ok(meta.map(|meta| Snapshot {
            meta,
            snapshot: Transfer::View(view),
        }))
    }
}

/// Persists one view of the state machine.
pub(crate) struct Builder {
    view: io::Result<Arc<dyn View>>,
    progress: Arc<watch::Sender<Progress>>,
    tasks: Tasks,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Transfer;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let view = match &self.view {
            Ok(view) => view.clone(),
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        let persisted = view.clone();
        let persisted = spawn_blocking(move || persisted.persist()).await;
        if let Err(error) = persisted.map_err(io::Error::other).flatten() {
            return Err(failed(&self.tasks, error));
        }
        let mark = view.mark();
        let index = mark.map(Mark::index);
        let meta = mark.map(Mark::snapshot_meta).unwrap_or_default();
        self.progress.send_modify(|progress| {
            progress.persisted = progress.persisted.max(index);
            progress.views += 1;
        });
        Ok(Snapshot {
            meta,
            snapshot: Transfer::View(view),
        })
    }
}
