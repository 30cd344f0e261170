//! Files on the current machine's disk: as much of `std::fs` as the services use.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use std::fs::TryLockError;

use super::Machine;
use super::disk::{Contents, Disk, Node, State, lock};

/// The current machine's disk.
fn disk() -> io::Result<Disk> {
    let machine = Machine::current().ok_or_else(|| io::Error::other("no machine, no disk"))?;
    Ok(machine.disk().clone())
}

fn with<T>(work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
    let disk = disk()?;
    let mut state = disk.state();
    if !state.is_owned {
        return Err(has_ended());
    }
    work(&mut state)
}

/// See [`std::fs::create_dir_all`].
///
/// # Errors
/// See there.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    with(|state| {
        for path in path.as_ref().ancestors() {
            match state.names.get(path) {
                Some(Node::Directory) => break,
                Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                None => {
                    state.change_names().insert(path.into(), Node::Directory);
                }
            }
        }
        Ok(())
    })
}

/// See [`std::fs::rename`].
///
/// # Errors
/// See there.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    with(|state| {
        check_parent(state, to)?;
        let names = state.change_names();
        let node = names.remove(from).ok_or(ErrorKind::NotFound)?;
        names.insert(to.into(), node);
        let below: Vec<PathBuf> = names
            .range(from.to_path_buf()..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(from))
            .collect();
        for path in below {
            let rest = path.strip_prefix(from).map_err(io::Error::other)?;
            if let Some(node) = names.remove(&path) {
                names.insert(to.join(rest), node);
            }
        }
        Ok(())
    })
}

/// See [`std::fs::remove_file`].
///
/// # Errors
/// See there.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    with(|state| match state.names.get(path.as_ref()) {
        Some(Node::File(_)) => {
            state.change_names().remove(path.as_ref());
            Ok(())
        }
        Some(Node::Directory) => Err(ErrorKind::IsADirectory.into()),
        None => Err(ErrorKind::NotFound.into()),
    })
}

/// See [`std::fs::remove_dir_all`].
///
/// # Errors
/// See there.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    with(|state| {
        if !state.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change_names().retain(|it, _| !it.starts_with(path));
        Ok(())
    })
}

/// See [`std::fs::exists`].
///
/// # Errors
/// See there.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    with(|state| Ok(state.names.contains_key(path.as_ref())))
}

/// See [`std::fs::read`].
///
/// # Errors
/// See there.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// See [`std::fs::metadata`].
///
/// # Errors
/// See there.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    with(|state| match state.names.get(path.as_ref()) {
        Some(node) => Ok(Metadata::of(node)),
        None => Err(ErrorKind::NotFound.into()),
    })
}

/// See [`std::fs::read_dir`]. In the order of the names.
///
/// # Errors
/// See there.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<std::vec::IntoIter<io::Result<DirEntry>>> {
    let path = path.as_ref();
    with(|state| match state.names.get(path) {
        Some(Node::Directory) => {
            let inside = state.names.range(path.to_path_buf()..);
            let inside = inside.take_while(|(it, _)| it.starts_with(path));
            let children = inside.filter(|(it, _)| it.parent() == Some(path));
            let entry = |(path, node): (&PathBuf, &Node)| {
                Ok(DirEntry {
                    path: path.clone(),
                    metadata: Metadata::of(node),
                })
            };
            Ok(children.map(entry).collect::<Vec<_>>().into_iter())
        }
        Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
        None => Err(ErrorKind::NotFound.into()),
    })
}

/// See [`std::fs::DirEntry`].
pub struct DirEntry {
    path: PathBuf,
    metadata: Metadata,
}

impl DirEntry {
    /// See [`std::fs::DirEntry::path`].
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// See [`std::fs::DirEntry::metadata`].
    ///
    /// # Errors
    /// None.
    pub fn metadata(&self) -> io::Result<Metadata> {
        Ok(self.metadata)
    }
}

/// See [`std::fs::Metadata`].
#[derive(Clone, Copy)]
pub struct Metadata {
    length: u64,
}

impl Metadata {
    fn of(node: &Node) -> Self {
        let length = match node {
            Node::Directory => 0,
            Node::File(contents) => lock(contents).bytes.len(),
        };
        Self {
            length: length as u64,
        }
    }

    /// See [`std::fs::Metadata::len`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "as std has it")]
    pub fn len(&self) -> u64 {
        self.length
    }
}

/// See [`std::fs::File`]. Also a directory, to be synced.
pub struct File {
    disk: Disk,
    /// Which of the processes that have had the disk opened it.
    owner: u64,
    contents: Option<Arc<Mutex<Contents>>>,
    position: usize,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

impl File {
    /// See [`std::fs::File::open`].
    ///
    /// # Errors
    /// See there.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let disk = disk()?;
        let (owner, contents) = {
            let state = disk.state();
            match state.names.get(path.as_ref()) {
                Some(Node::File(contents)) => (state.owner, Some(contents.clone())),
                Some(Node::Directory) => (state.owner, None),
                None => return Err(ErrorKind::NotFound.into()),
            }
        };
        Ok(Self {
            disk,
            owner,
            contents,
            position: 0,
        })
    }

    /// See [`std::fs::File::create`].
    ///
    /// # Errors
    /// See there.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        with(|state| {
            check_parent(state, path)?;
            match state.names.get(path) {
                Some(Node::Directory) => return Err(ErrorKind::IsADirectory.into()),
                Some(Node::File(contents)) => lock(contents).set_len(0),
                None => {
                    let empty = Node::File(Arc::default());
                    state.change_names().insert(path.into(), empty);
                }
            }
            Ok(())
        })?;
        Self::open(path)
    }

    /// Opens the file at `path` to add to its end; makes it where there is none.
    ///
    /// # Errors
    /// As [`File::create`].
    pub fn append(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        if !exists(path)? {
            Self::create(path)?;
        }
        let mut file = Self::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }

    /// See [`std::fs::File::sync_all`]. The time that it takes is spent when the blocking work that
    /// it is part of has ended.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_all(&self) -> io::Result<()> {
        self.disk.owe();
        self.sync_now()
    }

    /// Takes the time of a sync, and syncs what is there at its end.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync(&self) -> io::Result<()> {
        let time = self.disk.sync_time();
        tokio::time::sleep(time).await;
        self.sync_now()
    }

    fn sync_now(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        self.check_owner(&state)?;
        state.sync(self.contents.as_ref())
    }

    /// See [`std::fs::File::set_len`].
    ///
    /// # Errors
    /// When it is a directory.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.check_owner(&self.disk.state())?;
        lock(self.contents()?).set_len(length);
        Ok(())
    }

    /// See [`std::fs::File::try_lock`]. A machine runs one process.
    ///
    /// # Errors
    /// None.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        Ok(())
    }

    fn contents(&self) -> io::Result<&Arc<Mutex<Contents>>> {
        Ok(self.contents.as_ref().ok_or(ErrorKind::IsADirectory)?)
    }

    /// What was opened by a process that has ended does nothing any more, such as when it is
    /// dropped.
    fn check_owner(&self, state: &State) -> io::Result<()> {
        if state.is_owned && state.owner == self.owner {
            Ok(())
        } else {
            Err(has_ended())
        }
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = {
            let contents = lock(self.contents()?);
            let rest = contents.bytes.get(self.position..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        };
        self.position += read;
        Ok(read)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        {
            let state = self.disk.state();
            self.check_owner(&state)?;
            state.check_room()?;
        }
        lock(self.contents()?).write(self.position, bytes);
        self.position += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = lock(self.contents()?).bytes.len() as u64;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => length.checked_add_signed(offset),
            SeekFrom::Current(offset) => (self.position as u64).checked_add_signed(offset),
        };
        let position = position.ok_or(ErrorKind::InvalidInput)?;
        self.position = usize::try_from(position).map_err(io::Error::other)?;
        Ok(position)
    }
}

/// What the last steps of a process that was killed are told, those of its destructors.
fn has_ended() -> io::Error {
    io::Error::other("the process has ended")
}

fn check_parent(state: &State, path: &Path) -> io::Result<()> {
    match path.parent().and_then(|parent| state.names.get(parent)) {
        Some(Node::Directory) => Ok(()),
        Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
        None => Err(ErrorKind::NotFound.into()),
    }
}
