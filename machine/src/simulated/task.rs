//! Tasks that run on the machine that spawned them, and only while it runs.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::Machine;

/// A future that runs on a machine.
pub(crate) struct On<F> {
    machine: Machine,
    /// Dropped on the machine too.
    work: Option<Pin<Box<F>>>,
}

impl<F> On<F> {
    pub(crate) fn new(machine: Machine, work: F) -> Self {
        let work = Some(Box::pin(work));
        Self { machine, work }
    }
}

impl<F: Future> Future for On<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.machine.admits(context.waker()) {
            return Poll::Pending;
        }
        let _entered = this.machine.enter();
        let work = this.work.as_mut().expect("it is there until it is dropped");
        work.as_mut().poll(context)
    }
}

impl<F> Drop for On<F> {
    fn drop(&mut self) {
        let _entered = self.machine.enter();
        self.work = None;
    }
}

/// See [`tokio::task::spawn`].
#[track_caller]
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Machine::current() {
        Some(machine) => tokio::task::spawn(On::new(machine, work)),
        None => tokio::task::spawn(work),
    }
}

/// See [`tokio::task::spawn_blocking`]. There are no threads in a simulation: the work is done in one
/// step, and then takes the time that its syncs take.
#[track_caller]
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(async move {
        let done = work();
        if let Some(machine) = Machine::current() {
            let owed = machine.disk().owed();
            if !owed.is_zero() {
                tokio::time::sleep(owed).await;
            }
        }
        done
    })
}
