//! The command `cargo simulate`.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bazaar_daemon::planted::Bug;
use clap::{Parser, Subcommand};

use crate::faults::Profile;

/// Runs the whole cluster in a simulation, breaks it, and checks that its promises hold.
#[derive(Debug, Parser)]
#[command(name = "cargo simulate")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs many seeds, and fails if any promise is broken or could not be checked.
    Run(Many),
    /// Runs one seed, as any other command would.
    Seed(One),
    /// Plants bugs, one at a time, and fails if one of them is not caught.
    Planted(Planted),
}

/// The seeds to run.
#[derive(Debug, clap::Args)]
pub struct Many {
    /// From the first one up to the second, which is not run.
    #[arg(long, default_value = "0..200", value_parser = parse_range, value_name = "A..B")]
    pub seeds: Range<u64>,

    /// How long each is, in simulated time.
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,

    /// The faults; each seed has its own where this is not given.
    #[arg(long)]
    pub profile: Option<Profile>,

    /// How many run at once.
    #[arg(long, default_value = "2", value_name = "N")]
    pub jobs: NonZeroUsize,

    /// Where to write every run's report.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The seed to run.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The seed.
    pub seed: u64,

    /// How long it is, in simulated time.
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,

    /// The faults; the seed's own where this is not given.
    #[arg(long)]
    pub profile: Option<Profile>,

    /// The bug to plant.
    #[arg(long)]
    pub bug: Option<Bug>,

    /// Which steps of the schedule to leave out, from 0: what is left may show a violation too.
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub without: Vec<usize>,

    /// Where to write the trace: everything that clients were told, replicas did and faults were.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// What the services log, on standard error, such as `info` or `bazaar_order=debug`.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// Whether to print the report as one line of JSON.
    #[arg(long, hide = true)]
    pub machine_readable: bool,
}

/// The bugs to plant.
#[derive(Debug, clap::Args)]
pub struct Planted {
    /// This one; all of them where none is given.
    #[arg(long)]
    pub bug: Option<Bug>,

    /// The most seeds that are tried for one bug.
    #[arg(long, default_value = "100", value_name = "N")]
    pub seeds: u64,

    /// How long each run is, in simulated time.
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,

    /// How many run at once.
    #[arg(long, default_value = "2", value_name = "N")]
    pub jobs: NonZeroUsize,

    /// Where to write what caught which.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl One {
    /// The profile that is asked for, or the seed's own.
    pub(crate) fn profile(&self) -> Profile {
        self.profile.unwrap_or_else(|| Profile::of(self.seed))
    }
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let parse = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text:?}: {error}"))
    };
    let (first, end) = text.split_once("..").ok_or("two numbers, as in 0..200")?;
    let range = parse(first)?..parse(end)?;
    if range.is_empty() {
        return Err("no seed is in it".into());
    }
    Ok(range)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(20) {
        return Err("at least 20s: faults take time, and so does the recovery from them".into());
    }
    Ok(duration)
}
