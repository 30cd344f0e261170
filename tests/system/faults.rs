//! Processes die under load; nothing is lost, doubled, oversold or stale.

use std::time::Duration;

use bazaar_client::{Config, Handle, Kind, Load, Probability, Progress, Report};

use serde_json::Value;

use crate::cluster::{Cluster, eventually, run};

/// How long the load may take to come as far as a test wants it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Drives load through `cluster` while `fault` does what it does, then checks everything.
pub(crate) async fn survives(
    cluster: &Cluster,
    fault: impl AsyncFnOnce(&Cluster, &Handle),
) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let load = Load::start(Config {
        urls: cluster
            .http
            .iter()
            .map(|at| format!("http://{at}").parse().unwrap())
            .collect(),
        connections: 8,
        duration: PATIENCE * 10,
        trade_probability: Probability::new(0.5).unwrap(),
        retry_for: PATIENCE,
        log: Some(dir.path().join("orders.ndjson")),
        exclusive: true,
        ..Config::default()
    })
    .await
    .unwrap();
    let handle = load.handle();
    more_trades(&handle).await;
    fault(cluster, &handle).await;
    more_trades(&handle).await;
    handle.stop();
    let report = load.ended().await.unwrap().judge().await.unwrap();
    assert_eq!(report.failures(), Vec::<String>::new(), "{report}");
    assert_eq!(report.judgement.undecided.unknown, 0, "{report}");

    // All replicas have the same log, and in it is what was acknowledged and nothing else.
    let acknowledged = usize::try_from(report.judgement.acknowledged).unwrap();
    eventually("all logs are equal", || {
        let logs = cluster.logs(3);
        logs[0].lines().count() == 1 + acknowledged && logs.iter().all(|log| *log == logs[0])
    });
    let log = cluster.log(1);
    let numbers: Vec<_> = log
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(place, number)| place.to_string() == *number)
    );
    cluster.caught_up("order/");
    report
}

/// Waits until 200 more trades are acknowledged.
pub(crate) async fn more_trades(handle: &Handle) {
    trades(200, handle, PATIENCE).await;
}

/// Waits until so many more trades are acknowledged.
pub(crate) async fn trades(count: u64, handle: &Handle, patience: Duration) {
    let trades = |progress: &Progress| progress.totals.answered(Kind::Trade);
    let enough = trades(&handle.progress()) + count;
    handle
        .until(|progress| trades(progress) >= enough, patience)
        .await
        .unwrap();
}

/// Kills a process under load and starts it again under load.
async fn killed_and_started(name: &str, cluster: &Cluster, handle: &Handle) {
    cluster.control("kill", name);
    assert_eq!(cluster.process(name)["state"], "killed");
    if name != "catalog/1" {
        more_trades(handle).await;
    }
    cluster.control("start", name);
    more_trades(handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_order_leader_goes_unnoticed() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    survives(&cluster, async |cluster, handle| {
        for _ in 0..3 {
            let leader = cluster.leader("order");
            killed_and_started(&leader, cluster, handle).await;
            cluster.caught_up("order/");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_follower_goes_unnoticed_and_it_catches_up() {
    let cluster = Cluster::start(&[]);
    survives(&cluster, async |cluster, handle| {
        let follower = cluster.follower("order");
        killed_and_started(&follower, cluster, handle).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_catalog_only_delays_trades() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    survives(&cluster, async |cluster, handle| {
        for _ in 0..3 {
            killed_and_started("catalog/1", cluster, handle).await;
        }
    })
    .await;
}

/// Three catalogs, three orders and two frontends: no process without which nothing goes on.
const NO_SINGLE_POINT: [&str; 4] = ["--catalogs", "3", "--frontends", "2"];

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_catalog_leader_goes_unnoticed_where_there_are_three() {
    let cluster = Cluster::start(&NO_SINGLE_POINT);
    survives(&cluster, async |cluster, handle| {
        for _ in 0..3 {
            let leader = cluster.leader("catalog");
            cluster.control("kill", &leader);
            more_trades(handle).await;
            cluster.control("start", &leader);
            more_trades(handle).await;
            cluster.caught_up("catalog/");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_either_leader_is_got_over_while_it_lasts() {
    let cluster = Cluster::start(&NO_SINGLE_POINT);
    survives(&cluster, async |cluster, handle| {
        for kind in ["catalog", "order"] {
            let leader = cluster.leader(kind);
            cluster.control("pause", &leader);
            more_trades(handle).await;
            cluster.control("resume", &leader);
            more_trades(handle).await;
            cluster.caught_up(&format!("{kind}/"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_name_server_stops_nothing_that_runs() {
    let cluster = Cluster::start(&[]);
    survives(&cluster, async |cluster, handle| {
        killed_and_started("nameserver/1", cluster, handle).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_frontend_moves_its_clients_to_the_other() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    survives(&cluster, async |cluster, handle| {
        killed_and_started("frontend/1", cluster, handle).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_of_every_process_in_turn_show_nothing_stale() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    survives(&cluster, async |cluster, handle| {
        let leader = cluster.leader("order");
        for name in [
            "frontend/1",
            "catalog/1",
            leader.as_str(),
            "nameserver/1",
            "frontend/2",
        ] {
            cluster.control("pause", name);
            tokio::time::sleep(Duration::from_millis(700)).await;
            cluster.control("resume", name);
            more_trades(handle).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_missed_more_than_the_log_keeps_catches_up_by_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let few = [
        ("BAZAAR_SNAPSHOT_ENTRIES", "100"),
        ("BAZAAR_KEPT_ENTRIES", "50"),
    ];
    let cluster = Cluster::start_with(dir.path(), &[], &few);
    let follower = cluster.follower("order");
    survives(&cluster, async |cluster, handle| {
        cluster.control("kill", &follower);
        let leader = cluster.leader("order");
        let missed = cluster.process(&leader)["last_applied"].as_u64().unwrap();
        eventually("the log is purged beyond what the replica has", || {
            cluster.process(&leader)["purged"]
                .as_u64()
                .is_some_and(|purged| purged > missed)
        });
        more_trades(handle).await;
        cluster.control("start", &follower);
        eventually("a snapshot was installed", || {
            cluster.process(&follower)["snapshots_installed"].as_u64() > Some(0)
        });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_by_itself_is_started_again() {
    let cluster = Cluster::start(&[]);
    survives(&cluster, async |cluster, _handle| {
        for name in [cluster.leader("order"), "frontend/1".into()] {
            let before = cluster.process(&name);
            let pid = i32::try_from(before["pid"].as_i64().unwrap()).unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
                .unwrap();
            eventually("it runs again", || {
                let now = cluster.process(&name);
                now["state"] == "running" && now["pid"] != before["pid"]
            });
        }
    })
    .await;
}

#[test]
fn the_demo_ends_with_zeros() {
    let output = run(&["demo", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for promise in ["lost", "doubled", "oversold", "stale"] {
        assert_eq!(report[promise], 0, "{report}");
    }
    assert!(report["acknowledged"].as_u64() > Some(1000), "{report}");
}
