//! An [`Image`] as a file system of the kernel.
//!
//! The kernel passes every write on at once, so that nothing that a process wrote is anywhere else
//! when it is killed. Locks are the kernel's own.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};

use super::image::Image;
use super::tree::{Ino, Node};

/// Names are looked up anew each time: a power cut changes them behind the kernel's back. What it
/// finds there renews what it knows of the file.
const NAME_LIFE: Duration = Duration::ZERO;
const ATTR_LIFE: Duration = Duration::from_secs(1);

/// What a disk without a limit says it has room for, in blocks.
const PLENTY: u64 = 1 << 28;
const BLOCK: u32 = 4096;

/// The kernel's file system.
pub(crate) struct Fuse {
    image: Arc<Image>,
    /// The directories being read, as they were when they were opened.
    listings: Mutex<HashMap<u64, Vec<(OsString, Node)>>>,
    next_listing: AtomicU64,
    mounted: SystemTime,
    owner: (u32, u32),
}

impl Fuse {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        Self {
            image,
            listings: Mutex::default(),
            next_listing: AtomicU64::new(1),
            mounted: SystemTime::now(),
            owner: (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            ),
        }
    }

    fn listings(&self) -> MutexGuard<'_, HashMap<u64, Vec<(OsString, Node)>>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attr(&self, (node, size): (Node, u64)) -> FileAttr {
        let (kind, perm, nlink) = match node {
            Node::File(_) => (FileType::RegularFile, 0o644, 1),
            Node::Directory(_) => (FileType::Directory, 0o755, 2),
        };
        FileAttr {
            ino: INodeNo(node.ino()),
            size,
            blocks: size.div_ceil(512),
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            crtime: self.mounted,
            kind,
            perm,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    /// Answers once the sync is done. A slow one waits on a thread of its own: the file system goes
    /// on meanwhile.
    fn sync(&self, ino: Ino, reply: ReplyEmpty) {
        let delay = self.image.faults().sync_delay;
        if delay.is_zero() {
            return done(reply, self.image.sync(ino));
        }
        let image = Arc::clone(&self.image);
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            done(reply, image.sync(ino));
        });
    }

    fn entry(&self, reply: ReplyEntry, found: Result<(Node, u64), Errno>) {
        match found {
            Ok(found) => {
                reply.entry_with_ttls(&ATTR_LIFE, &NAME_LIFE, &self.attr(found), Generation(0))
            }
            Err(error) => reply.error(error),
        }
    }
}

fn done(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Fuse {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, self.image.lookup(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.image.stat(ino.0) {
            Ok(found) => reply.attr(&ATTR_LIFE, &self.attr(found)),
            Err(error) => reply.error(error),
        }
    }

    /// Only the size matters here: modes, owners and times are accepted and forgotten.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match size.map_or(Ok(()), |size| self.image.resize(ino.0, size)) {
            Ok(()) => self.getattr(request, ino, fh, reply),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.image.make_directory(parent.0, name);
        self.entry(reply, made.map(|node| (node, 0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.image.remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.image.remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        if flags.contains(RenameFlags::RENAME_NOREPLACE)
            && self.image.lookup(new_parent.0, new_name).is_ok()
        {
            return reply.error(Errno::EEXIST);
        }
        done(
            reply,
            self.image
                .rename((parent.0, name), (new_parent.0, new_name)),
        );
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.image.open_file(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.image.create(parent.0, name) {
            Ok(node) => reply.created(
                &NAME_LIFE,
                &self.attr((node, 0)),
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.image.read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.image.write(ino.0, offset, data) {
            Ok(written) => reply.written(u32::try_from(written).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.image.close_file(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.image.list(ino.0) {
            Ok(names) => {
                let listing = self.next_listing.fetch_add(1, Ordering::Relaxed);
                self.listings().insert(listing, names);
                reply.opened(FileHandle(listing), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listings = self.listings();
        let own = [".", ".."].map(|name| (OsString::from(name), Node::Directory(ino.0)));
        let names = own.iter().chain(listings.get(&fh.0).into_iter().flatten());
        for (index, (name, node)) in (1..).zip(names).skip(usize::try_from(offset).unwrap_or(0)) {
            let kind = match node {
                Node::File(_) => FileType::RegularFile,
                Node::Directory(_) => FileType::Directory,
            };
            if reply.add(INodeNo(node.ino()), index, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings().remove(&fh.0);
        reply.ok();
    }

    /// There are none, and the kernel asks no more.
    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let block = u64::from(BLOCK);
        let used = self.image.used().div_ceil(block);
        let total = match self.image.faults().capacity {
            Some(capacity) => (capacity / block).max(used),
            None => used + PLENTY,
        };
        let free = total - used;
        reply.statfs(total, free, free, PLENTY, PLENTY, BLOCK, 255, BLOCK);
    }
}
