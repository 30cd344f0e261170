//! Directories that are for nobody but their owner to look into.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bazaar_machine::disk::{self, Permissions};

/// Makes the directory `dir` where there is none, and makes it private where it is not: what is in it
/// is out of others' reach then, whatever its own permissions.
///
/// # Errors
/// When it is somebody else's, or cannot be made.
pub(crate) fn open_dir(dir: &Path) -> io::Result<()> {
    disk::create_dir_all(dir)?;
    disk::set_permissions(dir, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        open_dir(&path).unwrap();
        assert_eq!(mode(), 0o700);
        disk::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        open_dir(&path).unwrap();
        assert_eq!(mode(), 0o700);
    }
}
