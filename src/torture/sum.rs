//! What several rounds of a torture showed together.

use std::collections::{BTreeMap, BTreeSet};

use bazaar_rpc::Timestamp;
use serde::Serialize;

use crate::torture::config::Config;
use crate::torture::fault::Fault;
use crate::torture::figures::{Counts, Timeline};
use crate::torture::report::{Judged, Report, Summary, VERSION, required_failures};

/// A round, as the whole shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Where its report is, from that of the whole.
    pub(crate) name: String,
    /// The command line that does it again.
    pub(crate) command: String,
    /// How long it took.
    pub(crate) took_ms: u64,
    /// How many trades were accepted.
    pub(crate) trades: u64,
    /// How many faults were injected.
    pub(crate) injected: usize,
    /// The longest time without an accepted trade.
    pub(crate) longest_gap_ms: Option<f64>,
    /// How many failures it has.
    pub(crate) failures: usize,
}

/// The directory of a round's report.
pub(crate) fn round_name(number: usize) -> String {
    format!("round-{number}")
}

/// The sum of `rounds`; of them the faults `required` must have been injected. `cut_short` is why there
/// are no more rounds.
pub(crate) fn of(
    config: &Config,
    seed: u64,
    required: &BTreeSet<Fault>,
    rounds: &[Report],
    cut_short: Option<&anyhow::Error>,
) -> Report {
    let faults = faults(rounds, required);
    let mut failures: Vec<_> = named(rounds)
        .flat_map(|(name, round)| {
            let failures = round.failures.iter();
            failures.map(move |failure| format!("{name}: {failure}"))
        })
        .collect();
    failures.extend(required_failures(&faults));
    failures.extend(cut_short.map(|failure| format!("{failure:#}")));
    let gaps = rounds.iter().filter_map(|round| round.longest_gap_ms);
    Report {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION"),
        command: config.command_line(seed),
        seed,
        started: rounds
            .first()
            .map_or(Timestamp::now(), |round| round.started),
        took_ms: rounds.iter().map(|round| round.took_ms).sum(),
        schedule: Vec::new(),
        strikes: Vec::new(),
        faults,
        operations: rounds
            .iter()
            .fold(Counts::default(), |sum, round| sum + round.operations),
        orders: rounds.iter().map(|round| round.orders).sum(),
        longest_gap_ms: gaps.reduce(f64::max),
        verdicts: verdicts(rounds),
        timeline: Timeline::default(),
        rounds: named(rounds)
            .map(|(name, round)| Round::of(name, round))
            .collect(),
        failures,
        kept: None,
    }
}

fn named(rounds: &[Report]) -> impl Iterator<Item = (String, &Report)> {
    (1..).map(round_name).zip(rounds)
}

/// Every fault, as often as it was injected in any round.
fn faults(rounds: &[Report], required: &BTreeSet<Fault>) -> Vec<Summary> {
    let mut faults: BTreeMap<Fault, Summary> = BTreeMap::new();
    for of_round in rounds.iter().flat_map(|round| &round.faults) {
        let Some(sum) = faults.get_mut(&of_round.fault) else {
            let required = required.contains(&of_round.fault);
            faults.insert(
                of_round.fault,
                Summary {
                    required,
                    ..of_round.clone()
                },
            );
            continue;
        };
        sum.injected += of_round.injected;
        for (what, count) in &of_round.met {
            *sum.met.entry(what).or_default() += count;
        }
        for (why, times) in &of_round.missed {
            *sum.missed.entry(why.clone()).or_default() += times;
        }
        sum.skipped = sum.skipped.take().or_else(|| of_round.skipped.clone());
        let gaps = [sum.longest_gap_ms, of_round.longest_gap_ms];
        sum.longest_gap_ms = gaps.into_iter().flatten().reduce(f64::max);
    }
    faults.into_values().collect()
}

/// Every verdict: that of the rounds in which the promise was kept least.
fn verdicts(rounds: &[Report]) -> Vec<Judged> {
    let mut verdicts: Vec<Judged> = Vec::new();
    for (name, round) in named(rounds) {
        for of_round in &round.verdicts {
            let details = of_round
                .details
                .iter()
                .map(|detail| format!("{name}: {detail}"));
            let judged = Judged {
                details: details.collect(),
                ..of_round.clone()
            };
            match verdicts.iter_mut().find(|sum| sum.check == judged.check) {
                None => verdicts.push(judged),
                Some(sum) => {
                    sum.details.extend(judged.details);
                    if badness(judged.verdict) > badness(sum.verdict) {
                        sum.verdict = judged.verdict;
                    }
                }
            }
        }
    }
    verdicts
}

fn badness(verdict: &str) -> u8 {
    match verdict {
        "ok" => 0,
        "not run" => 1,
        "unknown" => 2,
        _ => 3,
    }
}

impl Round {
    fn of(name: String, round: &Report) -> Self {
        Self {
            name,
            command: round.command.clone(),
            took_ms: round.took_ms,
            trades: round.operations.trades.done,
            injected: round.faults.iter().map(|fault| fault.injected).sum(),
            longest_gap_ms: round.longest_gap_ms,
            failures: round.failures.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn round(verdict: &'static str, injected: usize) -> Report {
        let config = Cli::parse_from(["torture"]).config;
        let mut report = of(&config, 1, &BTreeSet::new(), &[], None);
        report.verdicts.push(Judged {
            check: "set".into(),
            promise: String::new(),
            verdict,
            details: Vec::new(),
        });
        if verdict != "ok" {
            report.failures.push(verdict.into());
        }
        report.faults.push(Summary {
            fault: Fault::Kill,
            story: String::new(),
            injected,
            met: BTreeMap::from([("processes", injected as u64)]),
            required: false,
            missed: BTreeMap::new(),
            skipped: None,
            longest_gap_ms: Some(injected as f64),
        });
        report
    }

    fn sum(rounds: &[Report]) -> Report {
        let config = Cli::parse_from(["torture"]).config;
        of(&config, 1, &BTreeSet::from([Fault::Kill]), rounds, None)
    }

    #[test]
    fn one_bad_round_spoils_the_whole() {
        let report = sum(&[round("ok", 2), round("violation", 3), round("ok", 1)]);
        assert_eq!(report.verdicts[0].verdict, "violation");
        assert_eq!(report.failures, ["round-2: violation"]);
        let kill = &report.faults[0];
        assert_eq!((kill.injected, kill.met["processes"]), (6, 6));
        assert_eq!(kill.longest_gap_ms, Some(3.0));
    }

    #[test]
    fn a_required_fault_may_come_in_any_round() {
        assert!(sum(&[round("ok", 0), round("ok", 1)]).failures.is_empty());
        assert_eq!(sum(&[round("ok", 0), round("ok", 0)]).failures.len(), 1);
    }
}
