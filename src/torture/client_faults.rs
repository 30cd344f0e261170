//! What clients do to a cluster.

use crate::torture::clients;
use crate::torture::fault::Fault;
use crate::torture::strike::Strike;

/// Has clients behave as badly as the fault says.
pub(crate) async fn inject(strike: &mut Strike) -> anyhow::Result<()> {
    let seed = strike.planned.seed;
    let lasts = strike.planned.lasts;
    let world = std::sync::Arc::clone(&strike.world);
    match strike.planned.fault {
        Fault::Resets => {
            strike.begin(format_args!(
                "a client resets its connections, for {lasts:?}"
            ))?;
            let count = clients::resets(&world.clients, seed, strike.deadline()).await?;
            strike.met("connections", count);
        }
        Fault::RetryStorm => {
            strike.begin(format_args!(
                "the same requests through all frontends, for {lasts:?}"
            ))?;
            let count = clients::storm(&world.clients, seed, strike.deadline()).await?;
            strike.met("repeated requests", count);
        }
        _ => {
            strike.begin(format_args!("32 clients want one item, for {lasts:?}"))?;
            let (item, count) = clients::hot_item(&world.clients, seed, lasts, &world.dir).await?;
            strike.note(format_args!("all want {item}"));
            strike.met("trades of one item", count);
        }
    }
    Ok(())
}
