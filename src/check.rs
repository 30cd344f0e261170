//! `bazaar check`: holds histories against the promises.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bazaar_history::suite::{self, Options, Report, Result as Outcome};
use bazaar_history::{Evidence, Finding, Verdict};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The exit code where a file is not what it should be, or there is nothing to check.
const BAD_INPUT: u8 = 2;

/// What to check, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// Histories: of clients (`bazaar client --history FILE`), of order replicas (`bazaar order
    /// export --history`), of catalog replicas (`bazaar catalog export`), of faults, of consensus.
    /// Every check is made that these permit.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Nobody else has ever traded: an order that is in a log and in no client's history is one too
    /// many.
    #[arg(long)]
    exclusive: bool,

    /// Do not let the order log tell what became of trades of unknown outcome, nor of trades that
    /// are not in a history, when checking linearizability. Takes longer.
    #[arg(long)]
    without_log: bool,

    /// How many operations the search for linearizability may take, for each item, before it gives
    /// up.
    #[arg(long, value_name = "STEPS", default_value_t = Options::default().budget.steps)]
    budget: u64,

    /// How soon after the last fault operations must succeed again.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    recovery: Duration,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// The report, with what it comes to.
#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Checks; the exit code is 0 where every check that was made is passed, 1 where one is not or could
/// not be decided, and 2 where a file is not what it should be.
pub(crate) fn run(config: &Config) -> ExitCode {
    let evidence = match Evidence::read(&config.files) {
        Ok(evidence) => evidence,
        Err(error) => return bad_input(&error.to_string()),
    };
    let mut options = Options {
        is_complete: config.exclusive,
        without_log: config.without_log,
        recovery: config.recovery,
        ..Options::default()
    };
    options.budget.steps = config.budget;
    let report = suite::check(&evidence, &options);
    if report.verdicts().next().is_none() {
        return bad_input("none of the checks can be made with these files alone");
    }
    let text = if config.json {
        let ok = report.is_ok();
        let document = Document {
            ok,
            report: &report,
        };
        let json = serde_json::to_string_pretty(&document).expect("a report is JSON");
        format!("{json}\n")
    } else {
        text(&report)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            bad_input(&format!("standard output: {error}"))
        }
        _ if report.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn bad_input(problem: &str) -> ExitCode {
    eprintln!("bazaar check: {problem}");
    ExitCode::from(BAD_INPUT)
}

fn text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CHECK", "VERDICT", "SECONDS", "PROMISE"]);
    let mut details = String::new();
    for checked in &report.checks {
        let (verdict, seconds) = match &checked.result {
            Outcome::Run { verdict, seconds } => (verdict_in_words(verdict), seconds_in(*seconds)),
            Outcome::NotRun { wanting } => (format!("not run: needs {wanting}"), String::new()),
        };
        table.add_row([checked.check, &verdict, &seconds, checked.promise]);
        if let Outcome::Run { verdict, .. } = &checked.result {
            describe(checked.check, verdict, &mut details);
        }
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let (operations, orders) = (report.operations, report.orders);
    let head = format!("{operations} operations of clients, {orders} orders");
    format!("{head}\n\n{}\n{details}", table.trim_fmt())
}

fn verdict_in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Ok => "ok".into(),
        Verdict::Violation(findings) => format!("VIOLATED ({})", findings.count),
        Verdict::Unknown(_) => "UNKNOWN".into(),
    }
}

fn seconds_in(seconds: f64) -> String {
    format!("{seconds:.2}")
}

fn describe(check: &str, verdict: &Verdict, out: &mut String) {
    let written = match verdict {
        Verdict::Ok => Ok(()),
        Verdict::Unknown(why) => writeln!(out, "\n{check}: {why}"),
        Verdict::Violation(findings) => findings
            .first
            .iter()
            .try_for_each(|finding| describe_finding(check, finding, out))
            .and_then(|()| match findings.count - findings.first.len() as u64 {
                0 => Ok(()),
                more => writeln!(out, "\n{check}: and {more} more"),
            }),
    };
    written.expect("a string takes whatever is written");
}

fn describe_finding(check: &str, finding: &Finding, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{check}: {}", finding.what)?;
    finding
        .evidence
        .iter()
        .try_for_each(|piece| writeln!(out, "    {piece}"))
}

#[cfg(test)]
mod tests {
    use bazaar_history::check::liveness::RECOVERY;

    #[test]
    fn the_flags_and_the_checkers_have_the_same_defaults() {
        assert_eq!(humantime::parse_duration("10s").ok(), Some(RECOVERY));
    }
}
