//! Files that are damaged while their process is down.
//!
//! A replica that starts with them has two ways to keep its promises: to refuse, naming the file, or
//! to find that nothing is missing that it has acknowledged and to fetch the rest. Where it refuses,
//! the others serve; then it gets its directory back, complete and as it was last, which is what its
//! message says to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bazaar_rpc::{ServiceKind, ServiceName};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::lifecycle::State;
use crate::process_log::ProcessLog;
use crate::torture::disk::corrupt::{Corruption, Damage, Target, corrupt};
use crate::torture::disk_faults::{follows_again, others_know_all};
use crate::torture::fault::Fault;
use crate::torture::strike::Strike;

/// The most that a torn tail lacks, in bytes.
const MAX_TORN: u64 = 4096;

/// How long a replica may take to follow its leader, or to refuse to.
const DECISION_LIMIT: Duration = Duration::from_secs(30);

/// How often to look whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The files of a data directory, while there.
pub(crate) struct Backup {
    of: PathBuf,
    at: PathBuf,
}

/// What a replica made of its damaged files.
enum Decision {
    Serves(Duration),
    Refuses,
}

/// Damages a replica's files as the fault says, and has it start with them.
pub(crate) async fn inject(strike: &mut Strike) -> anyhow::Result<()> {
    let (target, damage) = what(strike.planned.fault)?;
    let group = match target {
        Target::Catalog => ServiceKind::Catalog,
        Target::OrderStore => ServiceKind::Order,
        Target::Log | Target::Vote | Target::Identity => strike.some_group(),
    };
    let members = strike.arena().members(group).len();
    ensure!(members > 2, "a group of {members} cannot spare a replica");
    let victim = strike.some_replica(group).await?;
    strike.begin(format_args!(
        "{victim} is killed, and its files are damaged"
    ))?;
    strike.arena().down(victim).await?;
    strike.world.forgetful.add(victim);
    let backup = keep_and_damage(strike, victim, target, damage).await;
    let (backup, corruption) = match backup {
        Ok(damaged) => damaged,
        Err(failure) => {
            strike.arena().up(victim).await?;
            return Err(failure);
        }
    };
    strike.note(&corruption);
    see_what_it_makes_of_it(strike, victim, backup).await?;
    strike.met("damaged files", 1);
    Ok(())
}

/// Starts `victim`, whose files are not what they were, and waits until it follows its leader again.
/// Where it refuses it gets them back when the fault is to be over.
pub(crate) async fn see_what_it_makes_of_it(
    strike: &Strike,
    victim: ServiceName,
    backup: Backup,
) -> anyhow::Result<()> {
    let log = ProcessLog::open(&strike.arena().log(victim));
    strike.arena().up(victim).await?;
    let (log, _) = log?;
    match decision(strike, victim).await? {
        Decision::Serves(after) => {
            strike.note(format_args!("{victim} serves again after {after:.1?}"));
            strike.lasts().await;
            if follows_again(strike, victim).await.is_ok() {
                return Ok(());
            }
            strike.note(format_args!("{victim} has given up: {}", log.last_words()));
            strike.arena().down(victim).await?;
        }
        Decision::Refuses => {
            strike.note(format_args!("{victim} refuses: {}", log.last_words()));
            strike.arena().down(victim).await?;
            strike.lasts().await;
        }
    }
    let of = backup.of.clone();
    let restored = spawn_blocking(move || backup.restore()).await?;
    settle(strike, victim);
    strike.arena().up(victim).await?;
    restored.with_context(|| format!("{}: cannot be put back", of.display()))?;
    strike.note("its directory was put back as it was");
    follows_again(strike, victim).await
}

fn what(fault: Fault) -> anyhow::Result<(Target, Damage)> {
    Ok(match fault {
        Fault::TornTail => (Target::Log, Damage::TornTail(MAX_TORN)),
        Fault::FlipLog => (Target::Log, Damage::FlippedBit),
        Fault::BlankLog => (Target::Log, Damage::BlankSector),
        Fault::FlipVote => (Target::Vote, Damage::FlippedBit),
        Fault::FlipSnapshot => (Target::OrderStore, Damage::FlippedBit),
        Fault::FlipCatalog => (Target::Catalog, Damage::FlippedBit),
        Fault::TruncateLog => (Target::Log, Damage::Truncation),
        Fault::TruncateVote => (Target::Vote, Damage::Truncation),
        Fault::TruncateSnapshot => (Target::OrderStore, Damage::Truncation),
        Fault::TruncateCatalog => (Target::Catalog, Damage::Truncation),
        Fault::FlipIdentity => (Target::Identity, Damage::FlippedBit),
        other => bail!("{other} damages no file"),
    })
}

/// Damages the files of `victim`, which is down, once the others of its group know all that it knew.
async fn keep_and_damage(
    strike: &Strike,
    victim: ServiceName,
    target: Target,
    damage: Damage,
) -> anyhow::Result<(Backup, Corruption)> {
    others_know_all(strike, victim).await?;
    let seed = strike.planned.seed;
    let backup = Backup::take(strike, victim).await?;
    let damaged = spawn_blocking(move || {
        let corruption = corrupt(&backup.of, target, damage, seed)?;
        anyhow::Ok((backup, corruption))
    });
    let damaged = damaged.await?;
    settle(strike, victim);
    damaged
}

/// Waits until the replica follows its leader, or has given up.
async fn decision(strike: &Strike, victim: ServiceName) -> anyhow::Result<Decision> {
    let arena = Arc::clone(&strike.world);
    let begun = Instant::now();
    while begun.elapsed() < DECISION_LIMIT {
        if arena.arena.process(victim).await?.state == State::Restarting {
            return Ok(Decision::Refuses);
        }
        let follows = arena.arena.is_well_within(victim, LOOK_AGAIN).await?;
        if follows.is_some() {
            return Ok(Decision::Serves(begun.elapsed()));
        }
        sleep(LOOK_AGAIN).await;
    }
    bail!("{victim} neither serves nor refuses after {DECISION_LIMIT:?}")
}

/// Makes what was done to the files of `victim` durable.
fn settle(strike: &Strike, victim: ServiceName) {
    if let Some(disk) = strike.world.equipment.disk(victim) {
        disk.settle();
    }
}

impl Backup {
    /// Of the directory of `victim`, which is down.
    pub(crate) async fn take(strike: &Strike, victim: ServiceName) -> anyhow::Result<Self> {
        let name = format!("{:016x}", strike.planned.seed);
        let backup = Self {
            of: strike.arena().data_dir(victim),
            at: strike.world.dir.join("backups").join(name),
        };
        spawn_blocking(move || copy(&backup.of, &backup.at).map(|()| backup))
            .await?
            .context("its files cannot be copied")
    }

    /// Puts the files back, and nothing else stays.
    fn restore(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.of)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        copy(&self.at, &self.of)?;
        fs::remove_dir_all(&self.at)
    }
}

/// Copies the files in `from`, and those in its directories, to `to`.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_put_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (of, at) = (dir.path().join("data"), dir.path().join("backup"));
        fs::create_dir_all(of.join("log")).unwrap();
        fs::write(of.join("log/one"), "one").unwrap();
        copy(&of, &at).unwrap();
        fs::write(of.join("log/one"), "other").unwrap();
        fs::write(of.join("two"), "two").unwrap();
        let backup = Backup { of: of.clone(), at };
        backup.restore().unwrap();
        assert_eq!(fs::read_to_string(of.join("log/one")).unwrap(), "one");
        assert!(!of.join("two").exists() && !backup.at.exists());
    }
}
