//! What was done to the cluster, and when: for the checkers as a history of faults, for the report as
//! records.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bazaar_history::{FaultChange, FaultEvent, Origin, Writer, clock};
use serde::Serialize;

use crate::torture::fault::Fault;
use crate::torture::schedule::Planned;

/// What became of a planned fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "why")]
pub(crate) enum Outcome {
    /// It was injected, and is over.
    Injected,
    /// There was nothing to inject it into, or it met nobody.
    Missed(String),
    /// The machine does not permit it.
    Skipped(String),
}

/// A planned fault, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// Which one.
    pub(crate) fault: Fault,
    /// When it began, in nanoseconds of the histories' clock; none where it did not.
    pub(crate) began: Option<u64>,
    /// When it was over.
    pub(crate) ended: Option<u64>,
    /// What was done, to whom, and what was seen of it.
    pub(crate) notes: Vec<String>,
    /// How many of what it met: a fault that has met nobody proves nothing.
    pub(crate) met: BTreeMap<&'static str, u64>,
    /// What became of it.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// Writes down faults while they are injected.
pub(crate) struct Journal {
    began: u64,
    pages: Mutex<Pages>,
}

struct Pages {
    writer: Writer<FaultEvent>,
    open: BTreeMap<u64, Record>,
    closed: Vec<Record>,
    next: u64,
}

impl Journal {
    /// Begins one, with its history in a new file at `path`.
    pub(crate) fn create(path: &Path, cluster: String) -> anyhow::Result<Self> {
        let origin = Origin {
            source: "torture".into(),
            cluster: Some(cluster),
            clock: Some(clock::name()?),
        };
        let pages = Pages {
            writer: Writer::create(path, &origin)?,
            open: BTreeMap::new(),
            closed: Vec::new(),
            next: 0,
        };
        Ok(Self {
            began: clock::now(),
            pages: Mutex::new(pages),
        })
    }

    /// When it began, in nanoseconds of the histories' clock.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Tells whoever watches what happens.
    pub(crate) fn say(&self, what: impl Display) {
        let elapsed = Duration::from_nanos(clock::now().saturating_sub(self.began));
        eprintln!("{:7.1}s  {what}", elapsed.as_secs_f64());
    }

    /// Writes down that a fault is about to begin; returns what it is known by from now on.
    pub(crate) fn begin(&self, planned: &Planned, what: String) -> anyhow::Result<u64> {
        let mut pages = self.pages();
        self.say(format_args!("{}: {what}", planned.fault));
        let at = clock::now();
        let id = pages.next;
        pages.next += 1;
        pages.writer.write(&FaultEvent {
            at,
            fault: id,
            event: FaultChange::Begin { what: what.clone() },
        })?;
        let record = Record {
            fault: planned.fault,
            began: Some(at),
            ended: None,
            notes: vec![what],
            met: BTreeMap::new(),
            outcome: Outcome::Missed("it was cut short".into()),
        };
        pages.open.insert(id, record);
        Ok(id)
    }

    /// Adds what is seen of a fault.
    pub(crate) fn note(&self, id: u64, note: String) {
        if let Some(record) = self.pages().open.get_mut(&id) {
            self.say(format_args!("{}: {note}", record.fault));
            record.notes.push(note);
        }
    }

    /// Adds whom a fault has met: `count` of `what`.
    pub(crate) fn meet(&self, id: u64, what: &'static str, count: u64) {
        if let Some(record) = self.pages().open.get_mut(&id).filter(|_| count > 0) {
            self.say(format_args!("{}: met {count} {what}", record.fault));
            *record.met.entry(what).or_default() += count;
        }
    }

    /// Writes down that a fault is over. One that has met nobody was not injected.
    pub(crate) fn end(&self, id: u64, outcome: Outcome) -> anyhow::Result<()> {
        let mut pages = self.pages();
        let Some(mut record) = pages.open.remove(&id) else {
            return Ok(());
        };
        let at = clock::now();
        pages.writer.write(&FaultEvent {
            at,
            fault: id,
            event: FaultChange::End {},
        })?;
        record.ended = Some(at);
        record.outcome = match outcome {
            Outcome::Injected if record.met.is_empty() => Outcome::Missed("it met nobody".into()),
            outcome => outcome,
        };
        if let Outcome::Missed(why) = &record.outcome {
            self.say(format_args!("{}: does not count: {why}", record.fault));
        }
        pages.closed.push(record);
        Ok(())
    }

    /// Writes down that a fault did not begin.
    pub(crate) fn pass(&self, planned: &Planned, outcome: Outcome) {
        if let Outcome::Missed(why) | Outcome::Skipped(why) = &outcome {
            self.say(format_args!("{}: not injected: {why}", planned.fault));
        }
        self.pages().closed.push(Record {
            fault: planned.fault,
            began: None,
            ended: None,
            notes: Vec::new(),
            met: BTreeMap::new(),
            outcome,
        });
    }

    /// Ends it; returns the records in the order in which the faults ended.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<Record>> {
        let pages = self.pages.into_inner();
        let Pages {
            writer,
            open,
            mut closed,
            ..
        } = pages.unwrap_or_else(PoisonError::into_inner);
        writer.finish()?;
        closed.extend(open.into_values());
        Ok(closed)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an injected fault that meets `count` packets.
    fn outcome_of_meeting(count: u64) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(&dir.path().join("faults"), "test".into()).unwrap();
        let planned = Planned {
            at: Duration::ZERO,
            lasts: Duration::ZERO,
            fault: Fault::OneWay,
            seed: 0,
        };
        let id = journal.begin(&planned, "a cut".into()).unwrap();
        journal.meet(id, "packets", count);
        journal.end(id, Outcome::Injected).unwrap();
        journal.finish().unwrap().remove(0).outcome
    }

    #[test]
    fn a_fault_that_met_nobody_was_not_injected() {
        assert_eq!(outcome_of_meeting(3), Outcome::Injected);
        assert!(matches!(outcome_of_meeting(0), Outcome::Missed(_)));
    }
}
