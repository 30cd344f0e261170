//! Where things lie under a cluster's data directory, and how its small JSON files are read and
//! written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bazaar_rpc::{ServiceKind, ServiceName};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A cluster's data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the data directory `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The data directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the cluster is: its name and its size.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Where the supervisor listens, while there is one.
    pub(crate) fn supervisor(&self) -> PathBuf {
        self.root.join("supervisor.json")
    }

    /// Which processes the supervisor has started.
    pub(crate) fn roster(&self) -> PathBuf {
        self.root.join("processes.json")
    }

    /// The data directory of one process.
    pub(crate) fn process(&self, name: ServiceName) -> PathBuf {
        self.root.join(file_name(name))
    }

    /// The log of one process.
    pub(crate) fn log(&self, name: ServiceName) -> PathBuf {
        self.logs()
            .join(file_name(name))
            .with_added_extension("log")
    }

    /// The directory of the logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("log")
    }
}

/// A process's name as that of a file. There is one name server, so it needs no number.
fn file_name(name: ServiceName) -> String {
    match name.kind {
        ServiceKind::Nameserver => "nameserver".into(),
        kind => format!("{kind}-{}", name.id),
    }
}

/// Reads a JSON file; none where there is no such file.
///
/// # Errors
/// Names the file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => {
            let value = serde_json::from_slice(&text);
            value.map(Some).with_context(|| path.display().to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Writes a JSON file: aside, synced, and renamed, so that it is there as a whole or not at all.
///
/// # Errors
/// Names the file.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let write = || {
        let aside = path.with_added_extension("new");
        let mut file = File::create(&aside)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().with_context(|| path.display().to_string())
}
