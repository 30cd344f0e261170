//! The journal of the embedded store, after a power cut.
//!
//! fjall reads its newest journal up to the first batch that is not whole, as long as the journal
//! merely ends there. A power cut also leaves batches with blank sectors in them, and those it refuses
//! ("checksum mismatch"). Nothing of them was synced, and the replicated log has it all: such a tail
//! is cut off here, before fjall reads it. Damage of any other kind stays for fjall to find.
//!
//! The format is fjall 3's: a batch is a start (tag 1, item count u32, sequence number u64), so many
//! items (tag 2, value type u8, compression u8, keyspace u64, key length u16, value length u32, stored
//! length u32, key, value) or clears (tag 4, keyspace u64), and an end (tag 3, XXH3 of the items u64,
//! four bytes of magic). Numbers are little-endian. The file is preallocated with zeros.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bazaar_replication::{has_blank_sector, written};
use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

/// Cuts a torn tail off the newest journal in `dir` that fjall would take for damage.
pub(crate) fn mend(dir: &Path) -> io::Result<()> {
    let Some(path) = newest(dir)? else {
        return Ok(());
    };
    let bytes = fs::read(&path)?;
    if let Some(end) = torn_at(&bytes) {
        let file = File::options().write(true).open(&path)?;
        file.set_len(end as u64)?;
        file.sync_all()?;
        let (file, cut) = (path.display(), written(&bytes) - end);
        warn!(%file, cut, left = end, "cut off the torn tail of the order store's journal, in bytes");
    }
    Ok(())
}

/// The newest journal: the only one that may have been written to after it was synced.
fn newest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|it| it == "jnl");
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(id) = id.filter(|_| is_journal) {
            let id: u64 = id;
            newest = newest.max(Some((id, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the journal is torn, if it has been: the end of the last batch before.
fn torn_at(bytes: &[u8]) -> Option<usize> {
    let written = written(bytes);
    let mut end = 0;
    while let Some(next) = skip_batch(&bytes[..written], end) {
        end = next;
    }
    (end < written && has_blank_sector(bytes, end, written)).then_some(end)
}

/// Where the batch at `at` ends, if it is whole.
fn skip_batch(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    let [1] = take(&mut rest)? else { return None };
    let count = u32::from_le_bytes(take(&mut rest)?);
    let _sequence: [u8; 8] = take(&mut rest)?;
    let mut sum = Xxh3::new();
    for _ in 0..count {
        let item = rest;
        match take(&mut rest)? {
            [2] => {
                let _type_compression_keyspace: [u8; 10] = take(&mut rest)?;
                let key = u16::from_le_bytes(take(&mut rest)?);
                let _value: [u8; 4] = take(&mut rest)?;
                let stored = u32::from_le_bytes(take(&mut rest)?);
                rest = rest.get(usize::from(key) + stored as usize..)?;
            }
            [4] => {
                let _keyspace: [u8; 8] = take(&mut rest)?;
            }
            _ => return None,
        }
        sum.update(&item[..item.len() - rest.len()]);
    }
    let [3] = take(&mut rest)? else { return None };
    let claimed = u64::from_le_bytes(take(&mut rest)?);
    let is_whole = take(&mut rest)? == MAGIC && sum.digest() == claimed;
    is_whole.then(|| bytes.len() - rest.len())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    use super::*;

    const BATCHES: u8 = 20;

    /// Opens the store and returns what it holds.
    fn read(dir: &Path) -> Vec<u8> {
        let db = Database::builder(dir).open().unwrap();
        let all = db.keyspace("all", KeyspaceCreateOptions::default).unwrap();
        let keys = all.iter().map(|entry| entry.key().unwrap()[0]);
        keys.collect()
    }

    /// Makes a store of [`BATCHES`] batches, each of several sectors; returns its journal.
    fn store(dir: &Path) -> PathBuf {
        let db = Database::builder(dir).open().unwrap();
        let all = db.keyspace("all", KeyspaceCreateOptions::default).unwrap();
        for number in 0..BATCHES {
            let mut batch = db.batch().durability(Some(PersistMode::Buffer));
            batch.insert(&all, [number], vec![number + 1; 2000]);
            batch.insert(&all, [number, 0], []);
            batch.commit().unwrap();
        }
        drop((all, db));
        newest(dir).unwrap().unwrap()
    }

    #[test]
    fn every_batch_of_the_embedded_store_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = fs::read(store(dir.path())).unwrap();
        let mut end = 0;
        let mut batches = 0;
        while let Some(next) = skip_batch(&bytes, end) {
            (end, batches) = (next, batches + 1);
        }
        assert_eq!(end, written(&bytes));
        assert!(batches >= usize::from(BATCHES), "{batches}");
        assert_eq!(torn_at(&bytes), None);
    }

    #[test]
    fn a_batch_with_a_hole_ends_the_journal() {
        for hole in 6..14 {
            let dir = tempfile::tempdir().unwrap();
            let journal = store(dir.path());
            let file = File::options().write(true).open(&journal).unwrap();
            file.write_all_at(&[0; 512], hole * 512).unwrap();
            mend(dir.path()).unwrap();
            let left = read(dir.path());
            assert!(
                !left.is_empty() && left.len() < 2 * usize::from(BATCHES),
                "{left:?}"
            );
            assert!(left.is_sorted() && left[0] == 0);
        }
    }

    #[test]
    fn a_flipped_bit_is_left_to_the_embedded_store_to_find() {
        let dir = tempfile::tempdir().unwrap();
        let journal = store(dir.path());
        let mut bytes = fs::read(&journal).unwrap();
        bytes[3000] ^= 1;
        assert_eq!(torn_at(&bytes), None);
    }
}
