//! The state machine that is replicated: the state, what of it is settled, and `catalog.json`.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bazaar_replication::{Mark, StateMachine, View};
use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::{CacheId, Item, ItemKey, ItemNumber, Term};
use bytes::Bytes;

use crate::command::{Applied, Command};
use crate::leases::Ticket;
use crate::settle::Settlement;
use crate::snapshot_file::SnapshotFile;
use crate::state::State;

/// The version of the encoding in which replicas send each other the state, its first byte.
const FORMAT: u8 = 3;

/// The size of the chunks in which the state is sent.
const CHUNK: usize = 1 << 20;

/// What is applied and who may see it, shared between the state machine and the readers.
pub(crate) struct Replica {
    visible: RwLock<Visible>,
    /// Which tickets are settled.
    pub(crate) settlement: Arc<Settlement>,
}

struct Visible {
    state: State,
    /// The ticket of each item's last change in this reign.
    changed: HashMap<ItemNumber, Ticket>,
    /// The ticket of everything else.
    before: Ticket,
}

impl Replica {
    pub(crate) fn new(state: State, settlement: Settlement) -> Self {
        let before = settlement.latest();
        Self {
            visible: RwLock::new(Visible {
                state,
                changed: HashMap::new(),
                before,
            }),
            settlement: Arc::new(settlement),
        }
    }

    /// The state as it is now. A clone costs next to nothing.
    pub(crate) fn state(&self) -> State {
        self.read().state.clone()
    }

    /// The item of `key` as it is now, or that there is none, to be shown once the ticket is
    /// settled. Not if another replica has changed anything after this one led in `term`: who holds
    /// leases of that one, and what is settled, is not known here.
    pub(crate) fn lookup(
        &self,
        term: Term,
        key: &ItemKey,
    ) -> Result<(Option<Item>, Ticket), CatalogError> {
        let visible = self.read_in(term)?;
        let item = visible.state.lookup(key);
        let ticket = match &item {
            Some(item) => {
                let changed = visible.changed.get(&item.number);
                changed.copied().unwrap_or(visible.before)
            }
            // There may have been one a moment ago, which a cache may still show. Which that was is
            // not known: it may have been renamed.
            None => self.settlement.latest(),
        };
        Ok((item, ticket))
    }

    /// What `read` makes of the state as it is now, on the same terms.
    pub(crate) fn view<T>(
        &self,
        term: Term,
        read: impl FnOnce(&State) -> T,
    ) -> Result<(T, Ticket), CatalogError> {
        let (state, ticket) = {
            let visible = self.read_in(term)?;
            (visible.state.clone(), self.settlement.latest())
        };
        Ok((read(&state), ticket))
    }

    /// This replica leads in `term`: see [`crate::leases::Leases::begin`]. Every earlier reign's
    /// commands are applied, and so is the first of this one.
    pub(crate) fn begin(&self, term: Term, serial: u64, caches: Option<BTreeSet<CacheId>>) {
        let mut visible = self.write();
        visible.before = self.settlement.begin(term, serial, caches);
        visible.changed.clear();
    }

    /// Applies `commands`. What changes is unsettled before anybody can see it.
    fn apply(&self, commands: Vec<Command>) -> Vec<Applied> {
        let mut touched = Vec::new();
        let mut visible = self.write();
        let apply = |command| visible.state.apply(command, &mut touched);
        let answers: Vec<_> = commands.into_iter().map(apply).collect();
        let numbers: Vec<_> = touched.iter().map(|item| item.number).collect();
        let ticket = self.settlement.touch(touched);
        visible
            .changed
            .extend(numbers.into_iter().map(|number| (number, ticket)));
        drop(visible);
        answers
            .into_iter()
            .map(|answer| Applied { ticket, answer })
            .collect()
    }

    fn replace(&self, state: State) {
        self.write().state = state;
    }

    fn read_in(&self, term: Term) -> Result<RwLockReadGuard<'_, Visible>, CatalogError> {
        let visible = self.read();
        if visible.state.reign() != term {
            Err(CatalogError::NotLeader { leader: None })
        } else if !visible.state.is_vouched_for() {
            Err(CatalogError::Starting)
        } else {
            Ok(visible)
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Visible> {
        self.visible
            .read()
            .expect("a panic while applying stops the process")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Visible> {
        self.visible
            .write()
            .expect("a panic while applying stops the process")
    }
}

/// The catalog, replicated. Its state is in memory and, as of the last persisted view, in
/// `catalog.json`.
pub(crate) struct Machine {
    replica: Arc<Replica>,
    file: Arc<SnapshotFile>,
    mark: Option<Mark>,
    /// Rises with every change of the state, so that an older view never overwrites a newer file.
    generation: u64,
}

impl Machine {
    /// The machine that goes on from `mark`, up to which `replica` has been restored from `file`.
    pub(crate) fn new(replica: Arc<Replica>, file: SnapshotFile, mark: Option<Mark>) -> Self {
        Self {
            replica,
            file: Arc::new(file),
            mark,
            generation: 0,
        }
    }
}

impl StateMachine for Machine {
    type View = CatalogView;

    fn mark(&self) -> Option<Mark> {
        self.mark.clone()
    }

    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>> {
        let decode = |bytes: &Bytes| Command::decode(bytes);
        let commands = commands.iter().map(decode).collect::<io::Result<_>>()?;
        let answers = self.replica.apply(commands);
        self.mark = Some(mark);
        self.generation += 1;
        Ok(answers.iter().map(Applied::encode).collect())
    }

    fn view(&mut self) -> CatalogView {
        CatalogView {
            state: self.replica.state(),
            file: self.file.clone(),
            mark: self.mark.clone(),
            generation: self.generation,
        }
    }

    fn position(&self) -> Bytes {
        // A state is sent as a whole: it is small, for it holds no history.
        Bytes::new()
    }

    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend_from_slice(&chunk?);
        }
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        let state: State = match bytes.split_first() {
            Some((&FORMAT, state)) => postcard::from_bytes(state)
                .map_err(|error| invalid(format!("a state was sent that is none: {error}")))?,
            other => {
                let format = other.map(|(format, _)| format);
                return Err(invalid(format!("a state was sent in format {format:?}")));
            }
        };
        self.generation += 1;
        // The log before the mark is not there to be replayed, so the state is durable first.
        self.file.write(&state, &mark, self.generation)?;
        self.replica.replace(state);
        self.mark = Some(mark);
        Ok(())
    }
}

/// The catalog at one mark.
pub(crate) struct CatalogView {
    state: State,
    file: Arc<SnapshotFile>,
    mark: Option<Mark>,
    generation: u64,
}

impl View for CatalogView {
    fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    fn persist(&self) -> io::Result<()> {
        match &self.mark {
            Some(mark) => self.file.write(&self.state, mark, self.generation),
            None => Ok(()),
        }
    }

    fn chunks(
        &self,
        _position: &[u8],
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let bytes = postcard::to_extend(&self.state, vec![FORMAT]).map_err(io::Error::other)?;
        let mut rest = Bytes::from(bytes);
        Ok(Box::new(std::iter::from_fn(move || {
            let size = rest.len().min(CHUNK);
            (size > 0).then(|| Ok(rest.split_to(size)))
        })))
    }
}

#[cfg(test)]
mod tests;
