//! Processes die, stand still, and have the time of day taken from them.

use std::time::Duration;

use anyhow::Context as _;
use bazaar_rpc::ServiceKind;
use futures::future::{join_all, try_join_all};
use rand::RngExt as _;

use crate::torture::clock::Jump;
use crate::torture::strike::Strike;

/// How long a cluster may take to be whole before the next process is restarted.
const WHOLE_LIMIT: Duration = Duration::from_secs(30);

/// What these faults meet.
const PROCESSES: &str = "processes";

/// The longest jump of a clock.
const LONGEST_JUMP: Duration = Duration::from_hours(24 * 365 * 10);

/// Kill -9 of any one process.
pub(crate) async fn kill(strike: &mut Strike) -> anyhow::Result<()> {
    let victim = strike.some_process().await?;
    let lasts = strike.planned.lasts;
    strike.begin(format_args!("kill -9 of {victim}, down for {lasts:?}"))?;
    let killed = strike.arena().down(victim).await;
    if killed.is_ok() {
        strike.lasts().await;
    }
    strike.arena().up(victim).await?;
    strike.met(PROCESSES, u64::from(killed?));
    Ok(())
}

/// Kill -9 of the leaders of both groups at once.
pub(crate) async fn kill_leaders(strike: &mut Strike) -> anyhow::Result<()> {
    let arena = strike.arena();
    let victims = [
        arena.leader(ServiceKind::Catalog).await?,
        arena.leader(ServiceKind::Order).await?,
    ];
    let [catalog, order] = victims;
    let lasts = strike.planned.lasts;
    strike.begin(format_args!(
        "kill -9 of {catalog} and {order}, the leaders, down for {lasts:?}"
    ))?;
    let killed = join_all(victims.map(|victim| strike.arena().down(victim))).await;
    strike.lasts().await;
    try_join_all(victims.map(|victim| strike.arena().up(victim))).await?;
    for killed in killed {
        strike.met(PROCESSES, u64::from(killed?));
    }
    Ok(())
}

/// SIGSTOP of any one process.
pub(crate) async fn pause(strike: &mut Strike) -> anyhow::Result<()> {
    let victim = strike.some_process().await?;
    let lasts = strike.planned.lasts;
    strike.begin(format_args!("SIGSTOP of {victim} for {lasts:?}"))?;
    let paused = strike.arena().pause(victim).await?;
    strike.met(PROCESSES, u64::from(paused));
    strike.lasts().await;
    strike.arena().resume(victim).await
}

/// Every process is killed and started, one after the other, each when the cluster is whole.
pub(crate) async fn rolling(strike: &mut Strike) -> anyhow::Result<()> {
    strike.begin("a rolling restart of everything")?;
    let mut slow = Vec::new();
    for name in strike.arena().processes() {
        let killed = strike.arena().down(name).await;
        strike.arena().up(name).await?;
        strike.met(PROCESSES, u64::from(killed?));
        if strike.arena().whole(WHOLE_LIMIT).await?.is_none() {
            slow.push(name.to_string());
        }
    }
    if !slow.is_empty() {
        strike.note(format_args!(
            "not whole within {WHOLE_LIMIT:?} of the restart of {}",
            slow.join(", ")
        ));
    }
    Ok(())
}

/// A process's time of day jumps, ahead or back, and in the end to where it belongs.
pub(crate) async fn clock_jump(strike: &mut Strike) -> anyhow::Result<()> {
    let victim = strike.some_process().await?;
    // A second or ten years: what breaks, breaks at either.
    let by = strike
        .random
        .random_range(0.0..=LONGEST_JUMP.as_secs_f64().ln());
    let by = Duration::from_secs(by.exp() as u64);
    let (jump, way) = if strike.random.random() {
        (Jump::Ahead(by), "ahead")
    } else {
        (Jump::Back(by), "back")
    };
    let world = std::sync::Arc::clone(&strike.world);
    let clock = world.equipment.clock(victim);
    let clock = clock.with_context(|| format!("{victim} has no clock of its own"))?;
    let (by, lasts) = (humantime::format_duration(by), strike.planned.lasts);
    strike.begin(format_args!(
        "{victim}'s clock jumps {by} {way}, for {lasts:?}"
    ))?;
    let looks = clock.jump(jump)?;
    strike.lasts().await;
    strike.met("looks at the clock", looks.count()?);
    Ok(clock.set_right()?)
}
