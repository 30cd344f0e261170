//! The history of what the torture's own clients do.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bazaar_history::{Call, ClientEvent, Event, Origin, Writer, clock};
use uuid::Uuid;

/// Records operations. Clones write to the same file.
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    /// None once it is finished.
    writer: Mutex<Option<Writer<ClientEvent>>>,
    sessions: AtomicU64,
    keys: AtomicU64,
    /// Tells the keys of this run from every other's.
    run: Uuid,
}

/// One client that does one thing after the other.
pub(crate) struct Session {
    recorder: Recorder,
    process: u64,
    operations: u64,
}

impl Recorder {
    /// Begins a history in a new file at `path`.
    pub(crate) fn create(path: &Path, cluster: String) -> anyhow::Result<Self> {
        let origin = Origin {
            source: "torture".into(),
            cluster: Some(cluster),
            clock: Some(clock::name()?),
        };
        let inner = Inner {
            writer: Mutex::new(Some(Writer::create(path, &origin)?)),
            sessions: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            run: Uuid::new_v4(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A key that nobody else has.
    pub(crate) fn fresh_key(&self) -> String {
        let serial = self.inner.keys.fetch_add(1, Relaxed);
        format!("torture-{}-{serial}", self.inner.run.simple())
    }

    /// Another client.
    pub(crate) fn session(&self) -> Session {
        Session {
            recorder: self.clone(),
            process: self.inner.sessions.fetch_add(1, Relaxed),
            operations: 0,
        }
    }

    /// Ends the history. What is recorded from now on is lost, and belongs to clients that have
    /// been told to end.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        match self.writer().take() {
            Some(writer) => Ok(writer.finish().map(drop)?),
            None => Ok(()),
        }
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Option<Writer<ClientEvent>>> {
        self.inner
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Records that an operation begins, right before it does.
    pub(crate) fn invoke(&mut self, frontend: &str, call: Call) -> anyhow::Result<()> {
        self.operations += 1;
        let frontend = frontend.into();
        self.record(Event::Invoke { frontend, call })
    }

    /// Records what came of it, right after that is known.
    pub(crate) fn complete(&mut self, event: Event) -> anyhow::Result<()> {
        self.record(event)
    }

    fn record(&mut self, event: Event) -> anyhow::Result<()> {
        let event = ClientEvent {
            at: clock::now(),
            process: self.process,
            op: self.operations,
            event,
        };
        match &mut *self.recorder.writer() {
            Some(writer) => Ok(writer.write(&event)?),
            None => Ok(()),
        }
    }
}
