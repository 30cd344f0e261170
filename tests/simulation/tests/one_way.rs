//! A leader that sends and does not hear: its followers have no reason to stand for election until
//! its connections are given up for dead, and then get another leader, while the cut lasts.

#![cfg(feature = "simulate")]

use std::time::Duration;

use bazaar_rpc::ServiceKind;
use bazaar_rpc::replica::ReplicaStatus;
use bazaar_simulation::{Settings, World};

/// How long the first election, and the succession, may take.
const BOOT: Duration = Duration::from_secs(30);
const SUCCESSION: Duration = Duration::from_secs(5);

#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    let outcome = World::isolated(1, || {
        let mut world = World::new(&Settings::from_seed(1));
        for kind in [ServiceKind::Order, ServiceKind::Catalog] {
            world.run_until(BOOT, "a leader that all follow", |world| {
                let replicas = world.replicas(kind);
                let leader = world.leader(kind);
                let follows = |it: &ReplicaStatus| it.leadership.leader == leader;
                leader.is_some() && replicas.len() == 3 && replicas.iter().all(follows)
            })?;
            let deaf = world.leader(kind).expect("there is one");
            let others: Vec<_> = world.names().filter(|name| *name != deaf).collect();
            for other in others {
                world.cut_one_way(other, deaf);
            }
            world.run_until(SUCCESSION, "another leader", |world| {
                let mut replicas = world.replicas(kind).into_iter();
                replicas.any(|it| it.name != deaf && it.leadership.leader == Some(it.name))
            })?;
            world.mend_all();
        }
        Ok(())
    });
    // The world keeps panics to itself.
    if let Err(error) = outcome {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}
