//! A replica's identity: which data directory this is.
//!
//! A vote or an entry that a replica has acknowledged counts for ever, so a replica must never come
//! back under its name without what it had on disk. Its data directory therefore has a random
//! identity from its first start on, and the group's membership records it.

use std::io::{self, Write};
use std::path::Path;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_machine::disk::{self, File};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file that holds it.
pub(crate) const FILE: &str = "identity.json";

/// The format of this crate's data directory. Format 1 had no checksum.
const FORMAT: u32 = 2;

/// What the file says, whatever its format.
#[derive(Debug, Deserialize)]
struct Header {
    /// The format of the data directory.
    format: u32,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    /// The format of the data directory.
    format: u32,
    /// Which data directory this is.
    replica: Uuid,
    /// The CRC-32 of that: a flipped bit may well leave another UUID.
    checksum: u32,
}

impl Identity {
    fn new(replica: Uuid) -> Self {
        Self {
            format: FORMAT,
            replica,
            checksum: crc32fast::hash(replica.as_bytes()),
        }
    }
}

/// Reads the identity in `dir`; none where there is none yet.
pub(crate) fn load(dir: &Path) -> io::Result<Option<Uuid>> {
    let text = match disk::read(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Header { format } = serde_json::from_slice(&text)?;
    if format != FORMAT {
        let reason = format!("it has format {format}, and this program knows format {FORMAT}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let Identity {
        replica, checksum, ..
    } = serde_json::from_slice(&text)?;
    if checksum != Identity::new(replica).checksum {
        let reason = "its checksum is that of another identity";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Some(replica))
}

/// Whether an error of [`load`] says that the file is there and makes no sense.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

/// Gives `dir` a new identity. It is on disk when this returns.
pub(crate) fn create(dir: &Path) -> io::Result<Uuid> {
    let replica = if planted(Bug::EmptyDiskKeepsItsVote) {
        Uuid::nil()
    } else {
        Uuid::new_v4()
    };
    let text = serde_json::to_vec(&Identity::new(replica))?;
    let aside = dir.join("identity.new");
    let mut file = File::create(&aside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    disk::rename(&aside, dir.join(FILE))?;
    File::open(dir)?.sync_all()?;
    Ok(replica)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_identity_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let replica = create(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(replica));
    }

    #[test]
    fn an_identity_that_cannot_be_read_is_damaged() {
        for text in ["", "{", r#"{"format":2}"#, "\0\0\0"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(is_damage(&load(dir.path()).unwrap_err()), "{text:?}");
        }
    }

    #[test]
    fn a_flipped_bit_never_makes_another_identity() {
        let dir = tempfile::tempdir().unwrap();
        let replica = create(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        let text = fs::read(&file).unwrap();
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, damaged).unwrap();
            // A letter of the UUID in the other case means the same.
            let found = load(dir.path());
            assert!(
                !matches!(found, Ok(found) if found != Some(replica)),
                "bit {bit}: {found:?}"
            );
        }
    }

    #[test]
    fn another_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"format":3,"replica":"00000000-0000-0000-0000-000000000000"}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(error.to_string().contains("format 3") && !is_damage(&error));
    }
}
