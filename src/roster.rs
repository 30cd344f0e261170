//! The processes that a supervisor has started, on disk: so that the next one can end what a killed
//! supervisor left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bazaar_rpc::ServiceName;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::identity::Identity;
use crate::layout::{Layout, read_json, write_json};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// How long a killed process may take to end. The kernel first writes out what it holds.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    processes: BTreeMap<ServiceName, Identity>,
}

/// The living children of a supervisor.
#[derive(Debug)]
pub(crate) struct Roster {
    path: PathBuf,
    processes: Mutex<BTreeMap<ServiceName, Identity>>,
}

impl Roster {
    /// Ends what an earlier supervisor of this data directory has left behind, and begins a new
    /// roster. The caller holds the directory's lock, so that supervisor is gone.
    ///
    /// # Errors
    /// When something cannot be ended, or the file not be read or written.
    pub(crate) async fn take_over(layout: &Layout) -> anyhow::Result<Self> {
        let path = layout.roster();
        let saved = read_json(&path).or_else(|error| {
            let aside = path.with_added_extension("damaged");
            warn!(%error, aside = %aside.display(), "set aside; what it names is not ended");
            fs::rename(&path, aside).map(|()| None)
        })?;
        if let Some(Saved { format, processes }) = saved {
            ensure!(
                format == FORMAT,
                "{}: unknown format {format}",
                path.display()
            );
            for (name, left) in processes {
                let pid = left.pid;
                ensure!(
                    left.end(END_LIMIT).await,
                    "process {pid} ({name}), left behind by an earlier run, does not end"
                );
            }
        }
        let roster = Self {
            path,
            processes: Mutex::default(),
        };
        roster.update(|_| {})?;
        Ok(roster)
    }

    /// Enters a child that was started.
    pub(crate) fn enter(&self, name: ServiceName, pid: u32) -> anyhow::Result<()> {
        let identity = Identity::of(pid)?;
        self.update(|processes| {
            processes.insert(name, identity);
        })
    }

    /// Strikes out a child that has ended.
    pub(crate) fn strike(&self, name: ServiceName) -> anyhow::Result<()> {
        self.update(|processes| {
            processes.remove(&name);
        })
    }

    fn update(
        &self,
        change: impl FnOnce(&mut BTreeMap<ServiceName, Identity>),
    ) -> anyhow::Result<()> {
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut processes);
        write_json(
            &self.path,
            &Saved {
                format: FORMAT,
                processes: processes.clone(),
            },
        )
    }
}
