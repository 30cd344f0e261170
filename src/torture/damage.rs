//! Files that are damaged, or lost, while their process is down.
//!
//! A replica that starts with damaged ones has two ways to keep its promises: to refuse, naming the
//! file, or to find that nothing is missing that it has acknowledged and to fetch the rest. Where it
//! refuses, the others serve; then it is replaced, which is what its message says to do, by one that
//! gets everything from its group.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
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
    let victim = take_down(strike, group, "damaged").await?;
    let corruption = match damage_files(strike, victim, target, damage).await {
        Ok(corruption) => corruption,
        Err(failure) => {
            strike.arena().up(victim).await?;
            return Err(failure);
        }
    };
    strike.note(&corruption);
    see_what_it_makes_of_it(strike, victim).await?;
    strike.met("damaged files", 1);
    Ok(())
}

/// Takes away a replica's files, and replaces it.
pub(crate) async fn lose(strike: &mut Strike) -> anyhow::Result<()> {
    let group = strike.some_group();
    let victim = take_down(strike, group, "lost").await?;
    let lost = lose_files(strike, victim).await;
    strike.lasts().await;
    strike.arena().replace(victim).await?;
    lost?;
    strike.met("lost directories", 1);
    follows_again(strike, victim).await
}

/// Kills a replica of `group`, whose files are to be `what`.
async fn take_down(
    strike: &mut Strike,
    group: ServiceKind,
    what: &str,
) -> anyhow::Result<ServiceName> {
    let members = strike.arena().members(group).len();
    ensure!(members > 2, "a group of {members} cannot spare a replica");
    let victim = strike.some_replica(group).await?;
    strike.begin(format_args!("{victim} is killed, and its files are {what}"))?;
    strike.arena().down(victim).await?;
    strike.world.forgetful.add(victim);
    Ok(victim)
}

async fn lose_files(strike: &Strike, victim: ServiceName) -> anyhow::Result<()> {
    others_know_all(strike, victim).await?;
    let dir = strike.arena().data_dir(victim);
    spawn_blocking(move || empty(&dir)).await??;
    settle(strike, victim);
    Ok(())
}

/// Starts `victim`, whose files are not what they were, and waits until it follows its leader again.
/// Where it refuses it is replaced when the fault is to be over.
pub(crate) async fn see_what_it_makes_of_it(
    strike: &Strike,
    victim: ServiceName,
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
    strike.arena().replace(victim).await?;
    strike.note("it was replaced");
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
async fn damage_files(
    strike: &Strike,
    victim: ServiceName,
    target: Target,
    damage: Damage,
) -> anyhow::Result<Corruption> {
    others_know_all(strike, victim).await?;
    let seed = strike.planned.seed;
    let dir = strike.arena().data_dir(victim);
    let damaged = spawn_blocking(move || corrupt(&dir, target, damage, seed)).await?;
    settle(strike, victim);
    Ok(damaged?)
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

/// Removes everything in `dir`, which may be where a disk is mounted.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
