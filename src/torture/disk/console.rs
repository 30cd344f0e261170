//! `bazaar disk`: a disk that fails on command, for trying out what a process makes of it.
//!
//! Commands come from standard input, one a line, and each is answered by one line of JSON. At the
//! input's end the disk is unmounted.

use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::corrupt::{Damage, Target, corrupt};
use super::{Disk, Names, PowerCut, SyncFault, Times};

/// The most that a torn tail loses, in bytes.
const TAIL: u64 = 4096;

/// What disk, and where.
///
/// The commands, each with the path that it is limited to where it may have one: `cut [SEED]`,
/// `fail-sync TIMES [PATH]`, `lie TIMES [PATH]`, `fail-read TIMES [PATH]` with a number or `always`,
/// `slow-sync TIME`, `fill BYTES`, `repair`, `settle`, `off` (before `cut`), `syncs`; and, while the process does not run,
/// `corrupt TARGET DAMAGE SEED`, with a target of `log`, `vote`, `store`, `catalog`, `identity` and a
/// damage of `torn-tail`, `flipped-bit`, `truncation`, `blank-sector`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// Where to mount it: an empty directory, or none.
    #[arg(value_name = "MOUNT POINT")]
    mount_point: PathBuf,

    /// Where its files lie.
    #[arg(value_name = "DIR")]
    backing: PathBuf,

    /// A sync of a file makes the names of files durable, too.
    #[arg(long)]
    any_sync_names: bool,
}

/// Serves the disk until standard input ends.
///
/// # Errors
/// When it cannot be mounted.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let names = if config.any_sync_names {
        Names::ByAnySync
    } else {
        Names::ByDirectory
    };
    let disk = Disk::mount(&config.mount_point, &config.backing, names)?;
    answer(&json!({ "mounted": disk.mount_point() }))?;
    for line in io::stdin().lock().lines() {
        let outcome = execute(&disk, &line?);
        answer(&outcome.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })))?;
    }
    Ok(())
}

fn answer(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn execute(disk: &Disk, line: &str) -> anyhow::Result<Value> {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let (first, second) = (words.next(), words.next());
    let within = Path::new(second.unwrap_or_default());
    match verb {
        "cut" => {
            let how = match first {
                None => PowerCut::Clean,
                Some(_) => PowerCut::Torn(number(first, "a seed")?),
            };
            let report = disk.cut(how)?;
            let files = report.files.iter().map(|(path, loss)| {
                json!({ "file": path, "unsynced": loss.unsynced, "kept": loss.kept })
            });
            let files: Vec<_> = files.collect();
            let (names, kept) = report.names;
            return Ok(json!({ "names": names, "names_kept": kept, "files": files }));
        }
        "fail-sync" => disk.break_sync(SyncFault::Fail, times(first)?, within),
        "lie" => disk.break_sync(SyncFault::Lie, times(first)?, within),
        "fail-read" => disk.break_read(times(first)?, within),
        "slow-sync" => {
            let delay = humantime::parse_duration(first.unwrap_or_default());
            disk.slow_sync(delay.context("a time")?);
        }
        "fill" => disk.fill(number(first, "how many bytes")?),
        "repair" => disk.repair(),
        "settle" => disk.settle(),
        "off" => disk.switch_off(),
        "syncs" => {}
        "corrupt" => {
            let (target, damage) = (target(first)?, damage(second)?);
            let seed = number(words.next(), "a seed")?;
            let done = corrupt(disk.mount_point(), target, damage, seed)?;
            return Ok(json!({ "corrupted": done.to_string() }));
        }
        _ => bail!("there is no command {verb:?}"),
    }
    Ok(json!({ "syncs": disk.syncs() }))
}

fn target(word: Option<&str>) -> anyhow::Result<Target> {
    Ok(match word {
        Some("log") => Target::Log,
        Some("vote") => Target::Vote,
        Some("store") => Target::OrderStore,
        Some("catalog") => Target::Catalog,
        Some("identity") => Target::Identity,
        _ => bail!("a target: log, vote, store, catalog or identity"),
    })
}

fn damage(word: Option<&str>) -> anyhow::Result<Damage> {
    Ok(match word {
        Some("torn-tail") => Damage::TornTail(TAIL),
        Some("flipped-bit") => Damage::FlippedBit,
        Some("truncation") => Damage::Truncation,
        Some("blank-sector") => Damage::BlankSector,
        _ => bail!("a damage: torn-tail, flipped-bit, truncation or blank-sector"),
    })
}

fn number<T: FromStr>(word: Option<&str>, what: &'static str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    word.unwrap_or_default().parse().context(what)
}

fn times(word: Option<&str>) -> anyhow::Result<Times> {
    match word {
        Some("always") => Ok(Times::Always),
        _ => Ok(Times::Next(number(word, "how often: a number, or always")?)),
    }
}
