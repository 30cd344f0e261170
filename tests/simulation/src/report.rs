//! What came of one run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bazaar_history::Verdict;
use serde::{Deserialize, Serialize};

/// What came of one run, as a child process tells its parent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The profile of its faults.
    pub profile: String,
    /// The bug that was planted, where one was.
    pub bug: Option<String>,
    /// The simulated time.
    pub simulated: Duration,
    /// The time that it took.
    pub wall: Duration,
    /// What clients did.
    pub work: Work,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<String, u64>,
    /// What each check says, by its name.
    pub checks: BTreeMap<String, Finding>,
    /// Of everything that happened: the same run has the same.
    pub digest: String,
}

/// What clients did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// Operations, whatever came of them.
    pub operations: u64,
    /// Trades that were acknowledged.
    pub trades: u64,
    /// Amendments that were acknowledged.
    pub amendments: u64,
    /// Restocks that were acknowledged.
    pub restocks: u64,
    /// Trades and amendments of which nobody was told what became.
    pub unknown: u64,
    /// Answers that were marked as given before.
    pub replayed: u64,
    /// Lookups that were answered.
    pub lookups: u64,
    /// Orders that are recorded.
    pub orders: u64,
    /// Times that a group's leader changed.
    pub elections: u64,
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "evidence")]
pub enum Finding {
    /// The promise was kept.
    Ok,
    /// It was broken.
    Violation(Vec<String>),
    /// It could not be found out.
    Unknown(String),
}

impl From<Verdict> for Finding {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::Ok,
            Verdict::Unknown(reason) => Self::Unknown(reason),
            Verdict::Violation(findings) => {
                let lines = findings.first.into_iter().flat_map(|finding| {
                    let evidence = finding.evidence.into_iter().map(|line| format!("  {line}"));
                    std::iter::once(finding.what).chain(evidence)
                });
                Self::Violation(lines.collect())
            }
        }
    }
}

impl Finding {
    /// A violation where there is anything in `problems`.
    pub(crate) fn of(problems: Vec<String>) -> Self {
        if problems.is_empty() {
            Self::Ok
        } else {
            Self::Violation(problems)
        }
    }
}

impl Report {
    /// The checks that found a promise broken.
    pub fn violations(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter_map(|(check, finding)| {
            matches!(finding, Finding::Violation(_)).then_some(check.as_str())
        })
    }

    /// The checks that could not find out.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter_map(|(check, finding)| {
            matches!(finding, Finding::Unknown(_)).then_some(check.as_str())
        })
    }

    /// Whether every check says that its promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.checks.values().all(|finding| *finding == Finding::Ok)
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.trades += other.trades;
        self.amendments += other.amendments;
        self.restocks += other.restocks;
        self.unknown += other.unknown;
        self.replayed += other.replayed;
        self.lookups += other.lookups;
        self.orders += other.orders;
        self.elections += other.elections;
    }
}

/// For people who replay one seed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bug = self.bug.as_deref().unwrap_or("none");
        let (seed, profile) = (self.seed, &self.profile);
        writeln!(f, "seed {seed}, profile {profile}, planted bug: {bug}")?;
        let (simulated, wall) = (self.simulated.as_secs_f64(), self.wall.as_secs_f64());
        let digest = &self.digest;
        writeln!(
            f,
            "{simulated:.1} s simulated in {wall:.1} s, digest {digest}"
        )?;
        writeln!(f, "{:?}", self.work)?;
        writeln!(f, "faults: {:?}", self.faults)?;
        for (check, finding) in &self.checks {
            match finding {
                Finding::Ok => writeln!(f, "{check}: ok")?,
                Finding::Unknown(reason) => writeln!(f, "{check}: UNKNOWN: {reason}")?,
                Finding::Violation(lines) => {
                    writeln!(f, "{check}: VIOLATION")?;
                    for line in lines {
                        writeln!(f, "    {line}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
