//! The tasks of a process: each has a name, and the process waits for all of them when it stops.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bazaar_machine::task::spawn;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The tasks of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// The first failure of a vital task.
    failure: Arc<watch::Sender<Option<Failure>>>,
}

/// A vital task has ended, so the process cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{task}: {reason}")]
pub struct Failure {
    /// The task's name.
    pub task: &'static str,
    /// Why it ended.
    pub reason: String,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            failure: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Runs `work` until it ends or the process stops, when it is dropped at its next await. Its end
    /// means nothing to anybody else.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.spawn_to_end(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Runs `work` to its end, also while the process stops (as far as the cap on stopping allows).
    pub fn spawn_to_end(&self, work: impl Future<Output = ()> + Send + 'static) {
        spawn(self.tracker.track_future(work));
    }

    /// Runs `work`, without which the process is of no use: when it fails, panics or ends before the
    /// process stops, the process stops too, with an error.
    pub fn spawn_vital<E: Display + Send + 'static>(
        &self,
        task: &'static str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = spawn(work);
        let abort = handle.abort_handle();
        let tasks = self.clone();
        self.spawn_to_end(async move {
            let reason = tokio::select! {
                () = tasks.stopping.cancelled() => {
                    abort.abort();
                    return;
                }
                outcome = handle => match outcome {
                    Ok(Ok(())) => "ended early".into(),
                    Ok(Err(error)) => error.to_string(),
                    Err(panic) => panic.to_string(),
                },
            };
            tasks.fail(Failure { task, reason });
        });
    }

    /// Stops the process with `failure`. The first failure is the one reported.
    pub fn fail(&self, failure: Failure) {
        error!(
            task = failure.task,
            reason = failure.reason,
            "a vital task failed"
        );
        self.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(failure);
            }
            is_first
        });
    }

    /// Waits for a vital task to fail.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failure)) => failure.clone(),
            // The sender lives in `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Is cancelled when the process begins to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Stops all tasks and waits for them, `cap` at the longest.
    pub async fn stop(&self, cap: Duration) {
        self.stopping.cancel();
        self.tracker.close();
        let left = self.tracker.len();
        match tokio::time::timeout(cap, self.tracker.wait()).await {
            Ok(()) => info!(tasks = left, "all tasks have ended"),
            Err(_elapsed) => warn!(tasks = self.tracker.len(), "gave up waiting for tasks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_is_reported() {
        let tasks = Tasks::new();
        tasks.spawn_vital::<String>("doomed", async { panic!("on purpose") });
        let failure = tasks.failed().await;
        assert_eq!(failure.task, "doomed");
        assert!(failure.reason.contains("panic"), "{failure}");
    }

    #[tokio::test]
    async fn stopping_drops_plain_tasks_and_waits_for_the_others() {
        let tasks = Tasks::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        tasks.spawn(std::future::pending());
        let stopping = tasks.stopping().clone();
        tasks.spawn_to_end(async move {
            stopping.cancelled().await;
            done.send(()).unwrap();
        });
        tasks.stop(Duration::from_secs(5)).await;
        finished.await.unwrap();
    }
}
