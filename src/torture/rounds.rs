//! A torture in rounds: each has a fresh cluster and a seed of its own, so that what is kept of one,
//! and what its checkers have to read, has a bound however long the whole takes.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::torture::report::Report;
use crate::torture::run::{run as run_round, write_report};
use crate::torture::{Config, fault, sum};
use crate::up::StopSignals;

/// The shortest round: in less time nothing can befall a cluster.
const SHORTEST: Duration = Duration::from_secs(10);

/// Runs the torture; the exit code says whether every promise was kept.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    ensure!(
        config.round >= SHORTEST,
        "--round {}: a round takes {SHORTEST:?} at least",
        humantime::format_duration(config.round)
    );
    let mut stop = StopSignals::new()?;
    let report = tokio::select! {
        report = all(&config) => report?,
        // Networks and disks are removed with what is dropped here.
        () = stop.recv() => anyhow::bail!("interrupted"),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(report.to_string().as_bytes())?;
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all rounds, and writes their reports and that of the whole.
async fn all(config: &Config) -> anyhow::Result<Report> {
    let faults = fault::select(&config.faults);
    let required = fault::require(&config.require, &faults)?;
    let seed = config.seed.unwrap_or_else(rand::random);
    let lengths = lengths(config);
    if lengths.len() == 1 {
        return run_round(config, seed, &faults, required).await;
    }
    let mut seeds = StdRng::seed_from_u64(seed);
    let mut reports = Vec::new();
    let mut cut_short = None;
    for (number, duration) in (1..).zip(&lengths) {
        let (round, seed) = (round(config, number, *duration), seeds.random());
        eprintln!("round {number} of {}", lengths.len());
        match run_round(&round, seed, &faults, Default::default()).await {
            Ok(report) => reports.push(report),
            // What has no report is not passed over.
            Err(failure) => {
                cut_short = Some(failure.context(format!("round {number}, seed {seed}")));
                break;
            }
        }
        if let Some(dir) = &config.report {
            write_report(&sum::of(config, seed, &required, &reports, None), dir)?;
        }
    }
    let report = sum::of(config, seed, &required, &reports, cut_short.as_ref());
    if let Some(dir) = &config.report {
        write_report(&report, dir)?;
    }
    Ok(report)
}

/// How long each round lasts: all equally long.
fn lengths(config: &Config) -> Vec<Duration> {
    if config.each {
        return vec![config.each_for];
    }
    let rounds = config
        .duration
        .as_millis()
        .div_ceil(config.round.as_millis());
    let rounds = u32::try_from(rounds.max(1)).unwrap_or(u32::MAX);
    vec![config.duration / rounds; rounds as usize]
}

/// What round `number` is to do.
fn round(config: &Config, number: usize, duration: Duration) -> Config {
    let of_round = |dir: &Path| dir.join(sum::round_name(number));
    Config {
        duration,
        // What is required is required of all rounds together.
        require: Vec::new(),
        report: config.report.as_deref().map(of_round),
        keep: config.keep.as_deref().map(of_round),
        ..config.clone()
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

    fn lengths_of(arguments: &[&str]) -> Vec<Duration> {
        let arguments = ["torture"].iter().chain(arguments);
        lengths(&Cli::parse_from(arguments).config)
    }

    #[test]
    fn an_hour_takes_twelve_rounds_and_a_minute_one() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(lengths_of(&["--duration", "1h"]), vec![minutes(5); 12]);
        assert_eq!(lengths_of(&["--duration", "1m"]), vec![minutes(1)]);
        let uneven = ["--duration", "8m", "--round", "3m"];
        assert_eq!(lengths_of(&uneven), vec![Duration::from_secs(160); 3]);
    }
}
