//! A whole run, from flags to exit status.

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use tokio::signal::ctrl_c;
use tokio::time::{MissedTickBehavior, interval};

use crate::progress::{self, Bar};
use crate::{Config, Ended, Load, Report, sweep};

/// Runs a load to its end and judges it. The first Ctrl-C ends the load early, and it is judged; the
/// second ends everything. On a terminal a progress bar is drawn meanwhile.
///
/// # Errors
/// When the load could not be run or judged. That it was found wanting is no error: see
/// [`Report::failures`].
pub async fn run(config: Config) -> anyhow::Result<Report> {
    let bar = Bar::new(&config);
    let load = Load::start(config).await?;
    let ended = watch(load, &bar).await?;
    bar.judging();
    tokio::select! {
        report = ended.judge() => report,
        _ = ctrl_c() => bail!("interrupted while orders were read back"),
    }
}

async fn watch(load: Load, bar: &Bar) -> anyhow::Result<Ended> {
    let handle = load.handle();
    let mut ticks = interval(progress::PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = false;
    let ended = load.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return ended,
            _ = ticks.tick() => bar.show(&handle.progress()),
            _ = ctrl_c() => {
                ensure!(!interrupted, "interrupted");
                interrupted = true;
                handle.stop();
            }
        }
    }
}

/// The command line: runs a load or a sweep, prints and writes what was asked for. The exit code
/// says whether every check was passed and every service level met.
///
/// # Errors
/// When the load could not be run or judged, or a file could not be written.
pub async fn execute(config: Config) -> anyhow::Result<ExitCode> {
    let failures = match config.sweep.clone() {
        Some(svg) => {
            let uncached = config.uncached_urls.clone();
            let report = config
                .report
                .clone()
                .unwrap_or_else(|| svg.with_extension("json"));
            let sweep = sweep(&config, config.urls.clone(), uncached).await?;
            write_file(&svg, sweep.svg().as_bytes())?;
            write_file(&report, &json(&sweep)?)?;
            print(config.json, &sweep)?;
            sweep.failures
        }
        None => {
            let report = run(config.clone()).await?;
            if let Some(path) = &config.report {
                write_file(path, &json(&report)?)?;
            }
            print(config.json, &report)?;
            report.failures()
        }
    };
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn json(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

fn print(as_json: bool, value: &(impl Serialize + std::fmt::Display)) -> anyhow::Result<()> {
    let text = if as_json {
        json(value)?
    } else {
        value.to_string().into_bytes()
    };
    stdout()
        .write_all(&text)
        .context("cannot write to standard output")
}

fn write_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
