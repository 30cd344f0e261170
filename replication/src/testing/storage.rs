//! The log on disk: openraft's suite, and what is made of damage.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bazaar_daemon::Tasks;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderIdExt as _;
use openraft::{EntryPayload, RaftLogReader as _, StorageError};
use tempfile::TempDir;

use super::machine::Keeper;
use crate::error::OpenError;
use crate::log_store::LogStore;
use crate::state_machine::Adapter;
use crate::types::{Command, Entry, LogId, Types, Vote};

struct Stores;

impl StoreBuilder<Types, LogStore, Adapter, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, Adapter), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&dir.path().join("log")).unwrap();
        let adapter = Adapter::new(Box::new(Keeper::open(dir.path())), Tasks::new());
        Ok((dir, log, adapter))
    }
}

#[tokio::test]
async fn the_stores_pass_the_suite_of_openraft() {
    Suite::test_all(Stores).await.unwrap();
}

fn entry(index: u64) -> Entry {
    let leader_id = openraft::impls::leader_id_std::LeaderId::new_committed(1, 1);
    Entry {
        log_id: LogId { leader_id, index },
        payload: EntryPayload::Normal(Command(vec![b'x'; 100].into())),
    }
}

/// Makes a log of so many entries, with a vote; returns its only file.
async fn written(dir: &Path, entries: u64) -> PathBuf {
    let mut log = LogStore::open(dir).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.blocking_append((0..entries).map(entry)).await.unwrap();
    drop(log);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wal");
    let mut files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(is_log);
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

/// The indexes in the log of `dir`.
async fn indexes(dir: &Path) -> Vec<u64> {
    let mut log = LogStore::open(dir).unwrap();
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn a_log_is_found_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 10).await;
    assert_eq!(indexes(dir.path()).await, Vec::from_iter(0..10));
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(
        log.read_vote().await.unwrap(),
        Some(Vote::new_committed(1, 1))
    );
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_is_torn() {
    for cut in (1..200).step_by(11) {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path(), 10).await;
        let size = fs::metadata(&file).unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(size - cut)
            .unwrap();
        let left = indexes(dir.path()).await;
        assert!(left == Vec::from_iter(0..left.len() as u64) && (8..10).contains(&left.len()));
        // What was cut can be written again.
        let mut log = LogStore::open(dir.path()).unwrap();
        log.blocking_append([entry(left.len() as u64)])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_tail_with_a_hole_is_cut_unless_it_was_acknowledged() {
    const SECTOR: u64 = 512;
    for is_committed in [false, true] {
        for hole in 1..4 {
            let dir = tempfile::tempdir().unwrap();
            let file = written(dir.path(), 20).await;
            if is_committed {
                let mut log = LogStore::open(dir.path()).unwrap();
                log.save_committed(Some(entry(19).log_id)).await.unwrap();
                log.blocking_append([entry(20)]).await.unwrap();
            }
            let handle = OpenOptions::new().write(true).open(&file).unwrap();
            handle.write_all_at(&[0; 512], hole * SECTOR).unwrap();
            let size = fs::metadata(&file).unwrap().len();
            if is_committed {
                let opened = LogStore::open(dir.path()).map(drop);
                assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{hole}");
                assert_eq!(fs::metadata(&file).unwrap().len(), size);
            } else {
                let left = indexes(dir.path()).await;
                assert!(left == Vec::from_iter(0..left.len() as u64) && !left.is_empty());
                assert!(fs::metadata(&file).unwrap().len() <= hole * SECTOR);
            }
        }
    }
}

#[tokio::test]
async fn damage_elsewhere_is_a_clear_error_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), 10).await;
    let size = fs::metadata(&file).unwrap().len();
    for at in 0..size {
        let handle = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&file)
            .unwrap();
        let mut byte = [0];
        handle.read_exact_at(&mut byte, at).unwrap();
        handle.write_all_at(&[byte[0] ^ 0x80], at).unwrap();
        match LogStore::open(dir.path()).map(drop) {
            Err(OpenError::Damaged { path, .. }) => assert_eq!(path, dir.path()),
            other => panic!("a flipped byte at {at} of {size}: {other:?}"),
        }
        assert_eq!(fs::metadata(&file).unwrap().len(), size, "at {at}");
        handle.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(indexes(dir.path()).await, Vec::from_iter(0..10));
}

#[tokio::test]
async fn a_log_whose_files_are_gone_is_not_taken_for_a_purged_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), 10).await;
    // Cut, the file is closed when the log is opened again, and another one begun.
    let size = fs::metadata(&file).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(size - 1)
        .unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.blocking_append([entry(9)]).await.unwrap();
    drop(log);
    fs::remove_file(file).unwrap();
    assert!(matches!(
        LogStore::open(dir.path()).map(drop),
        Err(OpenError::Damaged { .. })
    ));
}
