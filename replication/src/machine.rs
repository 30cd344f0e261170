//! What a service implements to be replicated.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::Mark;

/// A deterministic state machine with its storage.
///
/// An error from any of its methods is an error of the machine it runs on (a full disk, a failed
/// write): the process stops.
///
/// The methods are called one at a time, and may block for short writes; [`StateMachine::install`]
/// may block for as long as it takes. None of them is called again after an error.
pub trait StateMachine: Send + Sync + 'static {
    /// What [`StateMachine::view`] returns.
    type View: View;

    /// The mark stored with the state, or none where the state is fresh.
    fn mark(&self) -> Option<Mark>;

    /// Applies `commands` in order and stores `mark` with their effects, all or nothing. Returns one
    /// answer a command. It need not be durable: the log is replayed from the stored mark.
    ///
    /// There may be no commands, where only the mark has moved. The answers reach whoever proposed
    /// the commands after this has returned, and nobody where this replica does not lead.
    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>>;

    /// The state as it is now, unchanged by what is applied later. Cheap: no copy of the state.
    /// Called to persist the state, and to send it to another replica.
    fn view(&mut self) -> Self::View;

    /// What this replica already has, in the service's own terms: a leader's view leaves it out when
    /// it sends itself here.
    fn position(&self) -> Bytes;

    /// Takes over the state that another replica's view has sent, and stores `mark` with it. May
    /// meet parts that it already has. When a crash interrupts it, the old mark is found again, and
    /// whatever was taken over must do no harm to a replay from there.
    ///
    /// An error of `chunks` is one of this machine, and is to be returned. It need not be durable:
    /// a view is taken and persisted next.
    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()>;
}

/// A state at one mark.
pub trait View: Send + Sync + 'static {
    /// Up to where in the log this is the state.
    fn mark(&self) -> Option<&Mark>;

    /// Makes the state at least as far as this view durable without the log, which is then purged.
    /// Blocks; runs beside the state machine.
    fn persist(&self) -> io::Result<()>;

    /// The state in chunks of at most 1 MiB, for a replica at `position`.
    fn chunks(
        &self,
        position: &[u8],
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>>;
}

/// [`StateMachine`], behind a trait object.
pub(crate) trait Machine: Send + Sync {
    fn mark(&self) -> Option<Mark>;
    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>>;
    fn view(&mut self) -> Arc<dyn View>;
    fn position(&self) -> Bytes;
    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()>;
}

impl<M: StateMachine> Machine for M {
    fn mark(&self) -> Option<Mark> {
        StateMachine::mark(self)
    }

    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>> {
        StateMachine::apply(self, commands, mark)
    }

    fn view(&mut self) -> Arc<dyn View> {
        Arc::new(StateMachine::view(self))
    }

    fn position(&self) -> Bytes {
        StateMachine::position(self)
    }

    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()> {
        StateMachine::install(self, chunks, mark)
    }
}
