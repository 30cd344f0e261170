//! The log file of one process: what it writes to standard error, over all its lives.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log of this size, in bytes, is set aside when the process starts; the one set aside before it
/// goes.
const MAX_LOG: u64 = 16 << 20;

/// How much of a log is searched for its last words, in bytes.
const MAX_TAIL: u64 = 16 << 10;

/// The part of a log that belongs to one life of a process.
#[derive(Debug)]
pub(crate) struct ProcessLog {
    path: PathBuf,
    begins: u64,
}

impl ProcessLog {
    /// Opens the log at `path` for another life, which writes to the file returned.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, File)> {
        if fs::metadata(path).is_ok_and(|log| log.len() >= MAX_LOG) {
            fs::rename(path, path.with_added_extension("old"))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let begins = file.metadata()?.len();
        Ok((
            Self {
                path: path.into(),
                begins,
            },
            file,
        ))
    }

    /// The last error of this life, or its last line where there is no error; empty where it said
    /// nothing.
    pub(crate) fn last_words(&self) -> String {
        self.tail()
            .map_or_else(|error| error.to_string(), |tail| last_words(&tail))
    }

    fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            self.begins.max(end.saturating_sub(MAX_TAIL)),
        ))?;
        let mut tail = Vec::new();
        file.take(MAX_TAIL).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    }
}

fn last_words(log: &str) -> String {
    let lines = || log.lines().rev().filter(|line| !line.trim().is_empty());
    let error = lines().find_map(|line| {
        // As tracing writes it: `<time> ERROR <module>: <message>`.
        let (_, rest) = line.split_once(" ERROR ")?;
        let (_module, message) = rest.split_once(": ")?;
        Some(message)
    });
    error
        .or_else(|| lines().next())
        .unwrap_or_default()
        .trim()
        .into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_words_are_the_last_error_of_this_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order-1.log");
        let (_, mut file) = ProcessLog::open(&path).unwrap();
        writeln!(
            file,
            "2026-01-01T00:00:00Z ERROR bazaar_daemon::app: of another life"
        )
        .unwrap();
        let (log, mut file) = ProcessLog::open(&path).unwrap();
        assert_eq!(log.last_words(), "");
        writeln!(file, "2026-01-01T00:00:00Z  INFO bazaar_order: opening").unwrap();
        assert!(log.last_words().ends_with("opening"));
        writeln!(
            file,
            "2026-01-01T00:00:00Z ERROR bazaar_daemon::app: --listen: port in use"
        )
        .unwrap();
        writeln!(file, "2026-01-01T00:00:00Z  INFO bazaar_daemon: farewell").unwrap();
        assert_eq!(log.last_words(), "--listen: port in use");
    }

    #[test]
    fn a_large_log_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order-1.log");
        File::create(&path).unwrap().set_len(MAX_LOG).unwrap();
        let (log, _) = ProcessLog::open(&path).unwrap();
        assert_eq!(log.begins, 0);
        assert_eq!(
            fs::metadata(dir.path().join("order-1.log.old"))
                .unwrap()
                .len(),
            MAX_LOG
        );
    }
}
