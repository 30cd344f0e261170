//! How long clients go without an accepted trade when a leader dies or is paused.
//!
//! ```text
//! cargo bench --bench failover -- --trials 20
//! ```
//!
//! Starts a cluster of real processes (`bazaar up` with three catalogs, three orders and two
//! frontends), loads it over HTTP, and then, trial after trial, kills or pauses the leader of either
//! group and measures the longest time around that in which no trade was accepted. Between trials
//! the process is started again or goes on, and has caught up. A row without any fault says how long
//! such a time is on this machine anyway.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bazaar_client::{BaseUrl, Config as LoadConfig, Handle, Kind, Load, Probability, Rate};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::sleep;

/// How long the load runs before the first fault.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long trades flow undisturbed before each fault, and how long they are watched after it.
const CALM: Duration = Duration::from_millis(500);
const WATCHED: Duration = Duration::from_millis(1500);

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A replica that is no more entries behind than this has caught up: while trades flow, the leader
/// is always a few ahead of what it last said.
const CAUGHT_UP: u64 = 500;

/// Measures how long no trade is accepted when a leader dies or is paused.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each fault is tried.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    trials: u32,

    /// The faults to try, all of them by default.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<Fault>,

    /// How many sessions drive the load, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,

    /// Send so many requests a second, on a fixed schedule. Without it each session sends its next
    /// request when the last one is answered.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<Rate>,

    /// Print the result as JSON, with every sample.
    #[arg(long)]
    json: bool,

    /// The command to measure; the one that was built with this by default.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_bazaar"))]
    bazaar: PathBuf,

    /// Keep the cluster's directory, with its logs, and say where it is.
    #[arg(long)]
    keep: bool,

    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is done to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Nothing.
    None,
    /// kill -9 of the order leader.
    KillOrder,
    /// kill -9 of the catalog leader.
    KillCatalog,
    /// SIGSTOP of the order leader.
    PauseOrder,
    /// SIGSTOP of the catalog leader.
    PauseCatalog,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::None,
        Self::KillOrder,
        Self::KillCatalog,
        Self::PauseOrder,
        Self::PauseCatalog,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::KillOrder => "kill -9 of the order leader",
            Self::KillCatalog => "kill -9 of the catalog leader",
            Self::PauseOrder => "pause of the order leader",
            Self::PauseCatalog => "pause of the catalog leader",
        }
    }

    /// Whose leader it hits, by which command, and by which command that is undone.
    fn strikes(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::KillOrder => Some(("order", "kill", "start")),
            Self::KillCatalog => Some(("catalog", "kill", "start")),
            Self::PauseOrder => Some(("order", "pause", "resume")),
            Self::PauseCatalog => Some(("catalog", "pause", "resume")),
        }
    }
}

/// What the samples of one fault come to, in milliseconds.
#[derive(Debug, Serialize)]
struct Row {
    fault: Fault,
    trials: usize,
    min_ms: f64,
    median_ms: f64,
    max_ms: f64,
    samples_ms: Vec<f64>,
}

impl Row {
    fn new(fault: Fault, samples: &[Duration]) -> Self {
        let samples_ms: Vec<_> = samples.iter().map(|it| it.as_secs_f64() * 1e3).collect();
        let mut sorted = samples_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median_ms = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self {
            fault,
            trials: sorted.len(),
            min_ms: sorted[0],
            median_ms,
            max_ms: sorted[sorted.len() - 1],
            samples_ms,
        }
    }
}

/// The result.
#[derive(Debug, Serialize)]
struct Report {
    connections: u32,
    /// Trades that were accepted in all.
    accepted: u64,
    /// Requests that failed for the client, in all.
    failed: u64,
    /// Answers from the past.
    stale: u64,
    rows: Vec<Row>,
}

impl Report {
    fn to_text(&self) -> String {
        let Self {
            connections,
            accepted,
            failed,
            stale,
            ..
        } = self;
        format!(
            "{}\n{connections} connections; {accepted} trades accepted, {failed} requests failed, \
             {stale} answers from the past",
            self.table()
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "without an accepted trade",
            "trials",
            "min",
            "median",
            "max",
        ]);
        for row in &self.rows {
            let ms = |value: f64| format!("{value:.1} ms");
            table.add_row([
                row.fault.label().into(),
                row.trials.to_string(),
                ms(row.min_ms),
                ms(row.median_ms),
                ms(row.max_ms),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    // On this very thread, with which the cluster ends.
    let report = runtime.block_on(measure(&arguments))?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_text()
    };
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(if report.failed + report.stale == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let faults = if arguments.only.is_empty() {
        Fault::ALL.to_vec()
    } else {
        arguments.only.clone()
    };
    eprintln!("starting three catalogs, three orders and two frontends …");
    let cluster = Cluster::start(arguments).await?;
    let load = Load::start(LoadConfig {
        urls: cluster.urls.clone(),
        connections: arguments.connections,
        rate: arguments.rate,
        trade_probability: Probability::new(1.0)?,
        duration: Duration::from_secs(24 * 3600),
        no_verify: true,
        log: Some(cluster.dir().join("orders.ndjson")),
        ..LoadConfig::default()
    })
    .await?;
    let handle = load.handle();
    sleep(WARM_UP).await;
    let mut samples = BTreeMap::<Fault, Vec<Duration>>::new();
    // By turns, so that whatever else the machine does is spread over all of them.
    for trial in 1..=arguments.trials {
        for fault in &faults {
            let gap = attempt(*fault, &cluster, &handle).await?;
            eprintln!("{trial:>4}  {:<30} {gap:>10.1?}", fault.label());
            samples.entry(*fault).or_default().push(gap);
        }
    }
    let progress = handle.progress();
    handle.stop();
    load.ended().await?;
    cluster.stop(arguments.keep).await?;
    let of_trades = progress.totals.answered.get(&Kind::Trade).copied();
    Ok(Report {
        connections: arguments.connections,
        accepted: of_trades.unwrap_or_default(),
        failed: progress.totals.errors.values().sum(),
        stale: progress.stale,
        rows: samples
            .iter()
            .map(|(fault, samples)| Row::new(*fault, samples))
            .collect(),
    })
}

/// One trial: the longest time without an accepted trade around `fault`.
async fn attempt(fault: Fault, cluster: &Cluster, load: &Handle) -> anyhow::Result<Duration> {
    cluster.whole().await?;
    let target = match fault.strikes() {
        Some((kind, ..)) => Some(cluster.leader(kind).await?),
        None => None,
    };
    sleep(CALM).await;
    load.forget_gap();
    if let (Some((_, strike, _)), Some(target)) = (fault.strikes(), &target) {
        cluster.control(strike, target).await?;
    }
    let struck = Instant::now();
    sleep(WATCHED).await;
    // A gap counts when it has ended.
    let trades = |progress: &bazaar_client::Progress| {
        progress
            .totals
            .answered
            .get(&Kind::Trade)
            .copied()
            .unwrap_or_default()
    };
    let before = trades(&load.progress());
    load.until(|progress| trades(progress) > before, PATIENCE)
        .await?;
    let gap = load.progress().longest_gap.length();
    ensure!(
        gap <= struck.elapsed() + PATIENCE,
        "a gap longer than it was watched"
    );
    if let (Some((.., undo)), Some(target)) = (fault.strikes(), &target) {
        cluster.control(undo, target).await?;
    }
    Ok(gap)
}

/// A cluster of real processes, in a directory of its own. It ends with this process.
struct Cluster {
    bazaar: PathBuf,
    up: Child,
    urls: Vec<BaseUrl>,
    /// Kept open, so that nothing the cluster prints fails.
    _stdout: Lines<BufReader<ChildStdout>>,
    dir: TempDir,
}

/// What `bazaar status --json` prints.
#[derive(Debug, Deserialize)]
struct Status {
    processes: Vec<Process>,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    state: String,
    role: Option<String>,
    term: Option<u64>,
    lag: Option<u64>,
}

impl Process {
    fn is_whole(&self) -> bool {
        self.state == "running"
            && match self.role.as_deref() {
                Some("leader" | "follower") => self.lag.is_some_and(|lag| lag <= CAUGHT_UP),
                // Of a replica it is known as soon as it answers.
                Some(_) => false,
                None => !self.name.starts_with("order/") && !self.name.starts_with("catalog/"),
            }
    }
}

impl Cluster {
    async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let bazaar = arguments.bazaar.clone();
        let dir = tempfile::Builder::new().prefix("failover-").tempdir()?;
        let mut up = Command::new(&bazaar)
            .args(["up", "--http", "127.0.0.1:0"])
            .args(["--catalogs", "3", "--orders", "3", "--frontends", "2"])
            .args(["--supervised-by", &std::process::id().to_string()])
            .arg("--data-dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| bazaar.display().to_string())?;
        let stdout = up.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await?.unwrap_or_default();
        let urls = line
            .strip_prefix("ready ")
            .with_context(|| format!("the cluster is not ready: {line:?}"))?;
        Ok(Self {
            bazaar,
            up,
            urls: urls.split(' ').map(str::parse).collect::<Result<_, _>>()?,
            _stdout: lines,
            dir,
        })
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `bazaar <arguments>` prints.
    async fn command(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = Command::new(&self.bazaar)
            .args(arguments)
            .arg("--data-dir")
            .arg(self.dir())
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("bazaar {}: {}", arguments.join(" "), said.trim());
        }
        Ok(output.stdout)
    }

    async fn control(&self, verb: &str, name: &str) -> anyhow::Result<()> {
        self.command(&[verb, name]).await.map(drop)
    }

    async fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let status: Status = serde_json::from_slice(&self.command(&["status", "--json"]).await?)?;
        Ok(status.processes)
    }

    /// Waits until every process runs and every replica has caught up.
    async fn whole(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let processes = self.processes().await?;
            if processes.iter().all(Process::is_whole) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not whole again: {processes:?}");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The replica of `kind` that leads.
    async fn leader(&self, kind: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leads = |process: &Process| {
                process.role.as_deref() == Some("leader") && process.name.starts_with(kind)
            };
            let processes = self.processes().await?.into_iter();
            if let Some(leader) = processes.filter(leads).max_by_key(|it| it.term) {
                return Ok(leader.name);
            }
            ensure!(Instant::now() < deadline, "no {kind} leads");
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn stop(mut self, keep: bool) -> anyhow::Result<()> {
        if let Some(pid) = self.up.id() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        let ended = tokio::time::timeout(PATIENCE, self.up.wait()).await;
        ended.context("the cluster does not stop")??;
        if keep {
            eprintln!("kept {}", self.dir.keep().display());
        }
        Ok(())
    }
}
