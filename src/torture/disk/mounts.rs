//! What this program mounts, and how it gets rid of it: disks of its own, and small ones in memory.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The name under which the mounts of this program stand in the kernel's table.
pub(crate) const NAME: &str = "bazaar-disk";

/// The kernel's table of this process's mounts.
const TABLE: &str = "/proc/self/mountinfo";

/// What may help against a mount that was refused.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            " (is there a /dev/fuse? and, for users other than root, a fusermount3?)"
        }
        io::ErrorKind::PermissionDenied => {
            " (it takes root, or /dev/fuse and fusermount3; in a container also the capability SYS_ADMIN)"
        }
        _ => "",
    }
}

/// Takes a mount out of the directory tree; it ends when nobody uses it any more.
///
/// # Errors
/// When there is none, or the kernel refuses.
fn detach(mount_point: &Path) -> io::Result<()> {
    match umount2(mount_point, MntFlags::MNT_DETACH) {
        Ok(()) => Ok(()),
        // A user's own mount is the helper's to remove.
        Err(Errno::EPERM) => {
            let mut helper = std::process::Command::new("fusermount3");
            let output = helper.args(["-u", "-z", "--"]).arg(mount_point).output()?;
            if output.status.success() {
                return Ok(());
            }
            Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes the mounts of this program at and below `path` that a killed one has left behind.
///
/// # Errors
/// When the table of mounts cannot be read, or a mount not be removed.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    for mount_point in remove(path)? {
        tracing::warn!(mount_point = %mount_point.display(), "removed a mount that was left behind");
    }
    Ok(())
}

/// Removes the mounts, wherever they are, of which the program that served them has died.
///
/// # Errors
/// When the table of mounts cannot be read, or a mount not be removed.
pub(crate) fn remove_dead() -> io::Result<()> {
    let is_dead = |mount_point: &PathBuf| {
        let looked = fs::metadata(mount_point);
        looked.is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32))
    };
    for mount_point in ours()?.into_iter().filter(is_dead) {
        detach(&mount_point)?;
    }
    Ok(())
}

/// Removes the mounts of this program at and below `path`. Returns them.
///
/// # Errors
/// When the table of mounts cannot be read, or a mount not be removed.
pub(crate) fn remove(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = absolute(path)?;
    let mut stale: Vec<PathBuf> = ours()?
        .into_iter()
        .filter(|mount_point| mount_point.starts_with(&path))
        .collect();
    // What is mounted last lies on top.
    stale.reverse();
    for mount_point in &stale {
        detach(mount_point)?;
    }
    Ok(stale)
}

/// Where this program has mounted something, oldest first.
fn ours() -> io::Result<Vec<PathBuf>> {
    Ok(parse(&fs::read_to_string(TABLE)?))
}

/// The mount points in `table` whose source is [`NAME`]: see proc_pid_mountinfo(5).
fn parse(table: &str) -> Vec<PathBuf> {
    let mount_point = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let source = after.split(' ').nth(1)?;
        (source == NAME).then(|| unescape(before.split(' ').nth(4).unwrap_or_default()))
    };
    table.lines().filter_map(mount_point).collect()
}

/// A path as the kernel's table writes it: blanks and the like as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut path = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                at += 4;
            }
            None => {
                path.push(bytes[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

/// `path` from the root on, without what is symbolic in it. A dead mount cannot be looked into, so
/// only what is above it is resolved.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => match parent.canonicalize() {
            Ok(parent) => Ok(parent.join(name)),
            Err(_) => Ok(path),
        },
        _ => Ok(path),
    }
}

/// A small disk in memory (tmpfs). Dropping it unmounts it, and all that was on it is gone.
pub(crate) struct SmallDisk {
    mount_point: PathBuf,
}

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "a full disk is one of the torture's own")
)]
impl SmallDisk {
    /// Mounts a disk of `size` bytes at `mount_point`, which is made where it is missing.
    ///
    /// # Errors
    /// When the machine does not permit it: it takes root.
    pub(crate) fn mount(mount_point: &Path, size: u64) -> io::Result<Self> {
        remove_stale(mount_point)?;
        fs::create_dir_all(mount_point)?;
        tmpfs(mount_point, size, MsFlags::empty())?;
        Ok(Self {
            mount_point: mount_point.into(),
        })
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Makes it larger, or smaller, while it is in use.
    ///
    /// # Errors
    /// When it holds more than that.
    pub(crate) fn resize(&self, size: u64) -> io::Result<()> {
        tmpfs(&self.mount_point, size, MsFlags::MS_REMOUNT)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = detach(&self.mount_point) {
            let mount_point = self.mount_point.display();
            tracing::warn!(%mount_point, %error, "cannot unmount");
        }
    }
}

fn tmpfs(mount_point: &Path, size: u64, flags: MsFlags) -> io::Result<()> {
    let options = format!("size={size}");
    mount(
        Some(NAME),
        mount_point,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_mounts_are_found_in_the_kernels_table() {
        let table = "\
            22 1 0:21 / /proc rw - proc proc rw\n\
            40 1 0:60 / /var/a\\040b/order-1 rw,nosuid shared:7 - fuse bazaar-disk rw,user_id=0\n\
            41 1 0:61 / /var/full rw - tmpfs bazaar-disk rw,size=8k\n\
            42 1 0:62 / /mnt rw - tmpfs tmpfs rw\n";
        let expected: [PathBuf; 2] = ["/var/a b/order-1".into(), "/var/full".into()];
        assert_eq!(parse(table), expected);
    }

    #[test]
    fn a_small_disk_is_full_until_it_is_made_larger() {
        let dir = tempfile::tempdir().unwrap();
        let disk = match SmallDisk::mount(&dir.path().join("small"), 64 << 10) {
            Ok(disk) => disk,
            Err(error) => {
                eprintln!("SKIPPED: this machine permits no tmpfs: {error}");
                return;
            }
        };
        let file = disk.mount_point().join("file");
        let error = fs::write(&file, vec![1; 128 << 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.resize(1 << 20).unwrap();
        fs::write(&file, vec![1; 128 << 10]).unwrap();
        let mount_point = disk.mount_point().to_owned();
        drop(disk);
        assert!(!mount_point.join("file").exists());
    }
}
