//! Proposals and their answers.

use std::sync::Arc;

use bazaar_rpc::replica::Leadership;
use bazaar_rpc::{ServiceName, Term};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use openraft::errors::ClientWriteError;
use openraft::raft::WriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::ProposeError;
use crate::leadership::own_term;
use crate::types::{Command, Fatal, Raft, Types};

/// The largest command, in bytes. A whole append request must fit into one frame.
pub const MAX_COMMAND: usize = 4 << 20;

/// The most commands that are proposed and not yet answered; further ones wait.
const MAX_UNDER_WAY: u32 = 16_384;

/// Proposes commands to the group.
pub(crate) struct Proposer {
    name: ServiceName,
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    slots: Arc<Semaphore>,
}

/// The answers to proposals, one each, in the order of the proposals.
pub struct Receipts {
    name: ServiceName,
    /// The term in which this replica led when it proposed them.
    term: Term,
    leadership: watch::Receiver<Leadership>,
    answers: BoxStream<'static, Result<WriteResult<Types>, Fatal>>,
    left: usize,
    /// Whether leadership was lost before an answer came. None of the rest has one then, because
    /// entries are decided in order.
    is_lost: bool,
    slots: OwnedSemaphorePermit,
}

impl Proposer {
    pub(crate) fn new(
        name: ServiceName,
        raft: Raft,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        Self {
            name,
            raft,
            leadership,
            slots: Arc::new(Semaphore::new(MAX_UNDER_WAY as usize)),
        }
    }

    /// See [`crate::Group::propose`].
    pub(crate) async fn propose(&self, commands: Vec<Bytes>) -> Result<Receipts, ProposeError> {
        for command in &commands {
            let bytes = command.len();
            assert!(
                bytes <= MAX_COMMAND,
                "a command of {bytes} bytes; {MAX_COMMAND} are allowed"
            );
        }
        let left = commands.len();
        let slots = u32::try_from(left).unwrap_or(u32::MAX).min(MAX_UNDER_WAY);
        // The semaphore is never closed.
        let slots = self.slots.clone().acquire_many_owned(slots).await;
        let slots = slots.map_err(|_closed| ProposeError::Unknown)?;
        let leadership = *self.leadership.borrow();
        let term = own_term(self.name, leadership)?;
        let commands = commands.into_iter().map(Command);
        // It fails only where the core has ended, and then nothing was handed over.
        let answers = self.raft.client_write_many(commands).await;
        let answers = answers.map_err(|_fatal| ProposeError::NotLeader { leader: None })?;
        Ok(Receipts {
            name: self.name,
            term,
            leadership: self.leadership.clone(),
            answers,
            left,
            is_lost: false,
            slots,
        })
    }
}

impl Receipts {
    /// The next answer; none after the last.
    ///
    /// The commands of one call are taken together or not at all: where one of them was refused as
    /// [`ProposeError::NotLeader`], all were.
    pub async fn next(&mut self) -> Option<Result<Bytes, ProposeError>> {
        self.left = self.left.checked_sub(1)?;
        if self.is_lost {
            return Some(Err(ProposeError::Unknown));
        }
        let (name, term) = (self.name, self.term);
        let answer = tokio::select! {
            biased;
            answer = self.answers.next() => answer,
            // An entry of a leader that was deposed may stay undecided for as long as the partition
            // lasts that deposed it.
            _ = self.leadership.wait_for(|now| own_term(name, *now) != Ok(term)) => None,
        };
        self.is_lost = answer.is_none();
        drop(self.slots.split(1));
        Some(match answer {
            Some(Ok(Ok(written))) => Ok(written.response.0),
            Some(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
                let leader = forward.leader_id.map(|id| ServiceName { id, ..name });
                Err(ProposeError::NotLeader { leader })
            }
            Some(Ok(Err(_))) | Some(Err(_)) | None => Err(ProposeError::Unknown),
        })
    }
}
