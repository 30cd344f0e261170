//! The table's copy on disk: `names.json`, readable by a person.
//!
//! It is written aside, synced and renamed, so that a crash leaves the old copy or the new one. A
//! copy that cannot be read back is set aside and the table starts empty: services fill it within
//! one renewal.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bazaar_machine::disk::{self, File};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use crate::StoreError;
use crate::state::Record;

/// The version of the file's format.
const FORMAT: u32 = 1;

/// The file, in the name server's data directory.
const FILE: &str = "names.json";

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    /// CRC-32 of `entries` as they are written.
    crc32: u32,
    /// A list of [`Record`].
    entries: Box<RawValue>,
}

/// Where the table is saved.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// What was saved last; nothing where nothing was, or where it is damaged.
    pub(crate) fn load(&self) -> Result<Vec<Record>, StoreError> {
        let path = self.dir.join(FILE);
        let failed = |source| StoreError {
            path: path.clone(),
            source,
        };
        let text = match disk::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
            // Read as empty, which is damage.
            Ok(metadata) if metadata.len() > MAX_FILE => Vec::new(),
            Ok(_) => disk::read(&path).map_err(failed)?,
        };
        decode(&text).or_else(|damage| {
            let aside = path.with_extension("json.damaged");
            warn!(
                file = %path.display(), damage, aside = %aside.display(),
                "the table of names is damaged and was set aside; starting with an empty one"
            );
            disk::rename(&path, &aside).map_err(failed)?;
            Ok(Vec::new())
        })
    }

    /// Saves `records` in the place of what was saved before. Durable when it returns.
    pub(crate) fn save(&self, records: &[Record]) -> Result<(), StoreError> {
        let path = self.dir.join(FILE);
        let failed = |source| StoreError {
            path: path.clone(),
            source,
        };
        let text = encode(records).map_err(|error| failed(error.into()))?;
        write_aside(&path, &text).map_err(failed)
    }
}

/// Writes `bytes` beside `path`, syncs them, and puts them in its place.
pub(crate) fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_added_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    disk::rename(&aside, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn encode(records: &[Record]) -> serde_json::Result<Vec<u8>> {
    let entries = serde_json::value::to_raw_value(records)?;
    let crc32 = crc32fast::hash(entries.get().as_bytes());
    serde_json::to_vec(&Saved {
        format: FORMAT,
        crc32,
        entries,
    })
}

/// Reads a file's text; says what is wrong with it where it is damaged.
fn decode(text: &[u8]) -> Result<Vec<Record>, String> {
    let Saved {
        format,
        crc32,
        entries,
    } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!(
            "format {format}, and this program reads format {FORMAT}"
        ));
    }
    if crc32fast::hash(entries.get().as_bytes()) != crc32 {
        return Err("the checksum does not match".into());
    }
    serde_json::from_str(entries.get()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn records() -> Vec<Record> {
        let record = |name: &str, lease| Record {
            name: name.into(),
            address: "127.0.0.1:4711".parse().unwrap(),
            metadata: ["kind:order".into(), "set later".into()].into(),
            registered: ["kind:order".into()].into(),
            lease,
        };
        vec![
            record("order/1", Some(Duration::from_millis(1500))),
            record("for \"ever\"", None),
        ]
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.load().unwrap(), []);
        store.save(&records()).unwrap();
        store.save(&records()).unwrap();
        assert_eq!(store.load().unwrap(), records());
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let text = encode(&records()).unwrap();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "bit 0 of byte {at}");
            assert!(decode(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_table_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join(FILE), "{\"format\":1").unwrap();
        assert_eq!(store.load().unwrap(), []);
        assert!(!dir.path().join(FILE).exists());
        let aside = fs::read(dir.path().join("names.json.damaged")).unwrap();
        assert_eq!(aside, b"{\"format\":1");
    }
}
