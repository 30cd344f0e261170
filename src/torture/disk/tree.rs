//! The names on a disk: directories, and the changes to them that a journal carries.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use fuser::Errno;

/// The number of a file or directory.
pub(crate) type Ino = u64;

/// The root directory's.
pub(crate) const ROOT: Ino = 1;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(Ino),
    Directory(Ino),
}

impl Node {
    /// Its number.
    pub(crate) fn ino(self) -> Ino {
        match self {
            Self::File(ino) | Self::Directory(ino) => ino,
        }
    }
}

/// One change of the names, as a journal records it: whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A file or an empty directory got a name.
    Add {
        parent: Ino,
        name: OsString,
        node: Node,
    },
    /// A name was removed.
    Remove { parent: Ino, name: OsString },
    /// A name was moved, over another one where there was one.
    Rename {
        from: (Ino, OsString),
        to: (Ino, OsString),
    },
}

/// The names.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    directories: BTreeMap<Ino, BTreeMap<OsString, Node>>,
}

impl Tree {
    /// One with an empty root.
    pub(crate) fn new() -> Self {
        Self {
            directories: BTreeMap::from([(ROOT, BTreeMap::new())]),
        }
    }

    /// What `name` in `parent` stands for.
    pub(crate) fn get(&self, parent: Ino, name: &OsStr) -> Result<Node, Errno> {
        let directory = self.directory(parent)?;
        directory.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The names in `ino`.
    pub(crate) fn directory(&self, ino: Ino) -> Result<&BTreeMap<OsString, Node>, Errno> {
        self.directories.get(&ino).ok_or(Errno::ENOENT)
    }

    fn directory_mut(&mut self, ino: Ino) -> Result<&mut BTreeMap<OsString, Node>, Errno> {
        self.directories.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    /// Makes `change`, if the rules of names allow it.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), Errno> {
        match change {
            Change::Add { parent, name, node } => {
                if self.get(*parent, name).is_ok() {
                    return Err(Errno::EEXIST);
                }
                self.directory_mut(*parent)?.insert(name.clone(), *node);
                if let Node::Directory(ino) = node {
                    self.directories.insert(*ino, BTreeMap::new());
                }
            }
            Change::Remove { parent, name } => {
                let node = self.get(*parent, name)?;
                self.check_empty(node)?;
                self.directory_mut(*parent)?.remove(name);
                self.directories.remove(&node.ino());
            }
            Change::Rename { from, to } => {
                let node = self.get(from.0, &from.1)?;
                match (node, self.get(to.0, &to.1)) {
                    (_, Ok(over)) if over == node => return Ok(()),
                    (Node::File(_), Ok(Node::Directory(_))) => return Err(Errno::EISDIR),
                    (Node::Directory(_), Ok(Node::File(_))) => return Err(Errno::ENOTDIR),
                    (_, Ok(over)) => {
                        self.check_empty(over)?;
                        self.directories.remove(&over.ino());
                    }
                    (_, Err(_)) => {}
                }
                self.directory(to.0)?;
                self.directory_mut(from.0)?.remove(&from.1);
                self.directory_mut(to.0)?.insert(to.1.clone(), node);
            }
        }
        Ok(())
    }

    fn check_empty(&self, node: Node) -> Result<(), Errno> {
        match node {
            Node::Directory(ino) if !self.directory(ino)?.is_empty() => Err(Errno::ENOTEMPTY),
            Node::Directory(_) | Node::File(_) => Ok(()),
        }
    }

    /// Every file and directory below the root with its path: a directory before what is in it.
    pub(crate) fn walk(&self) -> Vec<(PathBuf, Node)> {
        let mut found = Vec::new();
        let mut waiting = vec![(ROOT, PathBuf::new())];
        while let Some((ino, path)) = waiting.pop() {
            for (name, node) in self.directories.get(&ino).into_iter().flatten() {
                let path = path.join(name);
                if let Node::Directory(ino) = node {
                    waiting.push((*ino, path.clone()));
                }
                found.push((path, *node));
            }
        }
        found
    }

    /// The files that have a name.
    pub(crate) fn files(&self) -> BTreeSet<Ino> {
        let nodes = self.directories.values().flat_map(BTreeMap::values);
        nodes
            .filter_map(|node| match node {
                Node::File(ino) => Some(*ino),
                Node::Directory(_) => None,
            })
            .collect()
    }

    /// The path of `ino`, where it has one.
    pub(crate) fn path(&self, ino: Ino) -> Option<PathBuf> {
        let found = self.walk().into_iter().find(|(_, node)| node.ino() == ino);
        found.map(|(path, _)| path)
    }
}
