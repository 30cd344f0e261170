//! A simulated machine: what the code that runs on it sees, and what a test does to it.

mod connections;
mod disk;
pub(crate) mod files;
pub(crate) mod net;
pub(crate) mod task;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use connections::Connections;
pub use disk::{Disk, Fsync};

thread_local! {
    /// The machine whose code is running.
    static CURRENT: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// One machine. Clones share it. It outlives the processes that run on it.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    address: IpAddr,
    disk: Disk,
    connections: Connections,
    is_paused: AtomicBool,
    /// The tasks that would have run while the machine was paused.
    held: Mutex<Vec<Waker>>,
    /// By how many milliseconds the time of day is off.
    clock_error: AtomicI64,
}

impl Machine {
    /// A machine at `address`, with an empty disk. What its disk leaves to chance is decided by
    /// `seed`.
    #[must_use]
    pub fn new(address: IpAddr, seed: u64) -> Self {
        Self(Arc::new(Inner {
            address,
            disk: Disk::new(seed),
            connections: Connections::default(),
            is_paused: AtomicBool::new(false),
            held: Mutex::default(),
            clock_error: AtomicI64::new(0),
        }))
    }

    /// The machine whose code is running; none outside of every machine.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Option::clone)
    }

    /// Runs `process`, and every task that it spawns, on this machine. It has one process at a time.
    pub async fn run<F: Future>(&self, process: F) -> F::Output {
        self.disk().own();
        task::On::new(self.clone(), process).await
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Stops running anything, as SIGSTOP does: clocks and timers go on, and so does the kernel,
    /// which takes in what arrives.
    pub fn pause(&self) {
        self.0.is_paused.store(true, Ordering::Relaxed);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.0.is_paused.store(false, Ordering::Relaxed);
        let held = std::mem::take(&mut *self.held());
        held.into_iter().for_each(Waker::wake);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.is_paused.load(Ordering::Relaxed)
    }

    /// Has the process on it end, as SIGKILL does: nothing that it would still do reaches the disk,
    /// which keeps what it has been given, synced or not.
    pub fn kill(&self) {
        self.0.is_paused.store(false, Ordering::Relaxed);
        self.held().clear();
        self.disk().disown();
    }

    /// Has the machine lose its power: like [`Machine::kill`], and the disk keeps what was synced
    /// and as much of the rest as its seed wants.
    pub fn lose_power(&self) {
        self.kill();
        self.disk().lose_unsynced();
    }

    /// Sets by how many milliseconds the time of day is off.
    pub fn set_clock_error(&self, milliseconds: i64) {
        self.0.clock_error.store(milliseconds, Ordering::Relaxed);
    }

    /// Notes that nothing that is sent to `peer` is acknowledged from now on.
    pub fn begin_silence(&self, peer: IpAddr) {
        self.connections().begin_silence(peer);
    }

    /// Gives up, as the kernel does, the connections with `peer`, silent since `since`, that have
    /// been so for longer than they may; returns their ends, here and there. To be called while the
    /// silence lasts, and what it returns to be handed to [`Machine::orphan`] of the other machine.
    pub fn end_silent(
        &self,
        peer: IpAddr,
        since: Duration,
        now: Duration,
    ) -> Vec<(SocketAddr, SocketAddr)> {
        self.connections().end_silent(peer, since, now)
    }

    /// Notes that the other end of the connection from `local` to `remote` was given up, and that
    /// nothing said so: the next write finds it out.
    pub fn orphan(&self, local: SocketAddr, remote: SocketAddr) {
        self.connections().orphan(local, remote);
    }

    fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Whether a task may run now; where not, `waker` is woken when it may.
    fn admits(&self, waker: &Waker) -> bool {
        let admits = !self.is_paused();
        if !admits {
            self.held().push(waker.clone());
        }
        admits
    }

    fn held(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this the current machine until the guard is dropped.
    fn enter(&self) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }
}

/// Holds the machine that was current before.
struct Entered(Option<Machine>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

pub(crate) mod clock {
    //! The time of day, which may be wrong.

    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{Duration, Machine, Ordering};

    /// When a simulation begins: 2026-01-01.
    const EPOCH: Duration = Duration::from_secs(1_767_225_600);

    /// The time of day now, as the current machine has it.
    #[must_use]
    pub fn time_of_day() -> SystemTime {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let now = UNIX_EPOCH + EPOCH + elapsed;
        let error = Machine::current().map_or(0, |it| it.0.clock_error.load(Ordering::Relaxed));
        let distance = Duration::from_millis(error.unsigned_abs());
        if error < 0 {
            now - distance
        } else {
            now + distance
        }
    }
}
