//! Many seeds, and the table at their end.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfy_table::{Table, presets};

use crate::children::{Run, each};
use crate::cli::{Cli, Command, Many};
use crate::faults::Profile;
use crate::report::{Finding, Report, Work};
use crate::{clock, drive, hunt, log};

/// The fewest trades, answered lookups, amendments and restocks in a run, for each ten seconds of it:
/// what has done less has proved nothing.
const LEAST_WORK: u64 = 20;
const LEAST_AMENDMENTS: u64 = 5;
const LEAST_RESTOCKS: u64 = 1;

/// Does what the command line asks for.
///
/// # Errors
/// When a promise was broken or could not be checked; when something broke off.
pub fn perform(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Run(many) => run(many)?,
        Command::Planted(planted) => hunt::run(planted)?,
        Command::Seed(one) => {
            if let Some(filter) = &one.log {
                // Here, and not in the world's thread, whose hash maps it would give other seeds.
                log::to_standard_error(filter)?;
            }
            let report = drive::run(one);
            if one.machine_readable {
                print(&serde_json::to_string(&report)?);
            } else {
                print(&report.to_string());
            }
            if !report.is_clean() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What all runs add up to.
#[derive(Default)]
struct Total {
    seeds: u64,
    simulated: Duration,
    work: Work,
    faults: BTreeMap<String, u64>,
    /// By check: how many runs found the promise kept, broken, or did not find out.
    checks: BTreeMap<String, [u64; 3]>,
    failed: u64,
}

/// Runs the seeds, prints the table, and says what is wrong.
///
/// # Errors
/// When a promise was broken or could not be checked, or when the load did nothing worth checking.
fn run(many: &Many) -> anyhow::Result<()> {
    let begun = clock::wall();
    let runs = many.seeds.clone().map(|seed| Run {
        seed,
        profile: many.profile.unwrap_or_else(|| Profile::of(seed)),
        bug: None,
        duration: many.duration,
    });
    let mut total = Total::default();
    let mut reports = Vec::new();
    let perform = |run: Run| (run, run.perform());
    each(runs, many.jobs, perform, |(run, mut report)| {
        add_load_check(&mut report, many.duration);
        if !report.is_clean() {
            eprintln!("{}", complaint(&run, &report));
        }
        total.add(&report);
        reports.push(report);
    });
    reports.sort_by_key(|report| report.seed);
    if let Some(path) = &many.json {
        let json = serde_json::to_vec_pretty(&reports).context("reports are plain data")?;
        fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    print(&total.table(clock::wall() - begun));
    let Total { seeds, failed, .. } = total;
    ensure!(failed == 0, "{failed} of {seeds} seeds failed");
    Ok(())
}

/// Adds the check that there was something to check.
fn add_load_check(report: &mut Report, duration: Duration) {
    let least = |of: u64| of * (duration.as_secs() / 10);
    let Work {
        trades,
        amendments,
        restocks,
        lookups,
        ..
    } = report.work;
    let is_enough = trades.min(lookups) >= least(LEAST_WORK)
        && amendments >= least(LEAST_AMENDMENTS)
        && restocks >= least(LEAST_RESTOCKS);
    let finding = if is_enough {
        Finding::Ok
    } else {
        let what = format!(
            "{trades} trades, {amendments} amendments, {restocks} restocks and {lookups} lookups"
        );
        Finding::Unknown(format!("the load did no real work: {what}"))
    };
    report.checks.insert("load".into(), finding);
}

/// One line for each check that a run has failed, and the command that replays it.
fn complaint(run: &Run, report: &Report) -> String {
    let mut lines = vec![format!(
        "seed {} failed; replay: {}",
        run.seed,
        run.command()
    )];
    for (check, finding) in &report.checks {
        match finding {
            Finding::Ok => {}
            Finding::Unknown(reason) => lines.push(format!("  {check}: unknown: {reason}")),
            Finding::Violation(found) => {
                let first = found.first().map_or("", String::as_str);
                lines.push(format!("  {check}: {first}"));
            }
        }
    }
    lines.join("\n")
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated += report.simulated;
        self.work += report.work;
        self.failed += u64::from(!report.is_clean());
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        for (check, finding) in &report.checks {
            let place = match finding {
                Finding::Ok => 0,
                Finding::Violation(_) => 1,
                Finding::Unknown(_) => 2,
            };
            self.checks.entry(check.clone()).or_default()[place] += 1;
        }
    }

    fn table(&self, wall: Duration) -> String {
        let Self {
            seeds,
            simulated,
            work,
            faults,
            checks,
            ..
        } = self;
        let mut runs = table(&[
            "seeds",
            "simulated",
            "wall",
            "operations",
            "trades",
            "amendments",
            "restocks",
            "unknown",
            "lookups",
            "replayed",
            "elections",
        ]);
        runs.add_row([
            seeds.to_string(),
            format!("{:.1} min", simulated.as_secs_f64() / 60.0),
            format!("{:.1} min", wall.as_secs_f64() / 60.0),
            work.operations.to_string(),
            work.trades.to_string(),
            work.amendments.to_string(),
            work.restocks.to_string(),
            work.unknown.to_string(),
            work.lookups.to_string(),
            work.replayed.to_string(),
            work.elections.to_string(),
        ]);
        let mut injected = table(&["fault", "injected"]);
        for (kind, count) in faults {
            injected.add_row([kind.clone(), count.to_string()]);
        }
        let mut verdicts = table(&["check", "kept", "broken", "unknown"]);
        for (check, counts) in checks {
            let [kept, broken, unknown] = counts.map(|count| count.to_string());
            verdicts.add_row([check.clone(), kept, broken, unknown]);
        }
        format!("{runs}\n\n{injected}\n\n{verdicts}")
    }
}

/// A table in Markdown, to be pasted into documents.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table
}

/// Prints what the command is for.
#[expect(clippy::print_stdout, reason = "a command's output")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
