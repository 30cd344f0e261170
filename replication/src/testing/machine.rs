//! A state machine that keeps the commands it was given, and answers each with its number.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Mark, StateMachine, View};

/// How many commands travel in one chunk.
const CHUNK: usize = 100;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) commands: Vec<Bytes>,
    pub(crate) mark: Option<Mark>,
}

/// The state machine; its state can be looked at from outside.
pub(crate) struct Keeper {
    file: PathBuf,
    pub(crate) state: Arc<Mutex<State>>,
    /// Fails on the next command.
    pub(crate) is_broken: bool,
}

impl Keeper {
    pub(crate) fn open(dir: &Path) -> Self {
        let file = dir.join("state");
        let state = fs::read(&file).map(|bytes| postcard::from_bytes(&bytes).unwrap());
        Self {
            file,
            state: Arc::new(Mutex::new(state.unwrap_or_default())),
            is_broken: false,
        }
    }
}

pub(crate) struct Kept {
    file: PathBuf,
    state: State,
}

/// The number that a command is answered with.
pub(crate) fn number(answer: &[u8]) -> u64 {
    u64::from_le_bytes(answer.try_into().unwrap())
}

impl StateMachine for Keeper {
    type View = Kept;

    fn mark(&self) -> Option<Mark> {
        self.state.lock().unwrap().mark.clone()
    }

    fn apply(&mut self, commands: Vec<Bytes>, mark: Mark) -> io::Result<Vec<Bytes>> {
        if self.is_broken && !commands.is_empty() {
            return Err(io::Error::other("broken on purpose"));
        }
        let mut state = self.state.lock().unwrap();
        let first = state.commands.len();
        let numbers = first..first + commands.len();
        state.commands.extend(commands);
        state.mark = Some(mark);
        Ok(numbers
            .map(|number| Bytes::copy_from_slice(&(number as u64).to_le_bytes()))
            .collect())
    }

    fn view(&mut self) -> Kept {
        Kept {
            file: self.file.clone(),
            state: self.state.lock().unwrap().clone(),
        }
    }

    fn position(&self) -> Bytes {
        let have = self.state.lock().unwrap().commands.len() as u64;
        Bytes::copy_from_slice(&have.to_le_bytes())
    }

    fn install(
        &mut self,
        chunks: &mut dyn Iterator<Item = io::Result<Bytes>>,
        mark: Mark,
    ) -> io::Result<()> {
        let mut commands = self.state.lock().unwrap().commands.clone();
        for chunk in chunks {
            let (at, more): (usize, Vec<Bytes>) =
                postcard::from_bytes(&chunk?).map_err(io::Error::other)?;
            commands.truncate(at);
            assert_eq!(commands.len(), at, "a chunk is missing");
            commands.extend(more);
        }
        *self.state.lock().unwrap() = State {
            commands,
            mark: Some(mark),
        };
        Ok(())
    }
}

impl View for Kept {
    fn mark(&self) -> Option<&Mark> {
        self.state.mark.as_ref()
    }

    fn persist(&self) -> io::Result<()> {
        let aside = self.file.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(&postcard::to_stdvec(&self.state).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(aside, &self.file)
    }

    fn chunks(
        &self,
        position: &[u8],
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Bytes>> + Send>> {
        let have = usize::try_from(number(position)).map_err(io::Error::other)?;
        let commands = self.state.commands.clone();
        let starts = (have.min(commands.len())..commands.len()).step_by(CHUNK);
        Ok(Box::new(starts.map(move |at| {
            let end = commands.len().min(at + CHUNK);
            let chunk = postcard::to_stdvec(&(at, &commands[at..end]));
            chunk.map(Bytes::from).map_err(io::Error::other)
        })))
    }
}
