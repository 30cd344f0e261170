//! The content of one file, and what of it a power cut may take back.
//!
//! The bytes lie in a file of the host, which always holds what the process reads. Beside it is kept,
//! for each change since the last sync, what the disk held before: a sync forgets these, a power cut
//! puts them back. So memory is taken by what was overwritten and not yet synced, and an append takes
//! next to none.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// What a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR: u64 = 512;

/// One file's content.
#[derive(Debug)]
pub(crate) struct Content {
    file: File,
    /// The length as the process sees it.
    len: u64,
    /// The length that a power cut leaves.
    durable_len: u64,
    /// The changes since the last sync, oldest first.
    pending: Vec<Change>,
}

/// A change that is not synced, with what undoes it.
#[derive(Debug)]
struct Change {
    kind: Kind,
    /// What stood from `at` on before the change.
    old: Vec<u8>,
    at: u64,
    /// A sync of it has failed: the kernel has dropped it from what it will write, so that no later
    /// sync brings it to the disk.
    is_lost: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many bytes were written.
    Write { len: u64 },
    /// The file got this length.
    Resize { len: u64 },
}

/// What a power cut did to a file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Written and not synced.
    pub(crate) unsynced: u64,
    /// Of these, what the disk holds all the same.
    pub(crate) kept: u64,
}

impl Content {
    /// The content in `file`, all of it durable.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            len,
            durable_len: len,
            pending: Vec::new(),
        })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether everything is durable.
    pub(crate) fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    /// Reads as much as there is of `len` bytes from `at` on.
    pub(crate) fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(there)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Writes `bytes` at `at`.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        let old = self.read(at, bytes.len())?;
        self.file.write_all_at(bytes, at)?;
        self.len = self.len.max(at + len);
        self.note(Kind::Write { len }, at, old);
        Ok(())
    }

    /// Cuts or extends to `len`.
    pub(crate) fn resize(&mut self, len: u64) -> io::Result<()> {
        if len == self.len {
            return Ok(());
        }
        let cut = usize::try_from(self.len.saturating_sub(len)).map_err(io::Error::other)?;
        let old = self.read(len, cut)?;
        self.file.set_len(len)?;
        self.len = len;
        self.note(Kind::Resize { len }, len, old);
        Ok(())
    }

    fn note(&mut self, kind: Kind, at: u64, old: Vec<u8>) {
        self.pending.push(Change {
            kind,
            old,
            at,
            is_lost: false,
        });
    }

    /// Makes everything durable, except what an earlier sync has failed to.
    pub(crate) fn sync(&mut self) {
        self.durable_len = self.len;
        self.pending.retain(|change| change.is_lost);
    }

    /// A sync fails: what it was to make durable never will be, although the process still reads it.
    pub(crate) fn lose(&mut self) {
        for change in &mut self.pending {
            change.is_lost = true;
        }
    }

    /// The power is cut: nothing that was not synced is left, or what `rng` leaves of it.
    pub(crate) fn cut(&mut self, rng: Option<&mut StdRng>) -> io::Result<Loss> {
        let changes = std::mem::take(&mut self.pending);
        let mut loss = Loss {
            unsynced: changes.iter().map(Change::written).sum(),
            kept: 0,
        };
        let end = match rng {
            None => {
                self.undo(&changes)?;
                self.durable_len
            }
            Some(rng) => self.tear(&changes, rng, &mut loss)?,
        };
        self.file.set_len(end)?;
        self.len = end;
        self.durable_len = end;
        Ok(loss)
    }

    /// Takes `changes`, the newest ones, back.
    fn undo(&self, changes: &[Change]) -> io::Result<()> {
        for change in changes.iter().rev() {
            let len = change.written().max(change.old.len() as u64);
            self.undo_part(change, change.at..change.at + len)?;
        }
        Ok(())
    }

    /// Takes back what `change` did to `part` of the file.
    fn undo_part(&self, change: &Change, part: Range<u64>) -> io::Result<()> {
        let offset = |at: u64| usize::try_from(at - change.at).unwrap_or(usize::MAX);
        let old = change.old.len();
        let (from, to) = (offset(part.start), offset(part.end));
        let mut before = change.old[from.min(old)..to.min(old)].to_vec();
        before.resize(to - from, 0);
        self.file.write_all_at(&before, part.start)
    }

    /// Takes some of `changes` back. Returns the length that is left.
    fn tear(&self, changes: &[Change], rng: &mut StdRng, loss: &mut Loss) -> io::Result<u64> {
        // Lengths change in order, and no write outlives the change of length before it.
        let is_resize = |change: &Change| matches!(change.kind, Kind::Resize { .. });
        let applied = if changes.iter().any(is_resize) {
            rng.random_range(0..=changes.len())
        } else {
            changes.len()
        };
        let (changes, undone) = changes.split_at(applied);
        self.undo(undone)?;
        let settled = changes.iter().rposition(is_resize).map_or(0, |it| it + 1);
        let (resized, writes) = changes.split_at(settled);
        let end = match resized.last().map(|last| last.kind) {
            Some(Kind::Resize { len }) => len,
            Some(Kind::Write { .. }) | None => self.durable_len,
        };
        match rng.random_range(0..3) {
            0 => {
                self.undo(writes)?;
                Ok(end)
            }
            1 => self.tear_tail(writes, end, rng, loss),
            _ => self.tear_sectors(writes, end, rng, loss),
        }
    }

    /// Leaves the first so many bytes that were written.
    fn tear_tail(
        &self,
        writes: &[Change],
        mut end: u64,
        rng: &mut StdRng,
        loss: &mut Loss,
    ) -> io::Result<u64> {
        let mut before: u64 = writes.iter().map(Change::written).sum();
        let mut kept = rng.random_range(0..=before);
        if rng.random() {
            kept -= kept % SECTOR;
        }
        loss.kept += kept;
        for write in writes.iter().rev() {
            before -= write.written();
            let from = write.at + kept.saturating_sub(before).min(write.written());
            self.undo_part(write, from..write.at + write.written())?;
            if from > write.at {
                end = end.max(from);
            }
        }
        Ok(end)
    }

    /// Leaves any sectors, each as it was at any one time since the last sync.
    fn tear_sectors(
        &self,
        writes: &[Change],
        mut end: u64,
        rng: &mut StdRng,
        loss: &mut Loss,
    ) -> io::Result<u64> {
        let likelihood = rng.random_range(0.1..0.95);
        let mut settled = HashSet::new();
        for write in writes.iter().rev() {
            let to = write.at + write.written();
            let mut from = write.at;
            while from < to {
                let sector = from / SECTOR;
                let part = from..to.min((sector + 1) * SECTOR);
                from = part.end;
                if settled.contains(&sector) || rng.random_bool(likelihood) {
                    settled.insert(sector);
                    loss.kept += part.end - part.start;
                    end = end.max(part.end);
                } else {
                    self.undo_part(write, part)?;
                }
            }
        }
        Ok(end)
    }
}

impl Change {
    /// The bytes that it wrote.
    fn written(&self) -> u64 {
        match self.kind {
            Kind::Write { len } => len,
            Kind::Resize { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn content(bytes: &[u8]) -> Content {
        let mut content = Content::new(tempfile::tempfile().unwrap()).unwrap();
        content.write(0, bytes).unwrap();
        content.sync();
        content
    }

    fn read(content: &Content) -> Vec<u8> {
        content.read(0, 1 << 20).unwrap()
    }

    #[test]
    fn a_cut_leaves_what_was_synced() {
        let mut content = content(b"durable");
        content.write(7, b" and more").unwrap();
        content.write(0, b"DUR").unwrap();
        content.resize(2).unwrap();
        content.write(1, b"xyz").unwrap();
        assert_eq!(read(&content), b"Dxyz");
        let loss = content.cut(None).unwrap();
        assert_eq!(read(&content), b"durable");
        assert_eq!(
            loss,
            Loss {
                unsynced: 15,
                kept: 0
            }
        );
    }

    #[test]
    fn what_a_sync_failed_to_write_no_later_one_makes_durable() {
        let mut content = content(b"durable");
        content.write(7, b"lost").unwrap();
        content.lose();
        content.write(11, b"synced").unwrap();
        content.sync();
        assert_eq!(read(&content), b"durablelostsynced");
        content.cut(None).unwrap();
        assert_eq!(read(&content), b"durable\0\0\0\0synced");
    }

    #[test]
    fn a_torn_cut_leaves_each_sector_as_it_once_was() {
        let sector = usize::try_from(SECTOR).unwrap();
        let mut lengths = HashSet::new();
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut content = content(&vec![1; 2 * sector]);
            content.write(SECTOR, &vec![2; 3 * sector]).unwrap();
            content.write(2 * SECTOR, &vec![3; 2 * sector]).unwrap();
            let loss = content.cut(Some(&mut rng)).unwrap();
            let bytes = read(&content);
            lengths.insert(bytes.len());
            assert!(
                bytes.len() >= 2 * sector && loss.kept <= loss.unsynced,
                "seed {seed}"
            );
            assert!(bytes[..sector].iter().all(|&byte| byte == 1), "seed {seed}");
            assert!(
                bytes[sector..2 * sector]
                    .iter()
                    .all(|&byte| byte == 1 || byte == 2)
            );
            assert!(
                bytes[2 * sector..].iter().all(|&byte| byte != 1),
                "seed {seed}"
            );
        }
        assert!(
            lengths.len() > 3,
            "it cuts at different places: {lengths:?}"
        );
    }

    #[test]
    fn a_torn_cut_never_leaves_a_write_beyond_a_truncation_that_is_lost() {
        for seed in 0..200 {
            let mut content = content(b"before");
            content.resize(0).unwrap();
            content.write(0, b"after!").unwrap();
            content.cut(Some(&mut StdRng::seed_from_u64(seed))).unwrap();
            let bytes = read(&content);
            let is_prefix = b"after!".starts_with(&bytes[..]);
            assert!(bytes == b"before" || is_prefix, "seed {seed}: {bytes:?}");
        }
    }
}
