//! `bazaar replace`: where the files go that a replica had and cannot use. It starts without any, and
//! gets from its group what the group has.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a directory is called into which a replica's former files are moved, but for its number.
const SET_ASIDE: &str = "replaced-";

/// Moves what is in the data directory `dir`, whose process is down, into a new directory in it, and
/// returns that; none where there was nothing. It stays on the disk that it is on, which may be all
/// that `dir` is the name of.
///
/// Interrupted, it leaves a replica that is refused, or one that is new; either can be replaced.
///
/// # Errors
/// When something cannot be moved.
pub(crate) fn set_aside(dir: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let number = |name: &str| name.strip_prefix(SET_ASIDE)?.parse::<u32>().ok();
    let (before, present): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .map(|entry| entry.file_name())
        .partition(|name| name.to_str().and_then(number).is_some());
    if present.is_empty() {
        return Ok(None);
    }
    let last = before.iter().filter_map(|name| number(name.to_str()?));
    let aside = dir.join(format!("{SET_ASIDE}{}", last.max().unwrap_or(0) + 1));
    fs::create_dir(&aside)?;
    for name in present {
        fs::rename(dir.join(&name), aside.join(&name))?;
    }
    for changed in [aside.as_path(), dir] {
        File::open(changed)?.sync_all()?;
    }
    Ok(Some(aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_set_aside_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert_eq!(set_aside(&data).unwrap(), None, "no directory");
        for round in ["1", "2"] {
            fs::create_dir_all(data.join("log")).unwrap();
            fs::write(data.join("log/file"), round).unwrap();
            let aside = set_aside(&data).unwrap().unwrap();
            assert_eq!(aside, data.join(format!("replaced-{round}")));
            assert_eq!(fs::read_to_string(aside.join("log/file")).unwrap(), round);
        }
        assert_eq!(set_aside(&data).unwrap(), None, "nothing left");
        let first = data.join("replaced-1/log/file");
        assert_eq!(fs::read_to_string(first).unwrap(), "1");
    }
}
