//! Disks as processes see them: through the kernel.

use std::fs::File;
use std::io::Write as _;

use super::content::Loss;
use super::*;

/// A disk in a directory of its own; none where the machine does not permit it.
fn disk(names: Names) -> Option<(Disk, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    match Disk::mount(&dir.path().join("disk"), &dir.path().join("backing"), names) {
        Ok(disk) => Some((disk, dir)),
        Err(error @ DiskError::Mount { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a file, and syncs it and its directory.
fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    sync_dir(path.parent().unwrap()).unwrap();
}

#[test]
fn synced_data_survives_a_power_cut_and_unsynced_does_not() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"synced");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b" and not").unwrap();
    fs::write(disk.mount_point().join("other"), b"never").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"synced and not");
    drop(file);
    let report = disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"synced");
    assert!(!disk.mount_point().join("other").exists());
    assert_eq!(report.names, (1, 0));
    let loss = Loss {
        unsynced: 8,
        kept: 0,
    };
    assert!(report.files.contains(&("file".into(), loss)), "{report:?}");
    // The disk goes on.
    write_synced(&path, b"again");
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"again");
}

#[test]
fn a_synced_file_whose_directory_is_not_synced_has_no_name() {
    for (names, is_there) in [(Names::ByDirectory, false), (Names::ByAnySync, true)] {
        let Some((disk, _dir)) = disk(names) else {
            return;
        };
        let path = disk.mount_point().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"synced").unwrap();
        file.sync_data().unwrap();
        drop(file);
        disk.cut(PowerCut::Clean).unwrap();
        assert_eq!(path.exists(), is_there, "{names:?}");
    }
}

#[test]
fn a_rename_without_a_sync_of_the_file_loses_its_content() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let (path, aside) = (
        disk.mount_point().join("file"),
        disk.mount_point().join("new"),
    );
    write_synced(&path, b"old");
    fs::write(&aside, b"new").unwrap();
    fs::rename(&aside, &path).unwrap();
    sync_dir(disk.mount_point()).unwrap();
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_rename_without_a_sync_of_the_directory_is_taken_back() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let (path, aside) = (
        disk.mount_point().join("file"),
        disk.mount_point().join("new"),
    );
    write_synced(&path, b"old");
    write_synced(&aside, b"new");
    fs::rename(&aside, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read(&aside).unwrap(), b"new");
}

#[test]
fn directories_are_made_moved_and_removed() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let root = disk.mount_point();
    fs::create_dir_all(root.join("a/b")).unwrap();
    for name in 0..300 {
        fs::write(root.join(format!("a/b/{name}")), b"x").unwrap();
    }
    fs::rename(root.join("a"), root.join("c")).unwrap();
    assert_eq!(fs::read_dir(root.join("c/b")).unwrap().count(), 300);
    sync_dir(root).unwrap();
    fs::remove_dir_all(root.join("c")).unwrap();
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read_dir(root.join("c/b")).unwrap().count(), 300);
}

#[test]
fn a_failing_sync_fails_with_eio_and_what_it_lost_stays_lost() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"durable ");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"lost").unwrap();
    disk.break_sync(SyncFault::Fail, Times::Next(1), Path::new("elsewhere"));
    file.sync_data().unwrap();
    file.write_all(b"lost").unwrap();
    disk.break_sync(SyncFault::Fail, Times::Next(1), Path::new("file"));
    let error = file.sync_data().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    file.sync_data().unwrap();
    drop(file);
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"durable lost\0\0\0\0");
}

#[test]
fn a_lying_sync_returns_and_does_nothing() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"durable");
    disk.break_sync(SyncFault::Lie, Times::Always, Path::new(""));
    let before = disk.syncs();
    write_synced(&path, b"believed");
    assert_eq!(disk.syncs() - before, 2);
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"durable");
}

#[test]
fn a_full_disk_takes_no_more_until_there_is_room() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"12345");
    disk.fill(3);
    let mut file = File::options().append(true).open(&path).unwrap();
    let error = file.write_all(b"678910").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), b"12345678");
    disk.repair();
    file.write_all(b"9").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"123456789");
}

#[test]
fn reads_fail_with_eio() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"bytes");
    disk.break_read(Times::Always, Path::new("file"));
    let error = fs::read(&path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    disk.repair();
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
}

#[test]
fn a_slow_sync_does_not_hold_up_the_rest() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    let file = File::create(&path).unwrap();
    let delay = Duration::from_millis(400);
    disk.slow_sync(delay);
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 * THREADS {
            scope.spawn(|| file.sync_data().unwrap());
        }
        fs::write(disk.mount_point().join("other"), b"x").unwrap();
        assert!(begin.elapsed() < delay, "{:?}", begin.elapsed());
    });
    assert!(begin.elapsed() >= delay);
}

#[test]
fn a_sync_under_way_when_the_power_goes_makes_nothing_durable() {
    let Some((disk, _dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"durable");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b" and not").unwrap();
    disk.slow_sync(Duration::from_millis(300));
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        disk.switch_off();
        assert!(file.set_len(0).is_err());
        assert!(sync.join().unwrap().is_err());
    });
    drop(file);
    disk.cut(PowerCut::Clean).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"durable");
    disk.repair();
    write_synced(&path, b"again");
}

#[test]
fn a_remounted_disk_holds_what_it_held() {
    let Some((disk, dir)) = disk(Names::ByDirectory) else {
        return;
    };
    let path = disk.mount_point().join("file");
    write_synced(&path, b"bytes");
    let mount_point = disk.mount_point().to_owned();
    assert_eq!(fs::read(disk.files().join("file")).unwrap(), b"bytes");
    drop(disk);
    assert_eq!(fs::read_dir(&mount_point).unwrap().count(), 0);
    let backing = dir.path().join("backing");
    let _disk = Disk::mount(&mount_point, &backing, Names::ByDirectory).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
}

#[test]
fn a_disk_is_not_mounted_over_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"x").unwrap();
    let backing = tempfile::tempdir().unwrap();
    let mounted = Disk::mount(dir.path(), backing.path(), Names::ByDirectory);
    assert!(matches!(mounted, Err(DiskError::NotEmpty { .. })));
}

#[test]
fn the_probe_says_what_a_mount_says() {
    let dir = tempfile::tempdir().unwrap();
    let can = disk(Names::ByDirectory).is_some();
    assert_eq!(Disk::probe(dir.path()).is_ok(), can);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}
