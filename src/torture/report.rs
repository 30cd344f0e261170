//! What a torture showed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bazaar_history::{Evidence, Verdict, suite};
use bazaar_rpc::Timestamp;
use serde::Serialize;

use crate::torture::config::Config;
use crate::torture::fault::{Fault, Lane};
use crate::torture::figures::{self, Counts, Timeline};
use crate::torture::journal::{Outcome, Record};
use crate::torture::schedule::Planned;
use crate::torture::sum::Round;

/// The version of the report's form. It rises when a field changes its meaning or goes away.
pub(super) const VERSION: u32 = 1;

/// What a torture showed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this form.
    pub(crate) version: u32,
    /// The version of the program.
    pub(crate) program: &'static str,
    /// The command line that does it again.
    pub(crate) command: String,
    /// Decides the schedule, and the intended operations.
    pub(crate) seed: u64,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub(crate) started: Timestamp,
    /// How long it took, until load and faults had ended.
    pub(crate) took_ms: u64,
    /// What was planned.
    pub(crate) schedule: Vec<Planned>,
    /// What was done, in the order of its beginning.
    pub(crate) strikes: Vec<Strike>,
    /// The same, fault by fault.
    pub(crate) faults: Vec<Summary>,
    /// What clients did, and were told.
    pub(crate) operations: Counts,
    /// How many orders there are in the longest log.
    pub(crate) orders: usize,
    /// The longest time without an accepted trade.
    pub(crate) longest_gap_ms: Option<f64>,
    /// What the checkers say.
    pub(crate) verdicts: Vec<Judged>,
    /// When how much was done.
    pub(crate) timeline: Timeline,
    /// The rounds of which this is the sum; none for one of its own.
    pub(crate) rounds: Vec<Round>,
    /// Why the run is not a clean one, a line each.
    pub(crate) failures: Vec<String>,
    /// Where the data directories, logs and histories are, where they were kept.
    pub(crate) kept: Option<PathBuf>,
}

/// A fault that was injected, or was to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Strike {
    /// When it began and ended, since the beginning.
    pub(crate) began_ms: Option<u64>,
    pub(crate) ended_ms: Option<u64>,
    /// What it hits.
    pub(crate) lane: Lane,
    /// The longest time without an accepted trade that touches it.
    pub(crate) longest_gap_ms: Option<f64>,
    #[serde(flatten)]
    pub(crate) record: Record,
}

/// All injections of one fault.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) fault: Fault,
    /// What it is.
    pub(crate) story: String,
    /// How often it was injected.
    pub(crate) injected: usize,
    /// How many of what it met, all together.
    pub(crate) met: BTreeMap<&'static str, u64>,
    /// The run fails where it was not injected.
    pub(crate) required: bool,
    /// How often it was to be and could not be, by the reason.
    pub(crate) missed: BTreeMap<String, usize>,
    /// Why the machine does not permit it.
    pub(crate) skipped: Option<String>,
    /// The longest time without an accepted trade that touches one of them.
    pub(crate) longest_gap_ms: Option<f64>,
}

/// What one check says.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) check: String,
    /// What it promises.
    pub(crate) promise: String,
    /// `ok`, `violation`, `unknown` or `not run`.
    pub(crate) verdict: &'static str,
    /// How often the promise was broken, how it was broken first, or what is wanting.
    pub(crate) details: Vec<String>,
}

/// What was found besides what the checkers say.
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    /// The faults that must have been injected.
    pub(crate) required: BTreeSet<Fault>,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// What clients found wanting.
    pub(crate) client_failures: Vec<String>,
    /// What the cluster did not become again after the faults.
    pub(crate) not_whole: Vec<String>,
}

impl Report {
    /// Of what was `found`, and what the checkers `say` about the `evidence`.
    pub(crate) fn new(
        config: &Config,
        seed: u64,
        started: Timestamp,
        plan: (Vec<Planned>, &BTreeSet<Fault>),
        found: Found,
        evidence: &Evidence,
        say: &suite::Report,
    ) -> Self {
        let (schedule, faults) = plan;
        let accepted = figures::accepted(&evidence.operations);
        let gap = |began, ended| figures::longest_gap(&accepted, began, ended).map(milliseconds);
        let since = |at: u64| at.saturating_sub(found.began) / 1_000_000;
        let mut strikes: Vec<_> = found
            .records
            .iter()
            .map(|record| Strike {
                began_ms: record.began.map(since),
                ended_ms: record.ended.map(since),
                lane: record.fault.lane(),
                longest_gap_ms: record
                    .began
                    .zip(record.ended)
                    .and_then(|(from, to)| gap(from, to)),
                record: record.clone(),
            })
            .collect();
        strikes.sort_by_key(|strike| strike.began_ms);
        let operations = figures::count(&evidence.operations);
        let mut verdicts: Vec<_> = say.checks.iter().map(Judged::of).collect();
        let own = [
            (
                "client",
                "what was acknowledged is read back as it was",
                found.client_failures,
            ),
            (
                "whole",
                "the cluster is whole again after the last fault",
                found.not_whole,
            ),
        ];
        verdicts.extend(own.map(|(check, promise, failures)| Judged {
            check: check.into(),
            promise: promise.into(),
            verdict: if failures.is_empty() {
                "ok"
            } else {
                "violation"
            },
            details: failures,
        }));
        let took = Duration::from_nanos(found.ended.saturating_sub(found.began));
        let summaries = faults.iter().map(|fault| {
            let required = found.required.contains(fault);
            Summary::of(*fault, required, &strikes)
        });
        let faults: Vec<_> = summaries.collect();
        let failures = failures(&verdicts, &faults, &operations, took);
        Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION"),
            command: config.command_line(seed),
            seed,
            started,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            schedule,
            strikes,
            faults,
            operations,
            orders: say.orders,
            longest_gap_ms: gap(found.began, found.ended),
            verdicts,
            timeline: figures::timeline(&evidence.operations, found.began, found.ended),
            rounds: Vec::new(),
            failures,
            kept: None,
        }
    }
}

impl Report {
    /// The faults of which nothing was shown.
    pub(crate) fn not_injected(&self) -> impl Iterator<Item = &Summary> {
        self.faults.iter().filter(|fault| fault.injected == 0)
    }
}

/// Why a run with these is not a clean one.
fn failures(
    verdicts: &[Judged],
    faults: &[Summary],
    operations: &Counts,
    took: Duration,
) -> Vec<String> {
    let mut failures: Vec<_> = verdicts
        .iter()
        .filter(|judged| judged.verdict != "ok")
        .map(|judged| {
            let first = judged
                .details
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            format!("{}: {}: {first}", judged.check, judged.verdict)
        })
        .collect();
    // A run in which nothing was done, or nothing befell anybody, proves nothing.
    let least = took.as_secs().max(1);
    for (what, done, least) in [
        ("trades were accepted", operations.trades.done, least),
        (
            "changes of orders were accepted",
            operations.amendments.done,
            least / 4,
        ),
        ("lookups were answered", operations.lookups.done, least),
    ] {
        if done < least {
            failures.push(format!("no real work: {done} {what} in {took:.0?}"));
        }
    }
    if faults.iter().all(|fault| fault.injected == 0) {
        failures.push("no fault was injected".into());
    }
    failures.extend(required_failures(faults));
    failures
}

/// Which of `faults` were required, and not injected.
pub(super) fn required_failures(faults: &[Summary]) -> impl Iterator<Item = String> {
    let required = faults
        .iter()
        .filter(|fault| fault.required && fault.injected == 0);
    required.map(|summary| {
        let (fault, why) = (summary.fault, summary.why_not());
        format!("{fault}: required, and not injected: {why}")
    })
}

impl Summary {
    /// Why it was not injected, where it never was.
    pub(crate) fn why_not(&self) -> String {
        match &self.skipped {
            Some(why) => format!("skipped: {why}"),
            None if self.missed.is_empty() => "there was no time for it".into(),
            None => {
                let missed: Vec<_> = self.missed.keys().map(String::as_str).collect();
                missed.join("; ")
            }
        }
    }

    /// Whom it met.
    pub(crate) fn contacts(&self) -> String {
        let met: Vec<_> = self
            .met
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        met.join(", ")
    }

    fn of(fault: Fault, required: bool, strikes: &[Strike]) -> Self {
        let of_fault = || strikes.iter().filter(|strike| strike.record.fault == fault);
        let mut summary = Self {
            fault,
            story: fault.story(),
            injected: 0,
            met: BTreeMap::new(),
            required,
            missed: BTreeMap::new(),
            skipped: None,
            longest_gap_ms: None,
        };
        for strike in of_fault() {
            match &strike.record.outcome {
                Outcome::Injected => {
                    summary.injected += 1;
                    for (what, count) in &strike.record.met {
                        *summary.met.entry(what).or_default() += count;
                    }
                    let gaps = [summary.longest_gap_ms, strike.longest_gap_ms];
                    summary.longest_gap_ms = gaps.into_iter().flatten().reduce(f64::max);
                }
                Outcome::Missed(why) => *summary.missed.entry(why.clone()).or_default() += 1,
                Outcome::Skipped(why) => summary.skipped = Some(why.clone()),
            }
        }
        summary
    }
}

impl Judged {
    fn of(checked: &suite::Checked) -> Self {
        let (verdict, details) = match &checked.result {
            suite::Result::NotRun { wanting } => ("not run", vec![format!("without {wanting}")]),
            suite::Result::Run { verdict, .. } => match verdict {
                Verdict::Ok => ("ok", Vec::new()),
                Verdict::Unknown(why) => ("unknown", vec![why.clone()]),
                Verdict::Violation(findings) => {
                    let more = (findings.count > findings.first.len() as u64)
                        .then(|| format!("{} in all", findings.count));
                    let first = findings.first.iter().map(|finding| {
                        format!("{} [{}]", finding.what, finding.evidence.join("; "))
                    });
                    ("violation", first.chain(more).collect())
                }
            },
        };
        Self {
            check: checked.check.into(),
            promise: checked.promise.into(),
            verdict,
            details,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took_ms as f64 / 1e3;
        let Counts {
            trades,
            amendments,
            lookups,
            queries,
        } = self.operations;
        writeln!(f, "seed {}, {seconds:.1} s", self.seed)?;
        for (name, outcomes) in [
            ("trades", trades),
            ("amendments", amendments),
            ("lookups", lookups),
            ("queries", queries),
        ] {
            let figures::Outcomes {
                done,
                refused,
                unknown,
            } = outcomes;
            writeln!(
                f,
                "{name:>10}: {done} done, {refused} refused, {unknown} unknown"
            )?;
        }
        writeln!(f, "    orders: {}", self.orders)?;
        writeln!(
            f,
            "\n{:<20} {:>8} {:>16}  met",
            "fault", "injected", "longest gap"
        )?;
        for fault in &self.faults {
            let gap = fault
                .longest_gap_ms
                .map(|gap| format!("{gap:.0} ms"))
                .unwrap_or_default();
            write!(
                f,
                "{:<20} {:>8} {gap:>16}  {}",
                fault.fault.to_string(),
                fault.injected,
                fault.contacts()
            )?;
            if let Some(why) = &fault.skipped {
                write!(f, "  skipped: {why}")?;
            }
            for (why, times) in &fault.missed {
                write!(f, "  not injected {times} times: {why}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for judged in &self.verdicts {
            writeln!(
                f,
                "{:<20} {:<10} {}",
                judged.check, judged.verdict, judged.promise
            )?;
            for detail in &judged.details {
                writeln!(f, "{:20} {detail}", "")?;
            }
        }
        writeln!(f)?;
        match &self.failures[..] {
            [] => {
                let of = self.faults.len();
                let not_injected: Vec<_> =
                    self.not_injected().map(|it| it.fault.to_string()).collect();
                let injected = of - not_injected.len();
                write!(f, "every promise was kept under {injected} of {of} faults")?;
                if !not_injected.is_empty() {
                    write!(f, "; not injected: {}", not_injected.join(", "))?;
                }
                writeln!(f)
            }
            failures => {
                for failure in failures {
                    writeln!(f, "FAILED {failure}")?;
                }
                match &self.kept {
                    Some(kept) => writeln!(f, "everything was kept in {}", kept.display()),
                    None => Ok(()),
                }
            }
        }
    }
}
