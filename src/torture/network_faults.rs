//! Cuts and bad links.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bazaar_rpc::{ServiceKind, ServiceName};
use rand::RngExt as _;
use tokio::time::{Instant, sleep_until};

use crate::torture::fault::Fault;
use crate::torture::network::{Fault as Cut, Host, Quality, Scope};
use crate::torture::strike::Strike;

/// How long a flapping link is down or up, in milliseconds.
const FLAP: std::ops::RangeInclusive<u64> = 50..=1_500;

/// Cuts or impairs the network as the fault says.
pub(crate) async fn inject(strike: &mut Strike) -> anyhow::Result<()> {
    let group = strike.some_group();
    let members = strike.arena().members(group);
    let leader = strike.arena().leader(group).await?;
    let followers: Vec<_> = members
        .iter()
        .copied()
        .filter(|name| *name != leader)
        .collect();
    let faults = match strike.planned.fault {
        Fault::LeaderInMinority => {
            ensure!(
                members.len() > 2,
                "a group of {} has no minority",
                members.len()
            );
            // Half the time it is out of reach for everybody, half the time for its group only: then
            // frontends may still ask it.
            if strike.random.random() {
                vec![Cut::Isolate {
                    host: leader.into(),
                }]
            } else {
                vec![split(&[leader], &followers)]
            }
        }
        Fault::LeaderInMajority => {
            let follower = strike.some(&followers)?;
            let rest: Vec<_> = members
                .iter()
                .copied()
                .filter(|name| *name != follower)
                .collect();
            vec![split(&[follower], &rest)]
        }
        Fault::OneWay => {
            let silent = strike.random.random::<bool>();
            let cut = |follower: &ServiceName| {
                let (leader, follower) = (Host::from(leader), Host::from(*follower));
                let (from, to) = if silent {
                    (leader, follower)
                } else {
                    (follower, leader)
                };
                Cut::CutOneWay { from, to }
            };
            followers.iter().map(cut).collect()
        }
        Fault::Flapping => vec![Cut::Isolate {
            host: strike.some(&members)?.into(),
        }],
        Fault::FrontendCut => {
            let frontends = strike.arena().members(ServiceKind::Frontend);
            let frontend = strike.some(&frontends)?;
            vec![Cut::Cut {
                a: frontend.into(),
                b: leader.into(),
            }]
        }
        Fault::Slow => {
            let delay = Duration::from_millis(strike.random.random_range(2..=150));
            let quality = Quality {
                delay,
                jitter: delay / 2,
                ..Quality::default()
            };
            vec![impaired(strike, quality).await?]
        }
        _ => {
            let quality = Quality {
                loss: strike.random.random_range(0.01..0.3),
                ..Quality::default()
            };
            vec![impaired(strike, quality).await?]
        }
    };
    let what: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let lasts = strike.planned.lasts;
    let flaps = strike.planned.fault == Fault::Flapping;
    let how = if flaps { ", on and off" } else { "" };
    strike.begin(format_args!("{}{how}, for {lasts:?}", what.join("; ")))?;
    let touched = if flaps {
        flap(strike, &faults).await
    } else {
        let begun = begin(strike, &faults);
        if begun.is_ok() {
            strike.lasts().await;
        }
        begun.and(end(strike, &faults))
    };
    strike.met("packets", touched?);
    Ok(())
}

/// The link of some process, or that between two, which is of `quality`.
async fn impaired(strike: &mut Strike, quality: Quality) -> anyhow::Result<Cut> {
    let processes = strike.arena().processes();
    let other = strike.some(&processes)?;
    let one = strike.some_process().await?;
    let scope = if one == other || strike.random.random() {
        Scope::LinkOf(one.into())
    } else {
        Scope::Between(one.into(), other.into())
    };
    Ok(Cut::Impair { scope, quality })
}

fn split(one: &[ServiceName], other: &[ServiceName]) -> Cut {
    let hosts = |names: &[ServiceName]| names.iter().copied().map(Host::from).collect();
    Cut::Split {
        groups: vec![hosts(one), hosts(other)],
    }
}

fn begin(strike: &Strike, faults: &[Cut]) -> anyhow::Result<()> {
    let network = strike
        .world
        .equipment
        .network()
        .context("there is no network")?;
    for fault in faults {
        network.inject(fault.clone())?;
    }
    Ok(())
}

/// Ends them; returns how many packets they met.
fn end(strike: &Strike, faults: &[Cut]) -> anyhow::Result<u64> {
    let network = strike
        .world
        .equipment
        .network()
        .context("there is no network")?;
    let mut touched = 0;
    for fault in faults {
        touched += network.heal(fault)?.unwrap_or_default();
    }
    Ok(touched)
}

/// Begins and ends them over and over.
async fn flap(strike: &mut Strike, faults: &[Cut]) -> anyhow::Result<u64> {
    let deadline = strike.deadline();
    let mut touched = 0;
    while Instant::now() < deadline {
        let [down, up] = [FLAP, FLAP].map(|range| strike.random.random_range(range));
        begin(strike, faults)?;
        sleep_until(deadline.min(Instant::now() + Duration::from_millis(down))).await;
        touched += end(strike, faults)?;
        sleep_until(deadline.min(Instant::now() + Duration::from_millis(up))).await;
    }
    Ok(touched)
}
