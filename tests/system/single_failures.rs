//! No single point of failure: with three catalogs, three orders and two frontends, any one process
//! may be killed and any one disk of a replicated group be lost. The service goes on, and nothing is
//! lost, doubled, oversold or stale.

use std::time::Duration;

use bazaar_client::Handle;
use serde_json::Value;

use crate::cluster::{Cluster, eventually};
use crate::faults::{survives, trades};

/// How long so many processes may take to come as far as a test wants them, on a machine that is
/// busy with other things.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until some more trades are acknowledged.
async fn more_trades(handle: &Handle) {
    trades(40, handle, PATIENCE).await;
}

/// A cluster without a single point of failure.
fn replicated() -> Cluster {
    Cluster::start(&["--catalogs", "3", "--orders", "3", "--frontends", "2"])
}

/// Waits until nothing is left of the last fault.
fn whole_again(cluster: &Cluster) {
    cluster.caught_up("catalog/");
    cluster.caught_up("order/");
}

/// Kills `names` under load and starts them again under load.
async fn killed_and_started(names: &[&str], cluster: &Cluster, handle: &Handle) {
    for name in names {
        cluster.control("kill", name);
    }
    more_trades(handle).await;
    for name in names {
        cluster.control("start", name);
    }
    more_trades(handle).await;
    whole_again(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_each_process_in_turn_stops_nothing() {
    let cluster = replicated();
    survives(&cluster, async |cluster, handle| {
        let names: Vec<_> = cluster
            .status()
            .iter()
            .map(|process| process["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), 10, "{names:?}");
        for name in names {
            killed_and_started(&[name.as_str()], cluster, handle).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_both_leaders_together_stops_nothing() {
    let cluster = replicated();
    survives(&cluster, async |cluster, handle| {
        for _ in 0..3 {
            let leaders = [cluster.leader("catalog"), cluster.leader("order")];
            killed_and_started(&[&leaders[0], &leaders[1]], cluster, handle).await;
        }
    })
    .await;
}

/// Loses the disk of the replica that `victim` chooses; the others go on without it, and with the one
/// that takes its place.
async fn survives_the_loss_of(victim: fn(&Cluster) -> String) {
    let cluster = replicated();
    let lost = victim(&cluster);
    survives(&cluster, async |cluster, handle| {
        cluster.lose(&lost);
        more_trades(handle).await;
        cluster.control("start", &lost);
        more_trades(handle).await;
        // It has forgotten what it had promised, so it must not vote again.
        eventually("the replica is refused", || {
            cluster.process(&lost)["restarts"].as_u64() > Some(1)
        });
        more_trades(handle).await;
        assert_eq!(cluster.process(&lost)["role"], Value::Null);

        cluster.control("replace", &lost);
        more_trades(handle).await;
        eventually("the new replica has a vote", || {
            let role = &cluster.process(&lost)["role"];
            role == "follower" || role == "leader"
        });
        // Its vote and its copy count: another one may go, with its disk.
        let (kind, _) = lost.split_once('/').unwrap();
        whole_again(cluster);
        let next = cluster.leader(kind);
        cluster.lose(&next);
        more_trades(handle).await;
        cluster.control("replace", &next);
        more_trades(handle).await;
        whole_again(cluster);
    })
    .await;
}

#[test]
fn only_one_of_several_replicas_is_replaced_and_only_by_a_majority() {
    let cluster = Cluster::start(&[]);
    for (name, reason) in [
        ("catalog/1", "bazaar catalog rebuild"),
        ("frontend/1", "not one of several replicas"),
        ("order/7", "no process order/7"),
    ] {
        let refused = cluster.command(&["replace", name]);
        assert_eq!(refused.status.code(), Some(1), "{name}: {refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(reason), "{name}: {said}");
    }
    cluster.control("kill", "order/1");
    cluster.control("kill", "order/2");
    let refused = cluster.command(&["replace", "order/2"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no majority"), "{said}");
    // Nothing was touched: it starts as it was.
    cluster.control("start", "order/2");
    cluster.control("start", "order/1");
    cluster.caught_up("order/");

    let told = cluster.command(&["replace", "order/2"]);
    assert!(told.status.success(), "{told:?}");
    let told = String::from_utf8(told.stdout).unwrap();
    let aside = cluster.data_of("order/2").join("replaced-1");
    assert!(told.contains(&aside.display().to_string()), "{told}");
    assert!(aside.join("raft/identity.json").exists());
    eventually("it is back", || {
        cluster.process("order/2")["role"] == "follower"
    });
    cluster.caught_up("order/");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_catalog_leaders_disk_stops_nothing() {
    survives_the_loss_of(|cluster| cluster.leader("catalog")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_catalog_followers_disk_stops_nothing() {
    survives_the_loss_of(|cluster| cluster.follower("catalog")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_order_leaders_disk_stops_nothing() {
    survives_the_loss_of(|cluster| cluster.leader("order")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_an_order_followers_disk_stops_nothing() {
    survives_the_loss_of(|cluster| cluster.follower("order")).await;
}
