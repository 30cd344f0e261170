//! A replica's data directory: its identity, its log, and the state beside it. They belong together,
//! and each may have been lost by itself.
//!
//! ```text
//! identity.json   which data directory this is
//! log/            the log and the vote
//! *.part          a state that was being received when the process ended
//! ```

use std::path::Path;

use uuid::Uuid;

use crate::error::OpenError;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::{identity, log_files, snapshot};

/// What a data directory holds.
pub(crate) struct DataDir {
    /// The log and the vote.
    pub(crate) log: LogStore,
    /// Its identity.
    pub(crate) replica: Uuid,
    /// Whether nothing was ever stored in it.
    pub(crate) was_fresh: bool,
}

impl DataDir {
    /// Opens the log and the identity in `dir`, and makes sure that they and the state of `machine`
    /// belong together: each of them may have been lost by itself.
    pub(crate) fn open(dir: &Path, machine: &dyn Machine) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: dir.into(),
            source,
        };
        let missing = |reason: &str| OpenError::Damaged {
            path: dir.into(),
            reason: reason.into(),
        };
        bazaar_machine::disk::create_dir_all(dir).map_err(io)?;
        snapshot::clean(dir).map_err(io)?;
        let identity = identity::load(dir).map_err(|source| {
            let path = dir.join(identity::FILE);
            if identity::is_damage(&source) {
                let reason = source.to_string();
                return OpenError::Damaged { path, reason };
            }
            OpenError::Io { path, source }
        })?;
        let log_dir = dir.join("log");
        if identity.is_some() && !log_files::exist(&log_dir).map_err(io)? {
            return Err(missing("its log is missing"));
        }
        let log = LogStore::open(&log_dir)?;
        let was_fresh = log.is_fresh().map_err(io)?;
        let replica = match identity {
            Some(replica) => replica,
            None if was_fresh => identity::create(dir).map_err(io)?,
            None => return Err(missing("its identity.json is missing")),
        };
        let mark = machine.mark();
        if was_fresh && mark.is_some() {
            return Err(missing(
                "its log is empty, but the state that came of it is not",
            ));
        }
        let purged = log.purged().map_err(io)?;
        if mark.map(|mark| mark.index()) < purged.map(|log_id| log_id.index) {
            return Err(missing("the state ends before its log begins"));
        }
        Ok(Self {
            log,
            replica,
            was_fresh,
        })
    }
}
