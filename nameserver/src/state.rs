//! The table of names. No clock, no I/O: time comes in, as the time since the name server started.
//!
//! The table promises that a name has one entry, that an entry is gone the moment its lease runs out
//! whether or not somebody has cleared it away, and that everything in it is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bazaar_rpc::naming::{
    Entry, MAX_ENTRIES, MAX_METADATA, MAX_TEXT, NamingError, Registration, Selector,
};
use serde::{Deserialize, Serialize};

use crate::matcher::Matcher;

/// The most bytes of names and metadata in the table, so that a list of all of it fits into a frame.
const MAX_WEIGHT: usize = 4 << 20;

/// What an entry weighs beside its texts.
const ENTRY_WEIGHT: usize = 64;

/// The longest lease.
const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// Names, and what is entered under them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<String, Row>,
    /// The weight of all rows.
    weight: usize,
}

#[derive(Debug)]
struct Row {
    record: Record,
    /// When it ends, where it has a lease.
    expires: Option<Duration>,
}

/// What is entered under a name, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it says about itself now.
    pub(crate) metadata: BTreeSet<String>,
    /// What it said about itself when it registered: a renewal says that again, and must not undo
    /// what was set since.
    pub(crate) registered: BTreeSet<String>,
    /// The length of its lease.
    pub(crate) lease: Option<Duration>,
}

/// Whether the table now says something else than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A name, an address or metadata has changed.
    Table,
    /// A lease was renewed, nothing else.
    Renewal,
}

impl Table {
    /// The table that was saved as `records`. Those under a lease get one full lease, from `now`, to
    /// be renewed in. What is not acceptable is left out.
    pub(crate) fn restore(now: Duration, records: Vec<Record>) -> Self {
        let mut table = Self::default();
        for record in records {
            let metadata = record.metadata.clone();
            let registration = Registration {
                name: record.name.clone(),
                address: record.address,
                metadata: record.registered,
                lease: record.lease,
            };
            if table.register(now, registration, false).is_ok()
                && table.set_metadata(now, &record.name, metadata).is_err()
            {
                table.take(&record.name);
            }
        }
        table
    }

    /// What is to be saved.
    pub(crate) fn records(&self, now: Duration) -> Vec<Record> {
        self.live(now).map(|row| row.record.clone()).collect()
    }

    /// Enters `registration`, or renews its lease where it is there already.
    pub(crate) fn register(
        &mut self,
        now: Duration,
        registration: Registration,
        replace: bool,
    ) -> Result<Change, NamingError> {
        let Registration {
            name,
            address,
            metadata,
            lease,
        } = registration;
        check_text("name", &name)?;
        check_metadata(&metadata)?;
        check_lease(lease)?;
        let expires = lease.map(|lease| now.saturating_add(lease));
        if let Some(row) = self.rows.get_mut(&name).filter(|row| row.is_live(now)) {
            if row.record.address == address && row.record.registered == metadata {
                let renewed = row.record.lease == lease;
                row.record.lease = lease;
                row.expires = expires;
                return Ok(if renewed {
                    Change::Renewal
                } else {
                    Change::Table
                });
            }
            if !replace {
                let address = row.record.address;
                return Err(NamingError::Taken { name, address });
            }
        }
        let record = Record {
            name,
            address,
            registered: metadata.clone(),
            metadata,
            lease,
        };
        self.put(now, Row { record, expires })?;
        Ok(Change::Table)
    }

    /// The entry of `name`.
    pub(crate) fn lookup(&self, now: Duration, name: &str) -> Result<Entry, NamingError> {
        match self.rows.get(name) {
            Some(row) if row.is_live(now) => Ok(row.entry(now)),
            _ => Err(unknown(name)),
        }
    }

    /// The entries that `selector` selects, by name.
    pub(crate) fn list(
        &self,
        now: Duration,
        selector: &Selector,
    ) -> Result<Vec<Entry>, NamingError> {
        let matcher = Matcher::new(selector)?;
        let selected = self
            .live(now)
            .filter(|row| matcher.matches(&row.record.name));
        Ok(selected.map(|row| row.entry(now)).collect())
    }

    /// The entries whose metadata has all of `all` and, where `any` is not empty, one of `any`.
    pub(crate) fn yplookup(
        &self,
        now: Duration,
        all: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) -> Vec<Entry> {
        let selected = self.live(now).filter(|row| {
            let metadata = &row.record.metadata;
            metadata.is_superset(all) && (any.is_empty() || !metadata.is_disjoint(any))
        });
        selected.map(|row| row.entry(now)).collect()
    }

    /// Replaces the metadata of `name`.
    pub(crate) fn set_metadata(
        &mut self,
        now: Duration,
        name: &str,
        metadata: BTreeSet<String>,
    ) -> Result<(), NamingError> {
        check_metadata(&metadata)?;
        let row = self
            .rows
            .get(name)
            .filter(|row| row.is_live(now))
            .ok_or_else(|| unknown(name))?;
        let record = Record {
            metadata,
            ..row.record.clone()
        };
        let expires = row.expires;
        self.put(now, Row { record, expires })
    }

    /// Removes the entries that `selector` selects; returns how many.
    pub(crate) fn remove(
        &mut self,
        now: Duration,
        selector: &Selector,
    ) -> Result<u64, NamingError> {
        let selected = self.list(now, selector)?;
        for entry in &selected {
            self.take(&entry.name);
        }
        Ok(selected.len() as u64)
    }

    /// How many names there are.
    pub(crate) fn count(&self, now: Duration) -> u64 {
        self.live(now).count() as u64
    }

    /// Clears away the entries whose leases have run out; returns their names.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<String> {
        let dead = self.rows.values().filter(|row| !row.is_live(now));
        let dead: Vec<_> = dead.map(|row| row.record.name.clone()).collect();
        for name in &dead {
            self.take(name);
        }
        dead
    }

    fn live(&self, now: Duration) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(move |row| row.is_live(now))
    }

    /// Puts `row` in the place of the one of its name, where the table has room for it.
    fn put(&mut self, now: Duration, row: Row) -> Result<(), NamingError> {
        if !self.has_room_for(&row) {
            self.expire(now);
        }
        if !self.has_room_for(&row) {
            return Err(NamingError::Full);
        }
        let name = row.record.name.clone();
        self.take(&name);
        self.weight += row.weight();
        self.rows.insert(name, row);
        Ok(())
    }

    fn has_room_for(&self, row: &Row) -> bool {
        let replaced = self.rows.get(&row.record.name);
        let others = self.rows.len() - usize::from(replaced.is_some());
        let weight = self.weight - replaced.map_or(0, Row::weight);
        others < MAX_ENTRIES && weight + row.weight() <= MAX_WEIGHT
    }

    fn take(&mut self, name: &str) {
        if let Some(row) = self.rows.remove(name) {
            self.weight -= row.weight();
        }
    }
}

impl Row {
    fn is_live(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn entry(&self, now: Duration) -> Entry {
        Entry {
            name: self.record.name.clone(),
            address: self.record.address,
            metadata: self.record.metadata.clone(),
            expires_in: self.expires.map(|expires| expires.saturating_sub(now)),
        }
    }

    fn weight(&self) -> usize {
        let Record {
            name,
            metadata,
            registered,
            ..
        } = &self.record;
        let texts = metadata
            .iter()
            .chain(registered)
            .map(String::len)
            .sum::<usize>();
        ENTRY_WEIGHT + name.len() + texts
    }
}

fn check_metadata(metadata: &BTreeSet<String>) -> Result<(), NamingError> {
    if metadata.len() > MAX_METADATA {
        return Err(invalid(format!(
            "an entry has at most {MAX_METADATA} pieces of metadata"
        )));
    }
    metadata
        .iter()
        .try_for_each(|text| check_text("piece of metadata", text))
}

fn check_text(what: &str, text: &str) -> Result<(), NamingError> {
    if text.is_empty() || text.len() > MAX_TEXT {
        Err(invalid(format!("a {what} has 1 to {MAX_TEXT} bytes")))
    } else if text.chars().any(char::is_control) {
        Err(invalid(format!("a {what} has no control characters")))
    } else {
        Ok(())
    }
}

fn check_lease(lease: Option<Duration>) -> Result<(), NamingError> {
    match lease {
        Some(lease) if lease.is_zero() || lease > MAX_LEASE => {
            let most = MAX_LEASE.as_secs();
            Err(invalid(format!(
                "a lease is longer than zero and at most {most} seconds"
            )))
        }
        _ => Ok(()),
    }
}

fn invalid(reason: String) -> NamingError {
    NamingError::Invalid(reason)
}

fn unknown(name: &str) -> NamingError {
    // Bounded, since it comes from the caller and goes into its answer.
    NamingError::Unknown(name.chars().take(MAX_TEXT).collect())
}

#[cfg(test)]
mod tests;
