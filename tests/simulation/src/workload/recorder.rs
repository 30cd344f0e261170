//! Writes down what clients did and were told, in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_history::{Call, ClientEvent, Event};

use crate::clock;

/// The history of all sessions. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<ClientEvent>>>);

/// The operations of one session, which are one after the other.
pub(super) struct Track {
    recorder: Recorder,
    process: u64,
    op: u64,
}

impl Recorder {
    /// A session's track.
    pub(super) fn track(&self, process: u64) -> Track {
        Track {
            recorder: self.clone(),
            process,
            op: 0,
        }
    }

    /// What was written down so far, in the order in which it happened.
    #[must_use]
    pub(crate) fn take(&self) -> Vec<ClientEvent> {
        std::mem::take(&mut *self.events())
    }

    fn events(&self) -> MutexGuard<'_, Vec<ClientEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Track {
    /// `frontend` is about to be asked for `call`.
    pub(super) fn invoke(&mut self, frontend: &str, call: &Call) {
        self.op += 1;
        self.write(Event::Invoke {
            frontend: frontend.into(),
            call: call.clone(),
        });
    }

    /// The operation that was invoked last has come to this.
    pub(super) fn complete(&self, event: Event) {
        self.write(event);
    }

    fn write(&self, event: Event) {
        let mut events = self.recorder.events();
        // One thread does everything, so the order of events is known even within one instant.
        let after = events.last().map_or(0, |last| last.at + 1);
        events.push(ClientEvent {
            at: clock::now().max(after),
            process: self.process,
            op: self.op,
            event,
        });
    }
}
