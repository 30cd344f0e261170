//! When the state is persisted and the log purged.
//!
//! Within seconds of a change, and after so many entries at the latest: the log that a restart
//! replays stays short. But persisting may cost more than that is worth, so it gets a small share of
//! the time at most.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::ProposeError;
use crate::state_machine::Progress;
use crate::types::Raft;

/// How often it is checked whether persisting is due.
const TICK: Duration = Duration::from_millis(50);

/// After persisting took some time, so many times that passes before it is done again: it takes a
/// twentieth of the time at most.
const REST: u32 = 20;

/// How long to wait for a view before openraft is asked for it again.
const REPEAT: Duration = Duration::from_millis(200);

/// The most that wait for a snapshot that they asked for.
const QUEUE: usize = 64;

type Waiter = oneshot::Sender<Result<(), ProposeError>>;

/// Decides when persisting is due.
struct Schedule {
    entries: u64,
    interval: Duration,
    /// When something was first seen that is not persisted.
    dirty_since: Option<Instant>,
    rest_until: Option<Instant>,
}

impl Schedule {
    fn new(entries: u64, interval: Duration) -> Self {
        Self {
            entries,
            interval,
            dirty_since: None,
            rest_until: None,
        }
    }

    /// Whether persisting is due at `now`, with the state machine at `progress`.
    fn is_due(&mut self, progress: Progress, now: Instant) -> bool {
        if progress.applied <= progress.persisted {
            self.dirty_since = None;
            return false;
        }
        let dirty_since = *self.dirty_since.get_or_insert(now);
        let end = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let many = end(progress.applied) - end(progress.persisted) >= self.entries;
        let long = now.saturating_duration_since(dirty_since) >= self.interval;
        (many || long) && self.rest_until.is_none_or(|until| now >= until)
    }

    /// Persisting took from `begun` to `now`.
    fn done(&mut self, begun: Instant, now: Instant) {
        self.dirty_since = None;
        self.rest_until = Some(now + now.saturating_duration_since(begun) * REST);
    }
}

/// Where to ask for a snapshot.
#[derive(Clone)]
pub(crate) struct Snapshots(mpsc::Sender<Waiter>);

impl Snapshots {
    /// See [`crate::Group::snapshot`].
    pub(crate) async fn take(&self) -> Result<(), ProposeError> {
        let (waiter, outcome) = oneshot::channel();
        self.0
            .send(waiter)
            .await
            .map_err(|_| ProposeError::Unknown)?;
        outcome.await.unwrap_or(Err(ProposeError::Unknown))
    }
}

/// Persists the state by schedule and on demand.
pub(crate) struct Persister {
    raft: Raft,
    progress: watch::Receiver<Progress>,
    schedule: Schedule,
    waiting: mpsc::Receiver<Waiter>,
    /// Cancelled when the consensus core has ended.
    ended: CancellationToken,
}

impl Persister {
    pub(crate) fn new(
        raft: Raft,
        progress: watch::Receiver<Progress>,
        (entries, interval): (u64, Duration),
        ended: CancellationToken,
    ) -> (Self, Snapshots) {
        let (sender, waiting) = mpsc::channel(QUEUE);
        let persister = Self {
            raft,
            progress,
            schedule: Schedule::new(entries, interval),
            waiting,
            ended,
        };
        (persister, Snapshots(sender))
    }

    /// Runs until the consensus core ends.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        let ended = self.ended.clone();
        let mut waiters = Vec::new();
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = tick.tick() => {
                    let progress = *self.progress.borrow();
                    if !self.schedule.is_due(progress, Instant::now()) {
                        continue;
                    }
                }
                count = self.waiting.recv_many(&mut waiters, QUEUE) => {
                    if count == 0 {
                        return;
                    }
                }
            }
            let outcome = self.persist().await;
            for waiter in waiters.drain(..) {
                waiter.send(outcome.clone()).ok();
            }
        }
    }

    /// Persists a view of what is applied now; openraft then purges the log.
    async fn persist(&mut self) -> Result<(), ProposeError> {
        let begun = Instant::now();
        let before = *self.progress.borrow();
        if before.applied.is_none() {
            return Ok(());
        }
        loop {
            let triggered = self.raft.trigger().snapshot().await;
            triggered.map_err(|_fatal| ProposeError::Unknown)?;
            tokio::select! {
                // A failure ends the consensus core.
                () = self.ended.cancelled() => return Err(ProposeError::Unknown),
                done = self.progress.wait_for(|progress| progress.views > before.views) => {
                    done.map_err(|_| ProposeError::Unknown)?;
                    break;
                }
                // The core ignores the request where it has not yet noted the end of the one before.
                () = tokio::time::sleep(REPEAT) => {}
            }
        }
        self.schedule.done(begun, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn at(applied: u64, persisted: u64) -> Progress {
        Progress {
            applied: Some(applied),
            persisted: Some(persisted),
            ..Progress::default()
        }
    }

    #[test]
    fn nothing_is_persisted_without_a_change() {
        let mut schedule = Schedule::new(10, INTERVAL);
        let start = Instant::now();
        assert!(!schedule.is_due(Progress::default(), start + INTERVAL * 9));
        assert!(!schedule.is_due(at(5, 5), start + INTERVAL * 9));
    }

    #[test]
    fn a_change_is_persisted_after_the_interval() {
        let mut schedule = Schedule::new(10, INTERVAL);
        let start = Instant::now();
        assert!(!schedule.is_due(at(6, 5), start));
        assert!(!schedule.is_due(at(7, 5), start + INTERVAL / 2));
        assert!(schedule.is_due(at(7, 5), start + INTERVAL));
    }

    #[test]
    fn many_entries_are_persisted_at_once() {
        let mut schedule = Schedule::new(10, INTERVAL);
        let start = Instant::now();
        assert!(!schedule.is_due(at(14, 5), start));
        assert!(schedule.is_due(at(15, 5), start));
    }

    #[test]
    fn persisting_takes_a_twentieth_of_the_time_at_most() {
        let mut schedule = Schedule::new(10, INTERVAL);
        let start = Instant::now();
        let took = Duration::from_millis(300);
        assert!(schedule.is_due(at(50, 5), start));
        schedule.done(start, start + took);
        assert!(!schedule.is_due(at(99, 50), start + took * 20));
        assert!(schedule.is_due(at(99, 50), start + took * 21));
    }
}
