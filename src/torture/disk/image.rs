//! What is on a disk: as the process sees it, and as a power cut leaves it.
//!
//! On the host a disk is a directory:
//!
//! ```text
//! files/     what the process sees, under its names
//! objects/   the same files, by number; and those that only a power cut brings back
//! ```

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::Errno;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::content::{Content, Loss};
use super::faults::{Faults, SyncFault};
use super::tree::{Change, Ino, Node, ROOT, Tree};

/// Which syncs make names durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Names {
    /// Those of directories alone: what POSIX promises, and no more.
    #[default]
    ByDirectory,
    /// Those of files, too: as ext4, XFS and btrfs do it.
    ByAnySync,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerCut {
    /// Nothing.
    Clean,
    /// By seed, anything that a disk may leave.
    Torn(u64),
}

/// What a power cut took.
#[derive(Clone, Debug, Default)]
pub(crate) struct CutReport {
    /// The changes of names that were not durable, and how many of them are left.
    pub(crate) names: (usize, usize),
    /// What each file lost that had anything to lose, by the name that the process knew.
    pub(crate) files: Vec<(PathBuf, Loss)>,
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Image {
    root: PathBuf,
    names: Names,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// There is no power: whatever is asked of the disk fails.
    is_off: AtomicBool,
    /// The bytes that all files take.
    used: AtomicU64,
    /// The syncs there have been, of files and directories, whatever became of them.
    syncs: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The names as the process sees them.
    live: Tree,
    /// The names as the disk has them.
    durable: Tree,
    /// The changes that lead from these to those.
    journal: Vec<Change>,
    files: HashMap<Ino, Arc<Mutex<Content>>>,
    /// How often each file is open.
    opens: HashMap<Ino, u64>,
    next: Ino,
}

impl Image {
    /// The disk in the directory `root`; a new one where there is none. All of it is durable.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub(crate) fn open(root: &Path, names: Names) -> io::Result<Self> {
        let objects = root.join("objects");
        if objects.exists() {
            fs::remove_dir_all(&objects)?;
        }
        fs::create_dir_all(&objects)?;
        fs::create_dir_all(root.join("files"))?;
        let mut state = State {
            live: Tree::new(),
            durable: Tree::new(),
            journal: Vec::new(),
            files: HashMap::new(),
            opens: HashMap::new(),
            next: ROOT + 1,
        };
        let mut used = 0;
        let mut waiting = vec![(ROOT, root.join("files"))];
        while let Some((parent, path)) = waiting.pop() {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let ino = state.take_number();
                let node = if entry.file_type()?.is_dir() {
                    waiting.push((ino, entry.path()));
                    Node::Directory(ino)
                } else {
                    let object = objects.join(ino.to_string());
                    fs::hard_link(entry.path(), &object)?;
                    used += state.add_file(ino, open_object(&object)?)?;
                    Node::File(ino)
                };
                let name = entry.file_name();
                let add = Change::Add { parent, name, node };
                state.live.apply(&add).map_err(io_error)?;
            }
        }
        state.durable = state.live.clone();
        Ok(Self {
            root: root.into(),
            names,
            state: Mutex::new(state),
            faults: Mutex::default(),
            is_off: AtomicBool::new(false),
            used: AtomicU64::new(used),
            syncs: AtomicU64::new(0),
        })
    }

    /// What is wrong with it.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The syncs there have been, of files and directories, whatever became of them.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// The bytes that all files take.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the power away. It is back after [`Image::cut`].
    pub(crate) fn switch_off(&self) {
        // Whoever holds the state may finish what it is about.
        let _state = self.state();
        self.is_off.store(true, Ordering::SeqCst);
    }

    fn check_power(&self) -> Result<(), Errno> {
        if self.is_off.load(Ordering::SeqCst) {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    fn content(&self, ino: Ino) -> Result<Arc<Mutex<Content>>, Errno> {
        self.check_power()?;
        let state = self.state();
        state.files.get(&ino).cloned().ok_or(Errno::ENOENT)
    }

    /// What `name` in `parent` stands for, with its size.
    pub(crate) fn lookup(&self, parent: Ino, name: &OsStr) -> Result<(Node, u64), Errno> {
        let node = self.state().live.get(parent, name)?;
        Ok((node, self.size(node)?))
    }

    /// What `ino` is, with its size.
    pub(crate) fn stat(&self, ino: Ino) -> Result<(Node, u64), Errno> {
        let node = {
            let state = self.state();
            if state.files.contains_key(&ino) {
                Node::File(ino)
            } else {
                state.live.directory(ino)?;
                Node::Directory(ino)
            }
        };
        Ok((node, self.size(node)?))
    }

    fn size(&self, node: Node) -> Result<u64, Errno> {
        match node {
            Node::File(ino) => {
                let content = self.content(ino)?;
                Ok(lock(&content).len())
            }
            Node::Directory(_) => Ok(0),
        }
    }

    /// The names in the directory `ino`.
    pub(crate) fn list(&self, ino: Ino) -> Result<Vec<(std::ffi::OsString, Node)>, Errno> {
        let state = self.state();
        let names = state.live.directory(ino)?.iter();
        Ok(names.map(|(name, node)| (name.clone(), *node)).collect())
    }

    /// Makes an empty file and opens it.
    pub(crate) fn create(&self, parent: Ino, name: &OsStr) -> Result<Node, Errno> {
        let mut state = self.state();
        self.check_power()?;
        state.live.directory(parent)?;
        let ino = state.take_number();
        let object = self.object(ino);
        File::create_new(&object)?;
        state.add_file(ino, open_object(&object)?)?;
        let node = Node::File(ino);
        let name = name.into();
        self.change(&mut state, Change::Add { parent, name, node })?;
        *state.opens.entry(ino).or_default() += 1;
        Ok(node)
    }

    /// Makes an empty directory.
    pub(crate) fn make_directory(&self, parent: Ino, name: &OsStr) -> Result<Node, Errno> {
        let mut state = self.state();
        let node = Node::Directory(state.take_number());
        let name = name.into();
        self.change(&mut state, Change::Add { parent, name, node })?;
        Ok(node)
    }

    /// Removes a name.
    pub(crate) fn remove(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let name = name.into();
        self.change(&mut self.state(), Change::Remove { parent, name })
    }

    /// Gives what has one name another.
    pub(crate) fn rename(&self, from: (Ino, &OsStr), to: (Ino, &OsStr)) -> Result<(), Errno> {
        let (from, to) = ((from.0, from.1.into()), (to.0, to.1.into()));
        self.change(&mut self.state(), Change::Rename { from, to })
    }

    /// Makes a change of the names, in memory and in the host's directory.
    fn change(&self, state: &mut State, change: Change) -> Result<(), Errno> {
        self.check_power()?;
        let path = |tree: &Tree, (parent, name): (Ino, &OsStr)| {
            let parent = if parent == ROOT {
                Some(PathBuf::new())
            } else {
                tree.path(parent)
            };
            let parent = parent.ok_or(Errno::ENOENT)?;
            Ok::<_, Errno>(self.root.join("files").join(parent).join(name))
        };
        let mut live = state.live.clone();
        live.apply(&change)?;
        match &change {
            Change::Add { parent, name, node } => {
                let path = path(&live, (*parent, name))?;
                match node {
                    Node::File(ino) => fs::hard_link(self.object(*ino), path)?,
                    Node::Directory(_) => fs::create_dir(path)?,
                }
            }
            Change::Remove { parent, name } => {
                let path = path(&live, (*parent, name))?;
                match state.live.get(*parent, name)? {
                    Node::File(_) => fs::remove_file(path)?,
                    Node::Directory(_) => fs::remove_dir(path)?,
                }
            }
            Change::Rename { from, to } => {
                let from = path(&state.live, (from.0, &from.1))?;
                fs::rename(from, path(&state.live, (to.0, &to.1))?)?;
            }
        }
        state.live = live;
        state.journal.push(change);
        Ok(())
    }

    /// Notes that a file has been opened.
    pub(crate) fn open_file(&self, ino: Ino) -> Result<(), Errno> {
        let mut state = self.state();
        if !state.files.contains_key(&ino) {
            return Err(Errno::ENOENT);
        }
        *state.opens.entry(ino).or_default() += 1;
        Ok(())
    }

    /// Notes that a file has been closed.
    pub(crate) fn close_file(&self, ino: Ino) {
        if let Some(opens) = self.state().opens.get_mut(&ino) {
            *opens = opens.saturating_sub(1);
        }
    }

    /// Reads as much as there is of `len` bytes from `at` on.
    pub(crate) fn read(&self, ino: Ino, at: u64, len: usize) -> Result<Vec<u8>, Errno> {
        if self.faults().breaks_reads() && self.faults().strike_read(&self.path(ino)) {
            return Err(Errno::EIO);
        }
        let content = self.content(ino)?;
        Ok(lock(&content).read(at, len)?)
    }

    /// Writes `bytes` at `at`; as many as there is room for. Returns how many.
    pub(crate) fn write(&self, ino: Ino, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let capacity = self.faults().capacity;
        let content = self.content(ino)?;
        let mut content = lock(&content);
        let before = content.len();
        let mut len = bytes.len();
        if let Some(capacity) = capacity {
            let end = before.saturating_add(capacity.saturating_sub(self.used()));
            let room = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            len = len.min(room);
            if len == 0 && !bytes.is_empty() {
                self.faults().found_full += 1;
                return Err(Errno::ENOSPC);
            }
        }
        content.write(at, &bytes[..len])?;
        self.used
            .fetch_add(content.len() - before, Ordering::Relaxed);
        Ok(len)
    }

    /// Cuts or extends a file.
    pub(crate) fn resize(&self, ino: Ino, len: u64) -> Result<(), Errno> {
        let capacity = self.faults().capacity;
        let content = self.content(ino)?;
        let mut content = lock(&content);
        let before = content.len();
        let grows = len.saturating_sub(before);
        if capacity.is_some_and(|capacity| self.used().saturating_add(grows) > capacity)
            && grows > 0
        {
            self.faults().found_full += 1;
            return Err(Errno::ENOSPC);
        }
        content.resize(len)?;
        self.used.fetch_add(grows, Ordering::Relaxed);
        self.used
            .fetch_sub(before.saturating_sub(len), Ordering::Relaxed);
        Ok(())
    }

    /// Makes a file, or a directory's names, durable: as far as the disk's faults let it.
    pub(crate) fn sync(&self, ino: Ino) -> Result<(), Errno> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let fault = {
            let path = self.path(ino);
            self.faults().strike_sync(&path)
        };
        let mut state = self.state();
        self.check_power()?;
        let content = state.files.get(&ino).cloned();
        match (fault, content) {
            (Some(SyncFault::Lie), _) => {}
            (Some(SyncFault::Fail), content) => {
                if let Some(content) = content {
                    lock(&content).lose();
                }
                return Err(Errno::EIO);
            }
            (None, Some(content)) => {
                lock(&content).sync();
                if self.names == Names::ByAnySync {
                    self.commit(&mut state);
                }
            }
            (None, None) => self.commit(&mut state),
        }
        Ok(())
    }

    /// Whether a power cut would find nothing to take.
    pub(crate) fn is_synced(&self) -> bool {
        let state = self.state();
        let mut files = state.files.values();
        state.journal.is_empty() && files.all(|content| lock(content).is_synced())
    }

    /// Makes everything durable: the process was stopped, and the machine shut down well.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        for content in state.files.values() {
            lock(content).sync();
        }
        self.commit(&mut state);
    }

    /// Makes the names durable.
    fn commit(&self, state: &mut State) {
        if state.journal.is_empty() {
            return;
        }
        state.journal.clear();
        state.durable = state.live.clone();
        self.collect(state);
    }

    /// Removes the files that have no name any more, neither for the process nor after a power cut.
    fn collect(&self, state: &mut State) {
        let named = state.live.files();
        let State { files, opens, .. } = state;
        files.retain(|ino, content| {
            let keep = named.contains(ino) || opens.get(ino).is_some_and(|opens| *opens > 0);
            if !keep {
                opens.remove(ino);
                self.used.fetch_sub(lock(content).len(), Ordering::Relaxed);
                // It is in nobody's way.
                fs::remove_file(self.object(*ino)).ok();
            }
            keep
        });
    }

    /// The power is cut and comes back. The process must have been killed before, at the latest while
    /// the disk was off.
    ///
    /// # Errors
    /// When the host's disk fails.
    pub(crate) fn cut(&self, how: PowerCut) -> io::Result<CutReport> {
        let mut rng = match how {
            PowerCut::Clean => None,
            PowerCut::Torn(seed) => Some(StdRng::seed_from_u64(seed)),
        };
        let mut state = self.state();
        let journal = std::mem::take(&mut state.journal);
        // A journal is written in order.
        let kept = rng
            .as_mut()
            .map_or(0, |rng| rng.random_range(0..=journal.len()));
        let mut report = CutReport {
            names: (journal.len(), kept),
            files: Vec::new(),
        };
        let mut left = state.durable.clone();
        for change in &journal[..kept] {
            left.apply(change).map_err(io_error)?;
        }
        let mut inos: Vec<Ino> = state.files.keys().copied().collect();
        inos.sort_unstable();
        for ino in inos {
            let mut content = lock(&state.files[&ino]);
            if content.is_synced() {
                continue;
            }
            let before = content.len();
            let loss = content.cut(rng.as_mut())?;
            self.used.fetch_add(content.len(), Ordering::Relaxed);
            self.used.fetch_sub(before, Ordering::Relaxed);
            let path = state.live.path(ino).or_else(|| left.path(ino));
            report.files.push((path.unwrap_or_default(), loss));
        }
        state.live = left.clone();
        state.durable = left;
        state.opens.clear();
        self.rebuild(&state.live)?;
        self.collect(&mut state);
        self.is_off.store(false, Ordering::SeqCst);
        Ok(report)
    }

    /// Gives the files on the host the names of `tree`.
    fn rebuild(&self, tree: &Tree) -> io::Result<()> {
        let files = self.root.join("files");
        fs::remove_dir_all(&files)?;
        fs::create_dir(&files)?;
        for (path, node) in tree.walk() {
            match node {
                Node::File(ino) => fs::hard_link(self.object(ino), files.join(path))?,
                Node::Directory(_) => fs::create_dir(files.join(path))?,
            }
        }
        Ok(())
    }

    /// Where `ino` lies, from the root on; nowhere when it has no name.
    fn path(&self, ino: Ino) -> PathBuf {
        self.state().live.path(ino).unwrap_or_default()
    }

    fn object(&self, ino: Ino) -> PathBuf {
        self.root.join("objects").join(ino.to_string())
    }
}

impl State {
    fn take_number(&mut self) -> Ino {
        self.next += 1;
        self.next - 1
    }

    /// Adds a file; returns its length.
    fn add_file(&mut self, ino: Ino, file: File) -> io::Result<u64> {
        let content = Content::new(file)?;
        let len = content.len();
        self.files.insert(ino, Arc::new(Mutex::new(content)));
        Ok(len)
    }
}

fn open_object(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(error: Errno) -> io::Error {
    io::Error::from_raw_os_error(error.code())
}
