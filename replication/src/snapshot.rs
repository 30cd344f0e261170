//! The transfer of a state from a leader to a replica that lacks the purged part of the log.
//!
//! The receiver says what it has already ([`crate::StateMachine::position`]), the sender streams the
//! rest ([`crate::View::chunks`]), and the receiver keeps it in a file aside until all of it is
//! there. The file is worth nothing after a crash, so it is not synced; each chunk has a checksum,
//! because it may lie there for a while.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bazaar_machine::disk::{self, File};
use bazaar_machine::task::spawn_blocking;
use bazaar_rpc::connect::call;
use bytes::Bytes;
use openraft::StorageError;
use openraft::errors::{ErrorSource as _, StreamingError, Unreachable};
use openraft::type_config::alias::ErrorSourceOf;
use uuid::Uuid;

use crate::View;
use crate::peer::{PeerClient, PeerError};
use crate::types::{Snapshot, SnapshotResponse, Types, Vote};

/// The largest chunk, in bytes.
pub(crate) const MAX_CHUNK: usize = 1 << 20;

/// How long the receiver may take to say what it has, or to store a chunk.
const CHUNK_DEADLINE: Duration = Duration::from_secs(5);

/// How long the receiver may take to install what it was sent.
const INSTALL_DEADLINE: Duration = Duration::from_secs(120);

/// The chunks of a state, in order.
pub(crate) type Chunks = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// A state that is to be sent, or that has been received.
pub(crate) enum Transfer {
    /// To be sent.
    View(Arc<dyn View>),
    /// Received.
    Staged(Staged),
}

impl Transfer {
    /// The state's chunks, for a replica at `position`.
    pub(crate) fn chunks(self, position: &[u8]) -> io::Result<Chunks> {
        match self {
            Self::View(view) => view.chunks(position),
            Self::Staged(staged) => Ok(Box::new(staged.read()?)),
        }
    }
}

/// Chunks that are being received. The file goes when this does.
pub(crate) struct Staging {
    /// Which transfer this is: a sender that starts again gets another one.
    transfer: Uuid,
    chunks: u64,
    file: BufWriter<File>,
    path: Removed,
}

/// All the chunks of a state, received.
pub(crate) struct Staged {
    chunks: u64,
    path: Removed,
}

/// A file that is removed when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Where that fails, the next transfer overwrites the file.
        drop(disk::remove_file(&self.0));
    }
}

impl Staging {
    /// Begins to receive `transfer` in `dir`.
    pub(crate) fn begin(dir: &Path, transfer: Uuid) -> io::Result<Self> {
        // Two transfers may overlap when one sender takes over from another.
        let path = dir.join(format!("snapshot-{transfer}.part"));
        let file = BufWriter::new(File::create(&path)?);
        Ok(Self {
            transfer,
            chunks: 0,
            file,
            path: Removed(path),
        })
    }

    /// Takes chunk `number` of `transfer`.
    pub(crate) fn push(&mut self, transfer: Uuid, number: u64, chunk: &[u8]) -> io::Result<()> {
        if (transfer, number) != (self.transfer, self.chunks) {
            return Err(io::Error::other("not the chunk that is due"));
        }
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(chunk).to_le_bytes())?;
        self.file.write_all(chunk)?;
        self.chunks += 1;
        Ok(())
    }

    /// Ends `transfer`, of which there should be so many chunks.
    pub(crate) fn end(mut self, transfer: Uuid, chunks: u64) -> io::Result<Staged> {
        if (transfer, chunks) != (self.transfer, self.chunks) {
            return Err(io::Error::other("not all chunks have arrived"));
        }
        self.file.flush()?;
        Ok(Staged {
            chunks,
            path: self.path,
        })
    }
}

impl Staged {
    fn read(self) -> io::Result<impl Iterator<Item = io::Result<Bytes>> + Send> {
        let mut file = BufReader::new(File::open(&self.path.0)?);
        Ok((0..self.chunks).map(move |_| {
            let _kept_until_read = &self.path;
            let (mut length, mut check) = ([0; 4], [0; 4]);
            file.read_exact(&mut length)?;
            file.read_exact(&mut check)?;
            let mut chunk = vec![0; (u32::from_le_bytes(length) as usize).min(MAX_CHUNK)];
            file.read_exact(&mut chunk)?;
            if crc32fast::hash(&chunk) != u32::from_le_bytes(check) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a damaged chunk",
                ));
            }
            Ok(Bytes::from(chunk))
        }))
    }
}

/// Removes what transfers have left in `dir` when the process ended.
pub(crate) fn clean(dir: &Path) -> io::Result<()> {
    for entry in disk::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            disk::remove_file(path)?;
        }
    }
    Ok(())
}

/// Sends `snapshot` to the replica `to` over `client`; returns what it said after installing it.
pub(crate) async fn send(
    client: &PeerClient,
    to: Uuid,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse, StreamingError<Types>> {
    let transfer = Uuid::new_v4();
    let position = answered(
        call(CHUNK_DEADLINE, |context| {
            client.snapshot_begin(context, to, transfer)
        })
        .await,
    )?;
    let mut chunks = local(spawn_blocking(move || snapshot.snapshot.chunks(&position)).await)?;
    let mut sent = 0;
    loop {
        let pull = spawn_blocking(move || {
            let chunk = chunks.next().transpose()?;
            io::Result::Ok((chunk, chunks))
        });
        let (chunk, rest) = local(pull.await)?;
        let Some(chunk) = chunk else { break };
        if chunk.len() > MAX_CHUNK {
            return local(Ok(Err(io::Error::other(
                "a view's chunk is larger than 1 MiB",
            ))));
        }
        let answer = call(CHUNK_DEADLINE, |context| {
            client.snapshot_chunk(context, to, transfer, sent, chunk)
        });
        answered(answer.await)?;
        sent += 1;
        chunks = rest;
    }
    let answer = call(INSTALL_DEADLINE, |context| {
        client.snapshot_end(context, to, transfer, sent, vote, snapshot.meta)
    });
    answered(answer.await)
}

/// An error of this machine, which ends this process.
fn local<T>(
    outcome: Result<io::Result<T>, tokio::task::JoinError>,
) -> Result<T, StreamingError<Types>> {
    outcome
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| {
            let source = ErrorSourceOf::<Types>::from_error(&error);
            StreamingError::StorageError(StorageError::read_snapshot(None, source))
        })
}

/// An error of the other replica or of the way to it, after which another attempt is made.
fn answered<T>(
    outcome: Result<Result<T, PeerError>, tarpc::client::RpcError>,
) -> Result<T, StreamingError<Types>> {
    let unreachable =
        |reason: String| StreamingError::Unreachable(Unreachable::from_string(reason));
    match outcome {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn received(dir: &Path, chunks: &[&'static [u8]]) -> Staged {
        let transfer = Uuid::new_v4();
        let mut staging = Staging::begin(dir, transfer).unwrap();
        for (number, chunk) in (0..).zip(chunks) {
            staging.push(transfer, number, chunk).unwrap();
        }
        staging.end(transfer, chunks.len() as u64).unwrap()
    }

    #[test]
    fn chunks_come_out_as_they_went_in_and_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let staged = received(dir.path(), &[b"one", b"", b"three"]);
        let chunks: Vec<_> = staged.read().unwrap().map(Result::unwrap).collect();
        assert_eq!(chunks, [&b"one"[..], b"", b"three"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_chunk_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let staged = received(dir.path(), &[b"one", b"two"]);
        let mut bytes = fs::read(&staged.path.0).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&staged.path.0, bytes).unwrap();
        let chunks: Vec<_> = staged.read().unwrap().collect();
        assert!(chunks[0].is_ok());
        assert!(chunks[1].is_err());
    }

    #[test]
    fn chunks_of_another_transfer_and_gaps_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let transfer = Uuid::new_v4();
        let mut staging = Staging::begin(dir.path(), transfer).unwrap();
        assert!(staging.push(Uuid::new_v4(), 0, b"x").is_err());
        assert!(staging.push(transfer, 1, b"x").is_err());
        staging.push(transfer, 0, b"x").unwrap();
        assert!(staging.end(transfer, 2).is_err());
    }

    #[test]
    fn leftovers_are_cleaned_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("snapshot-1.part"), b"x").unwrap();
        fs::write(dir.path().join(crate::identity::FILE), b"x").unwrap();
        clean(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
