//! `catalog.json`: the state on disk, for the next start and for people to read.
//!
//! It is written aside, synced and renamed, so that it is always whole. Its first lines are
//!
//! ```json
//! {
//!   "checksum": "0f3ac1d7",
//!   "format": 3,
//! ```
//!
//! where the checksum is the CRC-32 of the file with eight zeros in the checksum's place.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_machine::disk::{self, File};
use bazaar_replication::Mark;
use serde::{Deserialize, Serialize};

use crate::error::SnapshotError;
use crate::state::State;

/// The name of the file.
const NAME: &str = "catalog.json";

/// The version of the file's format.
const FORMAT: u64 = 3;

/// What stands before the checksum's digits.
const PREFIX: &str = "{\n  \"checksum\": \"";

/// What stands in their place while the checksum is taken.
const BLANK: &str = "00000000";

/// Where they stand.
const DIGITS: Range<usize> = PREFIX.len()..PREFIX.len() + BLANK.len();

/// The file.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    dir: PathBuf,
    /// The generation of the newest state written; held locked while one is being written.
    written: Mutex<Option<u64>>,
}

#[derive(Serialize)]
struct Document<'a> {
    checksum: &'a str,
    format: u64,
    /// Up to where in the log this is the state.
    mark: &'a Mark,
    state: &'a State,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

#[derive(Deserialize)]
struct Content {
    mark: Mark,
    state: State,
}

impl SnapshotFile {
    /// The file in `dir`, whether it is there or not.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.into(),
            written: Mutex::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// The state in the file, with its mark; none where there is no file.
    pub(crate) fn read(&self) -> Result<Option<(State, Mark)>, SnapshotError> {
        let file = self.path();
        let mut bytes = match disk::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Read { file, source }),
        };
        match parse(&mut bytes) {
            Ok(Content { mark, state }) => Ok(Some((state, mark))),
            Err(Flaw::Format(found)) => Err(SnapshotError::Format {
                file,
                found,
                known: FORMAT,
            }),
            Err(Flaw::Damage(problem)) => Err(SnapshotError::Damaged { file, problem }),
        }
    }

    /// Makes `state` durable, unless a state of a later generation already is.
    pub(crate) fn write(&self, state: &State, mark: &Mark, generation: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|written| written >= generation) {
            return Ok(());
        }
        let path = self.path();
        let aside = self.dir.join(format!("{NAME}.new"));
        let name =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        write_synced(&aside, state, mark).map_err(name)?;
        disk::rename(&aside, &path).map_err(name)?;
        // The new name is durable once the directory is.
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(name)?;
        *written = Some(generation);
        Ok(())
    }
}

fn write_synced(path: &Path, state: &State, mark: &Mark) -> io::Result<()> {
    let mut out = Summed {
        inner: BufWriter::new(File::create(path)?),
        sum: Default::default(),
    };
    let document = Document {
        checksum: BLANK,
        format: FORMAT,
        mark,
        state,
    };
    serde_json::to_writer_pretty(&mut out, &document)?;
    out.write_all(b"\n")?;
    let Summed { mut inner, sum } = out;
    inner.seek(SeekFrom::Start(DIGITS.start as u64))?;
    write!(inner, "{:08x}", sum.finalize())?;
    let file = inner.into_inner()?;
    if planted(Bug::SnapshotRenamedWithoutFsync) {
        return Ok(());
    }
    file.sync_all()
}

/// Writes through, and sums up what it writes.
struct Summed<W> {
    inner: W,
    sum: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What is wrong with a file.
enum Flaw {
    /// It has this format.
    Format(u64),
    /// It is damaged in this way.
    Damage(String),
}

fn parse(bytes: &mut [u8]) -> Result<Content, Flaw> {
    let damage = |error: serde_json::Error| Flaw::Damage(error.to_string());
    let header: Header = serde_json::from_slice(bytes).map_err(damage)?;
    if header.format != FORMAT {
        return Err(Flaw::Format(header.format));
    }
    let digits = bytes
        .get_mut(DIGITS)
        .ok_or_else(|| Flaw::Damage("too short".into()))?;
    let claimed = String::from_utf8_lossy(digits).into_owned();
    digits.copy_from_slice(BLANK.as_bytes());
    let actual = format!("{:08x}", crc32fast::hash(bytes));
    if claimed != actual {
        let problem = format!("its checksum is {actual} and it claims {claimed}");
        return Err(Flaw::Damage(problem));
    }
    serde_json::from_slice(bytes).map_err(damage)
}

#[cfg(test)]
mod tests;
