//! What a machine's kernel knows of its TCP connections: since when nothing is acknowledged.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long something may be unacknowledged, and how long there may be nothing to acknowledge
    /// before that is asked for; not at all where there is none.
    limits: Option<(Duration, Duration)>,
    /// When the first write was made since the other end fell silent.
    unacknowledged: Option<Duration>,
    /// How it ended, where it has.
    end: Option<io::ErrorKind>,
    /// Whether the other end's kernel has given it up, and could not say so.
    is_orphaned: bool,
    /// Whether the simulated network has nevertheless said so.
    is_told: bool,
    /// Who waits for the connection.
    waiting: Vec<Waker>,
}

impl Connection {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            state: Mutex::default(),
        }
    }

    pub(super) fn limit(&self, unacknowledged: Duration, idle: Duration) {
        self.state().limits = Some((unacknowledged, idle));
    }

    /// Notes that something was sent.
    pub(super) fn note_write(&self) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let mut state = self.state();
        state.unacknowledged.get_or_insert(now);
        if state.is_told {
            // The other kernel is reached again, and does not know this connection.
            state.end(io::ErrorKind::ConnectionReset);
        }
    }

    /// Fails when the connection was given up; wakes the caller when it will have been.
    pub(super) fn check(&self, context: &Context<'_>) -> io::Result<()> {
        let mut state = self.state();
        if let Some(end) = state.end {
            return Err(end.into());
        }
        // A reader and a writer, at the most.
        if !state.waiting.iter().any(|it| it.will_wake(context.waker())) {
            if state.waiting.len() == 2 {
                state.waiting.remove(0);
            }
            state.waiting.push(context.waker().clone());
        }
        Ok(())
    }

    /// Notes that the end of the stream came from an end that had given it up.
    pub(super) fn set_told(&self) {
        self.state().is_told = true;
    }

    pub(super) fn is_orphaned(&self) -> bool {
        self.state().is_orphaned
    }

    /// Gives the connection up where it has been silent for too long; says whether it did.
    fn end_if_silent(&self, since: Duration, now: Duration) -> bool {
        let mut state = self.state();
        let Some((unacknowledged, idle)) = state.limits.filter(|_| state.end.is_none()) else {
            return false;
        };
        let first = state.unacknowledged.unwrap_or(since + idle);
        if now < first.min(since + idle) + unacknowledged {
            return false;
        }
        state.end(io::ErrorKind::TimedOut);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, how: io::ErrorKind) {
        self.end = Some(how);
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// The connections of a machine.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Vec<Weak<Connection>>>);

impl Connections {
    pub(super) fn add(&self, connection: &Arc<Connection>) {
        let mut all = self.all();
        if all.len() == all.capacity() {
            all.retain(|it| it.strong_count() > 0);
        }
        all.push(Arc::downgrade(connection));
    }

    /// Notes that `peer` acknowledges nothing from now on.
    pub(super) fn begin_silence(&self, peer: IpAddr) {
        for connection in self.with(peer) {
            connection.state().unacknowledged = None;
        }
    }

    /// Gives up the connections that `peer`, silent since `since`, left unacknowledged for too long;
    /// returns their ends, here and there.
    pub(super) fn end_silent(
        &self,
        peer: IpAddr,
        since: Duration,
        now: Duration,
    ) -> Vec<(SocketAddr, SocketAddr)> {
        let mut ended = self.with(peer);
        ended.retain(|connection| connection.end_if_silent(since, now));
        ended.iter().map(|it| (it.local, it.remote)).collect()
    }

    /// Notes that the other end of a connection was given up and can send nothing.
    pub(super) fn orphan(&self, local: SocketAddr, remote: SocketAddr) {
        for connection in self.with(remote.ip()) {
            if connection.local == local && connection.remote == remote {
                connection.state().is_orphaned = true;
            }
        }
    }

    fn with(&self, peer: IpAddr) -> Vec<Arc<Connection>> {
        let all = self.all();
        let alive = all.iter().filter_map(Weak::upgrade);
        alive.filter(|it| it.remote.ip() == peer).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
