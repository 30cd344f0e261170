//! Operations: an invocation with what came of it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bazaar_rpc::{ItemName, RequestId};

use crate::{Answer, Call, ClientEvent, Error, Event, Problem, Reason, ShownOrder};

/// Where an operation's invocation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok {
        /// When that was known.
        at: u64,
        /// The frontend that answered.
        frontend: Arc<str>,
        /// What it said.
        answer: Answer,
    },
    /// It was not done, and never will be.
    Refused {
        /// When that was known.
        at: u64,
        /// The frontend that answered; none where nobody was reached.
        frontend: Option<Arc<str>>,
        /// Why not.
        reason: Reason,
    },
    /// It may have been done at any time since, or may still be. Never completed, it is this too.
    Unknown {
        /// When that was given up; none where whoever invoked it did not live to say.
        at: Option<u64>,
        /// Why that is not known.
        reason: Arc<str>,
    },
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Where its invocation stands.
    pub place: Place,
    /// The session that invoked it.
    pub process: u64,
    /// The frontend that was asked first.
    pub frontend: Arc<str>,
    /// What it asked for.
    pub call: Call,
    /// When it began.
    pub invoked: u64,
    /// What came of it.
    pub outcome: Outcome,
}

impl Operation {
    /// When its outcome was known; none where it is not.
    #[must_use]
    pub fn completed(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Ok { at, .. } | Outcome::Refused { at, .. } => Some(at),
            Outcome::Unknown { .. } => None,
        }
    }

    /// The answer, where it was done.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Ok { answer, .. } => Some(answer),
            Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
        }
    }

    /// The id under which a trade or an amendment is recorded; none of another operation.
    #[must_use]
    pub fn request(&self) -> Option<RequestId> {
        match &self.call {
            Call::Trade { key, user, .. } => Some(RequestId::from_key(*user, key)),
            Call::Amend { key, user, .. } => Some(RequestId::from_key(Some(*user), key)),
            Call::Lookup { .. } | Call::Restock { .. } | Call::Query { .. } => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, process, frontend) = (&self.place, self.process, &self.frontend);
        write!(f, "{place}: process {process} asked {frontend} at ")?;
        write!(f, "{} to {}", Seconds(self.invoked), Spoken(&self.call))?;
        match &self.outcome {
            Outcome::Ok {
                at,
                frontend,
                answer,
            } => {
                write!(f, ", and was told by {frontend} at {}: ", Seconds(*at))?;
                write_answer(f, answer)
            }
            Outcome::Refused { at, reason, .. } => {
                write!(f, ", and was refused at {}: ", Seconds(*at))?;
                match reason {
                    Reason::NotEnoughStock { available: None } => f.write_str("not enough stock"),
                    Reason::NotEnoughStock {
                        available: Some(units),
                    } => write!(f, "not enough stock, {units} available"),
                    Reason::NotFound => f.write_str("not found"),
                    Reason::Unchangeable => f.write_str("not to be changed any more"),
                    Reason::Other(reason) => f.write_str(reason),
                }
            }
            Outcome::Unknown { reason, .. } => {
                write!(f, ", and does not know the outcome: {reason}")
            }
        }
    }
}

fn write_answer(f: &mut fmt::Formatter<'_>, answer: &Answer) -> fmt::Result {
    let version = match answer {
        Answer::Stock { quantity, version } => {
            write!(f, "{quantity} in stock")?;
            version
        }
        Answer::Traded {
            number, version, ..
        } => {
            write!(f, "order {number}")?;
            version
        }
        Answer::Order(order) => {
            write!(f, "{order}")?;
            &order.version
        }
        Answer::Amended {
            number,
            version,
            order,
            ..
        } => {
            write!(f, "{order}, by {number}")?;
            version
        }
        Answer::Restocked {
            item,
            quantity,
            version,
        } => {
            return write!(f, "{quantity} of {item} in stock, version {version}");
        }
    };
    match version {
        Some(version) => write!(f, ", version {version}"),
        None => Ok(()),
    }
}

impl fmt::Display for ShownOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, quantity, item) = (self.side.as_str(), self.quantity, &self.item);
        write!(f, "{side} {quantity} of {item}")?;
        match self.changes {
            0 => Ok(()),
            changes => write!(f, " after {changes} changes"),
        }
    }
}

/// A call in words.
struct Spoken<'a>(&'a Call);

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Call::Lookup { item } => write!(f, "look {item} up"),
            Call::Query { number } => write!(f, "show order {number}"),
            Call::Trade {
                item,
                side,
                quantity,
                key,
                user,
            } => {
                write!(f, "{} {quantity} of {item} under key {key}", side.as_str())?;
                user.map_or(Ok(()), |user| write!(f, " for user {user}"))
            }
            Call::Amend {
                order,
                to,
                key,
                user,
            } => write!(
                f,
                "make order {order} one of {to} under key {key} for user {user}"
            ),
            Call::Restock {
                item,
                units,
                key,
                user,
            } => write!(
                f,
                "restock {units} of item {item} under key {key} for user {user}"
            ),
        }
    }
}

/// A time in seconds.
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        write!(f, "{whole}.{rest:09} s")
    }
}

/// Makes operations of one client's events, and checks that they are those of sequential sessions.
///
/// It keeps some 250 bytes an operation, the texts of items and frontends once.
#[derive(Debug)]
pub struct Operations {
    file: Arc<Path>,
    made: Vec<Operation>,
    /// The operations under way, by process, and their places in `made`.
    open: HashMap<(u64, u64), usize>,
    /// Of each process: its last operation, and its last time.
    last: HashMap<u64, (Option<u64>, u64)>,
    texts: HashSet<Arc<str>>,
    items: HashSet<ItemName>,
    pending: Arc<str>,
}

impl Operations {
    /// Of the client whose history is in `file`, or which that names.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into().into(),
            made: Vec::new(),
            open: HashMap::new(),
            last: HashMap::new(),
            texts: HashSet::new(),
            items: HashSet::new(),
            pending: "it was never completed".into(),
        }
    }

    /// Adds what stands in `line`.
    ///
    /// # Errors
    /// When it does not follow from what was added before.
    pub fn add(&mut self, line: u64, event: ClientEvent) -> Result<(), Error> {
        self.try_add(line, event).map_err(|problem| Error {
            file: self.file.to_path_buf(),
            line: Some(line),
            problem,
        })
    }

    fn try_add(&mut self, line: u64, event: ClientEvent) -> Result<(), Problem> {
        let ClientEvent {
            at,
            process,
            op,
            event,
        } = event;
        let (last, before) = self.last.entry(process).or_insert((None, at));
        if at < *before {
            return Err(Problem::TimeWentBack {
                who: format!("process {process}"),
                at,
                before: *before,
            });
        }
        *before = at;
        let outcome = match event {
            Event::Invoke { frontend, call } => {
                if let Some(last) = last.filter(|last| *last >= op) {
                    return Err(Problem::OutOfOrder { process, op, last });
                }
                *last = Some(op);
                self.invoke(line, (process, op), at, &frontend, call);
                return Ok(());
            }
            Event::Ok { frontend, answer } => Outcome::Ok {
                at,
                frontend: self.text(&frontend),
                answer,
            },
            Event::Refused { frontend, reason } => Outcome::Refused {
                at,
                frontend: frontend.map(|frontend| self.text(&frontend)),
                reason,
            },
            Event::Unknown { reason } => Outcome::Unknown {
                at: Some(at),
                reason: self.text(&reason),
            },
        };
        let Some(operation) = self.open.remove(&(process, op)) else {
            return Err(Problem::NotInvoked { process, op });
        };
        let operation = &mut self.made[operation];
        operation.outcome = outcome;
        if answers(operation) {
            Ok(())
        } else {
            Err(Problem::WrongAnswer { process, op })
        }
    }

    fn invoke(&mut self, line: u64, id: (u64, u64), at: u64, frontend: &str, mut call: Call) {
        if let Call::Lookup { item } | Call::Trade { item, .. } = &mut call {
            match self.items.get(item) {
                Some(known) => *item = known.clone(),
                None => {
                    self.items.insert(item.clone());
                }
            }
        }
        self.open.insert(id, self.made.len());
        let operation = Operation {
            place: Place {
                file: Arc::clone(&self.file),
                line,
            },
            process: id.0,
            frontend: self.text(frontend),
            call,
            invoked: at,
            outcome: Outcome::Unknown {
                at: None,
                reason: Arc::clone(&self.pending),
            },
        };
        self.made.push(operation);
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        match self.texts.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let text: Arc<str> = text.into();
                self.texts.insert(Arc::clone(&text));
                text
            }
        }
    }

    /// The operations, in the order of their invocations' lines. Those under way are of unknown
    /// outcome.
    #[must_use]
    pub fn finish(self) -> Vec<Operation> {
        self.made
    }
}

/// Whether the answer is one to the question.
fn answers(operation: &Operation) -> bool {
    match (&operation.call, operation.answer()) {
        (Call::Lookup { .. }, Some(Answer::Stock { .. }))
        | (Call::Trade { .. }, Some(Answer::Traded { .. }))
        | (Call::Query { .. }, Some(Answer::Order(_)))
        | (Call::Amend { .. }, Some(Answer::Amended { .. }))
        | (Call::Restock { .. }, Some(Answer::Restocked { .. }))
        | (_, None) => true,
        (_, Some(_)) => false,
    }
}
