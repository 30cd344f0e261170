//! The order log as a replicated state machine: the pure state, and the store that keeps it.

use std::io;

use bazaar_replication::{Mark, StateMachine, View};
use bazaar_rpc::OrderNumber;
use bytes::Bytes;

use crate::command::Command;
use crate::error::StoreError;
use crate::format;
use crate::state::Outcome;
use crate::store::{Checkpoint, Store};

/// One replica's order log.
pub(crate) struct Machine {
    store: Store,
    checkpoint: Checkpoint,
}

/// The order log up to one point. Orders never change, so this is a pair of positions and nothing
/// is copied or held back, however much is recorded meanwhile.
pub(crate) struct Recorded {
    store: Store,
    checkpoint: Checkpoint,
}

impl Machine {
    /// The log that `store` holds, which is at `checkpoint`.
    pub(crate) fn new(store: Store, checkpoint: Checkpoint) -> Self {
        Self { store, checkpoint }
    }

    /// Applies `commands` and stores `mark` with their effects.
    fn advance<'a>(
        &mut self,
        commands: impl IntoIterator<Item = Command<'a>>,
        mark: Option<Mark>,
    ) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let mut head = self.checkpoint.head;
        let mut orders = Vec::new();
        let mut outcomes: Vec<_> = commands
            .into_iter()
            .map(|command| head.apply(command, &mut orders))
            .collect();
        let contradictions = self.store.contradictions(&orders)?;
        for outcome in outcomes.iter_mut().flatten() {
            if let Outcome::Recorded(number) = *outcome
                && contradictions.contains(&number)
            {
                *outcome = Outcome::Contradiction(number);
            }
        }
        let checkpoint = Checkpoint { head, mark };
        self.store.append(&orders, &checkpoint)?;
        self.checkpoint = checkpoint;
        Ok(outcomes)
    }
}

impl StateMachine for Machine {
    type View = Recorded;

    fn mark(&self) -> Option<Mark> {
        self.checkpoint.mark.clone()
    }

    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>> {
        let commands: Vec<_> = commands
            .iter()
            .map(|record| Command::decode(record))
            .collect::<Result<_, _>>()?;
        let outcomes = self.advance(commands, Some(mark))?;
        Ok(outcomes
            .iter()
            .map(|outcomes| format::encode(outcomes).into())
            .collect())
    }

    fn view(&mut self) -> Recorded {
        Recorded {
            store: self.store.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    fn position(&self) -> Bytes {
        format::encode(&self.checkpoint.head.next_number).into()
    }

    /// A chunk is a command like any other, so a part that is here already is skipped, and a crash
    /// leaves a log that is ahead of its mark: what is replayed from there is already recorded.
    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()> {
        for chunk in chunks {
            let chunk = chunk?;
            let old_mark = self.mark();
            let outcomes = self.advance([Command::decode(&chunk)?], old_mark)?;
            if outcomes
                .iter()
                .flatten()
                .any(|outcome| *outcome == Outcome::Gap)
            {
                let reason = "the orders received do not follow the ones here";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        self.advance([], Some(mark))?;
        Ok(())
    }
}

impl View for Recorded {
    fn mark(&self) -> Option<&Mark> {
        self.checkpoint.mark.as_ref()
    }

    fn persist(&self) -> io::Result<()> {
        Ok(self.store.persist()?)
    }

    fn chunks(
        &self,
        position: &[u8],
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let mut next: OrderNumber = format::decode(position)?;
        let end = self.checkpoint.head.next_number;
        let store = self.store.clone();
        Ok(Box::new(std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            match store.part(next, end) {
                Ok(trades) => {
                    next.0 += trades.len() as u64;
                    Some(Ok(Command::Record(trades.into()).encode()))
                }
                Err(error) => {
                    next = end;
                    Some(Err(error.into()))
                }
            }
        })))
    }
}

#[cfg(test)]
mod tests;
