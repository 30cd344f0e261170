//! What fifty logins at once cost everybody else: lookups' latency with them and without.
//!
//! ```text
//! cargo bench --bench logins
//! ```
//!
//! Starts a cluster of real processes (`bazaar up`), looks an item up at a fixed rate over HTTP, and
//! measures each lookup from the moment at which it was due. By turns nobody logs in, or fifty try to
//! at once; what is measured then ends with the last of them. They are nobody's logins, which cost
//! what a real one does.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use futures::future::{join_all, try_join_all};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::sleep_until;

/// Who looks up, each on a connection of its own, and how often.
const CONNECTIONS: usize = 16;
const INTERVAL: Duration = Duration::from_millis(10);

/// How many log in at once. Twice as many may within a minute, from one address.
const LOGINS: usize = 50;
const TURNS: usize = 2;

/// How long a turn without logins takes.
const CALM: Duration = Duration::from_secs(2);

/// Measures what logins cost lookups.
#[derive(Debug, Parser)]
struct Arguments {
    /// The command to measure; the one that was built with this by default.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_bazaar"))]
    bazaar: PathBuf,

    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    // On this very thread, with which the cluster ends.
    let text = runtime.block_on(measure(&arguments))?;
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("logins-").tempdir()?;
    let (mut up, address) = start(arguments, dir.path()).await?;
    // The cache is warm, and the first requests are over.
    during(address, tokio::time::sleep(CALM)).await?;
    let (mut calm, mut busy) = (Vec::new(), Vec::new());
    let mut logging_in = Duration::ZERO;
    for turn in 0..TURNS {
        calm.extend(during(address, tokio::time::sleep(CALM)).await?.0);
        let begun = Instant::now();
        let logins = (0..LOGINS).map(|n| login(address, turn * LOGINS + n));
        let (lookups, answers) = during(address, join_all(logins)).await?;
        logging_in += begun.elapsed();
        for status in answers {
            ensure!(
                status? == StatusCode::UNAUTHORIZED,
                "a login was not answered"
            );
        }
        busy.extend(lookups);
    }
    up.start_kill()?;
    up.wait().await?;
    let rate = (TURNS * LOGINS) as f64 / logging_in.as_secs_f64();
    Ok(format!(
        "{}\n{rate:.0} logins/s, {LOGINS} at once",
        table(&[("nobody logs in", calm), ("fifty log in at once", busy)])
    ))
}

async fn start(
    arguments: &Arguments,
    dir: &std::path::Path,
) -> anyhow::Result<(Child, SocketAddr)> {
    let mut up = Command::new(&arguments.bazaar)
        .args(["up", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .args(["--supervised-by", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| arguments.bazaar.display().to_string())?;
    let stdout = up.stdout.take().expect("standard output is piped");
    let line = BufReader::new(stdout).lines().next_line().await?;
    let line = line.unwrap_or_default();
    let address = line
        .strip_prefix("ready http://")
        .with_context(|| format!("the cluster is not ready: {line:?}"))?;
    Ok((up, address.parse()?))
}

/// Looks up until `work` is done; returns how long each lookup took, and what `work` came to.
async fn during<T>(
    address: SocketAddr,
    work: impl Future<Output = T>,
) -> anyhow::Result<(Vec<Duration>, T)> {
    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let lookups = (0..CONNECTIONS).map(|n| {
        let first = begun + INTERVAL * u32::try_from(n).unwrap_or(0) / CONNECTIONS as u32;
        tokio::spawn(look_up(address, first, stopped.clone()))
    });
    let lookups: Vec<_> = lookups.collect();
    let done = work.await;
    stop.send_replace(true);
    let mut latencies = Vec::new();
    for lookup in try_join_all(lookups).await? {
        latencies.extend(lookup?);
    }
    Ok((latencies, done))
}

/// Looks an item up at every interval from `first` on.
async fn look_up(
    address: SocketAddr,
    first: Instant,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = connect(address).await?;
    let mut latencies = Vec::new();
    let mut due = first;
    while !*stopped.borrow() {
        sleep_until(due.into()).await;
        let request = Request::get("/stocks/GameStart").header("host", "bazaar");
        let request = request.body(Full::default())?;
        ensure!(answer(&mut connection, request).await? == StatusCode::OK);
        latencies.push(due.elapsed());
        due += INTERVAL;
    }
    Ok(latencies)
}

async fn login(address: SocketAddr, number: usize) -> anyhow::Result<StatusCode> {
    let mut connection = connect(address).await?;
    let body = json!({"user_name": format!("nobody{number}"), "password": "open sesame"});
    let request = Request::post("/users/login").header("host", "bazaar");
    let request = request.body(Full::from(body.to_string()))?;
    answer(&mut connection, request).await
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn answer(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<StatusCode> {
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

fn table(rows: &[(&str, Vec<Duration>)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["lookups while", "count", "p50", "p99", "p99.9", "max"]);
    for (label, latencies) in rows {
        let mut sorted = latencies.clone();
        sorted.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
            let latency = sorted.get(rank).copied().unwrap_or_default();
            format!("{:.2} ms", latency.as_secs_f64() * 1e3)
        };
        table.add_row([
            (*label).into(),
            sorted.len().to_string(),
            at(500),
            at(990),
            at(999),
            at(1000),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
