//! Disks that are full, fail, lie or lose power.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bazaar_rpc::ServiceName;
use futures::future::{join_all, try_join_all};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use tokio::time::{Instant, sleep};

use crate::torture::arena::GROUPS;
use crate::torture::damage;
use crate::torture::disk::{Disk, PowerCut, SyncFault, Times};
use crate::torture::fault::Fault;
use crate::torture::strike::Strike;

/// How much room a disk has left when it is said to be full, in bytes at the most.
const MAX_ROOM: u64 = 16 << 10;

/// How long a sync takes on a disk whose power is about to be cut: some of a hard disk's.
const SYNC_TIME: Duration = Duration::from_millis(20);

/// How long to wait for something that is not synced before the power is cut.
const UNSYNCED_LIMIT: Duration = Duration::from_secs(2);

/// How long the other replicas of a group may take to agree without one.
const AGREE_LIMIT: Duration = Duration::from_secs(30);

/// How long a replica may take to follow again.
const RETURN_LIMIT: Duration = Duration::from_secs(30);

/// How often to look whether they do.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A replica's disk is full.
pub(crate) async fn full(strike: &mut Strike) -> anyhow::Result<()> {
    let group = strike.some_group();
    let victim = strike.some_replica(group).await?;
    let room = strike.random.random_range(0..=MAX_ROOM);
    disk(strike, victim)?;
    let lasts = strike.planned.lasts;
    strike.begin(format_args!(
        "{victim}'s disk is full but for {room} bytes, for {lasts:?}"
    ))?;
    disk(strike, victim)?.fill(room);
    strike.lasts().await;
    strike.met("refused writes", disk(strike, victim)?.found_full());
    disk(strike, victim)?.repair();
    strike.arena().hurry(victim).await
}

/// A replica's fsync fails, or lies. What it was to write is lost in the end: the power is cut.
///
/// The replica then has forgotten what it acknowledged. While it is down the others learn from each
/// other all that it may have been needed for; only then it returns.
pub(crate) async fn bad_sync(strike: &mut Strike) -> anyhow::Result<()> {
    let group = strike.some_group();
    let victim = strike.some_replica(group).await?;
    let (fault, what) = match strike.planned.fault {
        Fault::FsyncFails => (SyncFault::Fail, "fails"),
        _ => (SyncFault::Lie, "lies"),
    };
    ensure!(
        strike.arena().members(group).len() > 2,
        "a group of {} cannot spare a replica that forgets",
        strike.arena().members(group).len()
    );
    disk(strike, victim)?;
    let lasts = strike.planned.lasts;
    strike.begin(format_args!(
        "{victim}'s fsync {what} for {lasts:?}, then its power is cut"
    ))?;
    disk(strike, victim)?.break_sync(fault, Times::Always, "".as_ref());
    strike.lasts().await;
    strike.arena().down(victim).await?;
    strike.met("syncs", disk(strike, victim)?.broken_syncs());
    strike.world.forgetful.add(victim);
    let forgot = forget(strike, victim).await;
    disk(strike, victim)?.repair();
    match forgot {
        Ok(()) => damage::see_what_it_makes_of_it(strike, victim).await,
        Err(failure) => {
            strike.arena().up(victim).await?;
            Err(failure)
        }
    }
}

/// Cuts the power of `victim`, which is down, once the others can do without what it knew.
async fn forget(strike: &mut Strike, victim: ServiceName) -> anyhow::Result<()> {
    others_know_all(strike, victim).await?;
    let seed = strike.planned.seed;
    // A clean cut takes the replica back in time, which it cannot notice; a torn one leaves holes.
    let cut = if strike.random.random() {
        PowerCut::Clean
    } else {
        PowerCut::Torn(seed)
    };
    let report = disk(strike, victim)?.cut(cut)?;
    let (names, kept) = report.names;
    let (files, lost) = (report.files.len(), names - kept);
    strike.note(format_args!(
        "{cut:?}: lost of {files} files what was not synced, and {lost} names"
    ));
    Ok(())
}

/// Waits until every other replica of `victim`'s group, which is down, has applied all that any of
/// them has in its log: what the group has acknowledged is then with every one of them.
pub(crate) async fn others_know_all(strike: &Strike, victim: ServiceName) -> anyhow::Result<()> {
    let arena = strike.arena();
    let begun = Instant::now();
    let mut goal = None;
    loop {
        let processes = arena.status().await?.processes.into_iter();
        let others: Vec<_> = processes
            .filter(|it| it.name.kind == victim.kind && it.name != victim)
            .collect();
        let logs: Option<Vec<u64>> = others.iter().map(|it| it.last_log).collect();
        goal = goal.or_else(|| logs.and_then(|logs| logs.into_iter().max()));
        let knows = |applied: Option<u64>| goal.is_some_and(|goal| applied >= Some(goal));
        if others.iter().all(|it| knows(it.last_applied)) {
            return Ok(());
        }
        if begun.elapsed() > AGREE_LIMIT {
            bail!("the others did not agree within {AGREE_LIMIT:?} without {victim}");
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until a replica follows its leader, and says so.
pub(crate) async fn follows_again(strike: &Strike, victim: ServiceName) -> anyhow::Result<()> {
    match strike.arena().is_well_within(victim, RETURN_LIMIT).await? {
        Some(took) => {
            strike.world.forgetful.remove(victim);
            strike.note(format_args!("{victim} follows again after {took:.1?}"));
        }
        None => strike.note(format_args!(
            "{victim} does not follow within {RETURN_LIMIT:?}"
        )),
    }
    Ok(())
}

/// One, most or all replicas lose power: what they had not synced is gone.
pub(crate) async fn power_cut(strike: &mut Strike) -> anyhow::Result<()> {
    let group = strike.some_group();
    let mut members = strike.arena().members(group);
    members.shuffle(&mut strike.random);
    let victims = match strike.planned.fault {
        Fault::PowerCutOne => members[..1].to_vec(),
        Fault::PowerCutMost => members[..members.len() / 2 + 1].to_vec(),
        _ => GROUPS
            .iter()
            .flat_map(|kind| strike.arena().members(*kind))
            .collect(),
    };
    for victim in &victims {
        disk(strike, *victim)?;
    }
    let names: Vec<_> = victims.iter().map(ToString::to_string).collect();
    let lasts = strike.planned.lasts;
    strike.begin(format_args!(
        "no power for {}, for {lasts:?}",
        names.join(", ")
    ))?;
    switch_off(strike, &victims).await?;
    let killed = join_all(victims.iter().map(|victim| strike.arena().down(*victim))).await;
    let killed: anyhow::Result<Vec<bool>> = killed.into_iter().collect();
    let cut = cut_all(strike, &victims);
    strike.lasts().await;
    try_join_all(victims.iter().map(|victim| strike.arena().up(*victim))).await?;
    killed.and(cut)
}

/// Takes the power away from `victims`, if possible while one of them waits for a sync.
async fn switch_off(strike: &mut Strike, victims: &[ServiceName]) -> anyhow::Result<()> {
    let disks: Vec<_> = victims
        .iter()
        .map(|victim| disk(strike, *victim))
        .collect::<Result<_, _>>()?;
    for disk in &disks {
        disk.slow_sync(SYNC_TIME);
    }
    let deadline = Instant::now() + UNSYNCED_LIMIT;
    while disks.iter().all(|disk| disk.is_synced()) && Instant::now() < deadline {
        sleep(Duration::from_millis(1)).await;
    }
    for disk in disks {
        disk.switch_off();
    }
    Ok(())
}

/// Cuts the power of replicas that are down.
fn cut_all(strike: &Strike, victims: &[ServiceName]) -> anyhow::Result<()> {
    for (victim, salt) in victims.iter().zip(0..) {
        let how = PowerCut::Torn(strike.planned.seed.wrapping_add(salt));
        let disk = disk(strike, *victim)?;
        let report = disk.cut(how)?;
        disk.repair();
        let lost = report
            .files
            .iter()
            .map(|(_, loss)| loss.unsynced - loss.kept);
        strike.met("lost bytes", lost.sum());
        strike.met("lost names", (report.names.0 - report.names.1) as u64);
        if !report.files.is_empty() || report.names.0 > 0 {
            let (names, kept) = report.names;
            strike.note(format_args!(
                "{victim} had not synced {} files and {names} names, of which {kept} are left",
                report.files.len()
            ));
        }
    }
    Ok(())
}

fn disk(strike: &Strike, name: ServiceName) -> anyhow::Result<&Disk> {
    let disk = strike.world.equipment.disk(name);
    disk.with_context(|| format!("{name} has no disk of its own"))
}
