//! Watches who leads, for the checker of what holds of every Raft group.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bazaar_history::{Observation, Origin, Writer, clock};
use bazaar_rpc::replica::Role;
use bazaar_rpc::{ServiceName, Term};
use tokio::time::sleep;

use crate::observer::ClusterStatus;
use crate::torture::arena::Arena;

/// How often to look.
const PERIOD: Duration = Duration::from_millis(200);

/// Replicas whose disks have lost what they acknowledged, their term included. Nobody can promise
/// that such a term does not go back: where it does, what is seen of them counts again once they have caught up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgetful(Arc<Mutex<BTreeSet<ServiceName>>>);

impl Forgetful {
    /// `name` may have forgotten its term.
    pub(crate) fn add(&self, name: ServiceName) {
        self.names().insert(name);
    }

    /// `name` follows its group again, and has its term.
    pub(crate) fn remove(&self, name: ServiceName) {
        self.names().remove(&name);
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeSet<ServiceName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches.
pub(crate) struct Watcher {
    writer: Writer<Observation>,
    forgetful: Forgetful,
    terms: BTreeMap<ServiceName, Term>,
}

impl Watcher {
    /// Writes what it sees into a new file at `path`.
    pub(crate) fn create(
        path: &Path,
        cluster: String,
        forgetful: Forgetful,
    ) -> anyhow::Result<Self> {
        let origin = Origin {
            source: "torture".into(),
            cluster: Some(cluster),
            clock: Some(clock::name()?),
        };
        Ok(Self {
            writer: Writer::create(path, &origin)?,
            forgetful,
            terms: BTreeMap::new(),
        })
    }

    /// Looks, over and over.
    ///
    /// # Errors
    /// When what is seen cannot be written.
    pub(crate) async fn watch(&mut self, arena: &Arena) -> anyhow::Result<()> {
        loop {
            // A supervisor that is slow to answer is asked again.
            if let Ok(status) = arena.status().await {
                self.see(&status)?;
            }
            sleep(PERIOD).await;
        }
    }

    /// Ends the history.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        Ok(self.writer.finish().map(drop)?)
    }

    fn see(&mut self, status: &ClusterStatus) -> anyhow::Result<()> {
        for process in &status.processes {
            let (Some(term), Some(role)) = (process.term, process.role) else {
                continue;
            };
            let last = self.terms.get(&process.name).copied().unwrap_or(term);
            if term < last && self.forgetful.names().contains(&process.name) {
                continue;
            }
            self.terms.insert(process.name, term);
            self.writer.write(&Observation {
                at: clock::now(),
                replica: process.name,
                term,
                leader: (role == Role::Leader).then_some(process.name),
                applied: process.last_applied,
                digest: None,
            })?;
        }
        Ok(())
    }
}
