//! Damage to the files of a stopped process: what rotten bits, lost blocks and careless hands do.
//!
//! What is damaged is found in the process's data directory, and where exactly is the seed's choice:
//! the same directory, target, damage and seed give the same file and offset.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bazaar_replication::{find_votes, written};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::content::SECTOR;

/// What is to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The replicated log, anywhere in its newest file.
    Log,
    /// The vote: the newest record of one in the log.
    Vote,
    /// The order store, anywhere in any of its files.
    OrderStore,
    /// `catalog.json`.
    Catalog,
    /// The file that says which data directory this is.
    Identity,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The file ends within the last so many bytes of what is to be damaged.
    TornTail(u64),
    /// One bit is the other one.
    FlippedBit,
    /// The file ends anywhere in what is to be damaged.
    Truncation,
    /// One sector is blank, or as much of it as belongs to what is to be damaged.
    BlankSector,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Corruption {
    /// The file.
    pub(crate) file: PathBuf,
    /// Which of its bytes; to its former end, where it was cut.
    pub(crate) bytes: Range<u64>,
    /// How.
    pub(crate) damage: Damage,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            bytes,
            damage,
        } = self;
        let (file, Range { start, end }) = (file.display(), bytes);
        match damage {
            Damage::TornTail(_) | Damage::Truncation => {
                write!(f, "{file}: cut from {end} bytes to {start}")
            }
            Damage::FlippedBit => write!(f, "{file}: a bit flipped in byte {start}"),
            Damage::BlankSector => write!(f, "{file}: bytes {start} to {end} blanked"),
        }
    }
}

/// Damages `target` in the data directory `dir` of a process that does not run.
///
/// # Errors
/// When there is no such target, it is empty, or the files cannot be read or written.
pub(crate) fn corrupt(
    dir: &Path,
    target: Target,
    damage: Damage,
    seed: u64,
) -> io::Result<Corruption> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut places = places(dir, target)?;
    if places.is_empty() {
        let reason = format!("{}: there is no {target:?} to damage", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let (file, place) = places.swap_remove(rng.random_range(0..places.len()));
    let handle = File::options().read(true).write(true).open(&file)?;
    let end = handle.metadata()?.len();
    let bytes = match damage {
        Damage::TornTail(most) => {
            let most = most.clamp(1, place.end - place.start);
            place.end - rng.random_range(1..=most)..end
        }
        Damage::Truncation => rng.random_range(place.clone())..end,
        Damage::FlippedBit => {
            let at = rng.random_range(place);
            at..at + 1
        }
        Damage::BlankSector => {
            let sector = rng.random_range(place.clone()) / SECTOR;
            (sector * SECTOR).max(place.start)..((sector + 1) * SECTOR).min(place.end)
        }
    };
    match damage {
        Damage::TornTail(_) | Damage::Truncation => handle.set_len(bytes.start)?,
        Damage::FlippedBit => {
            let mut byte = [0];
            handle.read_exact_at(&mut byte, bytes.start)?;
            let flipped = byte[0] ^ (1 << rng.random_range(0..8));
            handle.write_all_at(&[flipped], bytes.start)?;
        }
        Damage::BlankSector => {
            let len = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
            handle.write_all_at(&vec![0; len], bytes.start)?;
        }
    }
    handle.sync_all()?;
    Ok(Corruption {
        file,
        bytes,
        damage,
    })
}

/// Where `target` lies below `dir`: files, and what of them.
fn places(dir: &Path, target: Target) -> io::Result<Vec<(PathBuf, Range<u64>)>> {
    let mut files = Vec::new();
    walk(dir, &mut files)?;
    files.sort();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|it| it == "wal");
    let named = |name: &'static str| move |path: &PathBuf| path.ends_with(name);
    let files: Vec<PathBuf> = match target {
        Target::Log => files.into_iter().rfind(is_log).into_iter().collect(),
        Target::Vote => {
            let newest = files.into_iter().rfind(is_log);
            let log = newest.as_deref().and_then(Path::parent);
            let votes = log.map_or(Ok(Vec::new()), find_votes)?;
            return Ok(votes.into_iter().next_back().into_iter().collect());
        }
        Target::OrderStore => {
            let is_in_store = |path: &PathBuf| path.starts_with(dir.join("store"));
            files.into_iter().filter(is_in_store).collect()
        }
        Target::Catalog => files.into_iter().filter(named("catalog.json")).collect(),
        Target::Identity => files.into_iter().filter(named("identity.json")).collect(),
    };
    let mut places = Vec::new();
    for file in files {
        // What is preallocated behind it is nobody's.
        let written = written(&fs::read(&file)?) as u64;
        if written > 0 {
            places.push((file, 0..written));
        }
    }
    Ok(places)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 3000;

    fn data_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("store")).unwrap();
        for name in ["catalog.json", "identity.json", "store/0.jnl"] {
            fs::write(dir.path().join(name), [7; BYTES]).unwrap();
        }
        dir
    }

    #[test]
    fn the_same_seed_does_the_same_and_says_what() {
        for damage in [
            Damage::TornTail(40),
            Damage::FlippedBit,
            Damage::Truncation,
            Damage::BlankSector,
        ] {
            for target in [Target::Catalog, Target::Identity, Target::OrderStore] {
                let (one, other) = (data_dir(), data_dir());
                let done = corrupt(one.path(), target, damage, 5).unwrap();
                let again = corrupt(other.path(), target, damage, 5).unwrap();
                assert_eq!(done.bytes, again.bytes);
                let left = fs::read(&done.file).unwrap();
                assert_eq!(left, fs::read(&again.file).unwrap());
                let same = left.iter().filter(|&&byte| byte == 7).count();
                let changed = usize::try_from(done.bytes.end - done.bytes.start).unwrap();
                assert_eq!(BYTES - same, changed, "{done}");
            }
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_damaged() {
        let dir = data_dir();
        let error = corrupt(dir.path(), Target::Vote, Damage::FlippedBit, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
