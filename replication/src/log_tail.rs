//! The end of the log after a power cut.
//!
//! raft-log cuts off a record in which a file ends, and zeros up to the end. A power cut may also
//! leave a record with a hole in it, and whole records behind. That tail is cut off here, if it was
//! not acknowledged: a committed index that is recorded behind it and reaches beyond it says that it
//! was.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use codeq::Decode as _;
use raft_log::{RaftLogAction, RaftLogRecord};

use crate::log_files;
use crate::log_store::LogTypes;
use crate::torn;

type Record = RaftLogRecord<LogTypes>;

/// Cuts a torn tail off the log in `dir` that raft-log would take for damage. Anything else stays
/// as it is.
pub(crate) fn mend(dir: &Path) -> io::Result<()> {
    // All but the newest file was synced before that one was begun.
    let Some((path, _)) = log_files::sizes(dir)?.pop_last() else {
        return Ok(());
    };
    let bytes = fs::read(&path)?;
    if let Some(end) = torn_at(&bytes) {
        let file = fs::File::options().write(true).open(&path)?;
        file.set_len(end as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Where the file with these bytes is torn: the end of what is whole.
fn torn_at(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    let mut last = None;
    let error = loop {
        match read(bytes, end) {
            Ok((record, next)) => {
                match record {
                    Record::Action(RaftLogAction::Append(log_id, _)) => last = Some(log_id.0.index),
                    Record::Checkpoint(state) => last = state.last().map(|last| last.0.index),
                    Record::Action(_) => {}
                }
                end = next;
            }
            Err(error) => break error,
        }
    };
    // A file without its first record is removed, and one that ends in a record is cut, by raft-log.
    if end == 0 || end == bytes.len() || error.kind() == io::ErrorKind::UnexpectedEof {
        return None;
    }
    let lost = last.map_or(0, |last| last + 1);
    let (mut resumed, mut at) = (None, end + 1);
    while at < bytes.len() {
        let Ok((record, next)) = read(bytes, at) else {
            at += 1;
            continue;
        };
        resumed = resumed.or(Some(at));
        at = next;
        if let Record::Action(RaftLogAction::Commit(log_id)) = record
            && log_id.0.index >= lost
        {
            return None;
        }
    }
    torn::has_blank_sector(bytes, end, resumed.unwrap_or(bytes.len())).then_some(end)
}

/// The record at `at`, and where it ends.
fn read(bytes: &[u8], at: usize) -> io::Result<(Record, usize)> {
    let mut rest = &bytes[at..];
    let record = Record::decode(&mut rest)?;
    Ok((record, bytes.len() - rest.len()))
}

/// Where the votes stand that the log in the directory `log` records: for tests that damage them.
///
/// # Errors
/// When the log cannot be read. What is behind the first damage is not looked at.
pub fn find_votes(log: &Path) -> io::Result<Vec<(PathBuf, Range<u64>)>> {
    let mut votes = Vec::new();
    for path in log_files::sizes(log)?.into_keys() {
        let bytes = fs::read(&path)?;
        let mut at = 0;
        while let Ok((record, next)) = read(&bytes, at) {
            if let Record::Action(RaftLogAction::SaveVote(_)) = record {
                votes.push((path.clone(), at as u64..next as u64));
            }
            at = next;
        }
    }
    Ok(votes)
}
