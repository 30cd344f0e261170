//! Has the faults of a schedule injected when they are due, and keeps apart what must not overlap
//! even where some take longer than planned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::torture::schedule::{PAUSE, Planned};
use crate::torture::strike::{World, strike};

/// How long the cluster may take to be whole after a fault, when faults come one after the other.
const WHOLE_LIMIT: Duration = Duration::from_secs(30);

/// Injects `schedule` one fault after the other; each waits until the cluster has recovered from the
/// one before.
pub(crate) async fn one_by_one(world: Arc<World>, schedule: Vec<Planned>) -> anyhow::Result<()> {
    let begun = Instant::now();
    for planned in schedule {
        sleep_until(begun + planned.at).await;
        strike(Arc::clone(&world), planned).await?;
        mend(&world).await?;
        if world.arena.whole(WHOLE_LIMIT).await?.is_none() {
            world
                .journal
                .say(format_args!("not whole after {WHOLE_LIMIT:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Injects `schedule`, each lane by itself.
pub(crate) async fn overlapping(world: Arc<World>, schedule: Vec<Planned>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for planned in schedule {
        lanes.entry(planned.fault.lane()).or_default().push(planned);
    }
    // Held by those that disturb, all at once; by one that forgets, alone.
    let quiet = Arc::new(RwLock::new(()));
    let mut tasks = JoinSet::new();
    for (lane, schedule) in lanes {
        let (world, quiet) = (Arc::clone(&world), Arc::clone(&quiet));
        tasks.spawn(async move {
            for planned in schedule {
                sleep_until(begun + planned.at).await;
                if planned.fault.forgets() {
                    let _alone = quiet.write().await;
                    strike(Arc::clone(&world), planned).await?;
                } else if lane.disturbs() {
                    let _with_others = quiet.read().await;
                    strike(Arc::clone(&world), planned).await?;
                } else {
                    strike(Arc::clone(&world), planned).await?;
                }
                mend(&world).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(lane) = tasks.join_next().await {
        lane??;
    }
    mend(&world).await
}

/// Starts what died by itself, and nobody wants down.
async fn mend(world: &World) -> anyhow::Result<()> {
    for name in world.arena.processes() {
        world.arena.hurry(name).await?;
    }
    Ok(())
}
