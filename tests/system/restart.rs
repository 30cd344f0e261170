//! A cluster that is stopped, or killed, and started again goes on where it was.

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, run};
use crate::http::{get, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_continues_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let buy = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
    let mut expected = 0;
    for round in 0..4 {
        let cluster = Cluster::start_in(dir.path(), &[]);
        for _ in 0..3 {
            let bought = post(cluster.frontend(), "/orders", &buy).await;
            assert_eq!(bought.status, 200, "{bought:?}");
            assert_eq!(
                bought.json()["data"]["transaction_number"],
                expected,
                "round {round}"
            );
            expected += 1;
        }
        let stock = get(cluster.frontend(), "/stocks/GameStart").await.json();
        assert_eq!(stock["data"]["quantity"], 100 - expected);
        if round % 2 == 0 {
            // Everything at once, the supervisor too.
            cluster.kill();
        } else {
            assert_eq!(cluster.stop().code(), Some(0));
        }
    }
    let cluster = Cluster::start_in(dir.path(), &[]);
    eventually("all logs are equal", || {
        let logs = cluster.logs(3);
        logs[0].lines().count() == 1 + 12 && logs.iter().all(|log| *log == logs[0])
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lost_its_disk_is_refused_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let buy = json!({"name": "BoarCo", "quantity": 1, "type": "buy"});
    let cluster = Cluster::start_in(dir.path(), &[]);
    assert_eq!(post(cluster.frontend(), "/orders", &buy).await.status, 200);
    assert_eq!(cluster.stop().code(), Some(0));
    std::fs::remove_dir_all(dir.path().join("order-2")).unwrap();
    let cluster = Cluster::start_in(dir.path(), &[]);
    let bought = post(cluster.frontend(), "/orders", &buy).await;
    assert_eq!(bought.json()["data"]["transaction_number"], 1, "{bought:?}");
    // Empty, it must not vote: it is refused again and again.
    eventually("the replica is refused", || {
        cluster.process("order/2")["restarts"].as_u64() > Some(0)
    });
    let role = cluster.process("order/2")["role"].clone();
    assert!([Value::Null, json!("learner")].contains(&role), "{role}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_lost_its_disk_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let buy = json!({"name": "BoarCo", "quantity": 1, "type": "buy"});
    let cluster = Cluster::start_in(dir.path(), &[]);
    assert_eq!(post(cluster.frontend(), "/orders", &buy).await.status, 200);
    assert_eq!(cluster.stop().code(), Some(0));
    std::fs::remove_dir_all(dir.path().join("catalog-1")).unwrap();
    // It would give numbers and stock a second time, so nothing is traded and `up` says why.
    let data = dir.path().to_str().unwrap();
    let output = run(&["up", "--http", "127.0.0.1:0", "--data-dir", data]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("disagree"), "{message}");
    assert!(message.contains("bazaar catalog rebuild"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_orphan_of_a_killed_cluster_does_not_block_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_in(dir.path(), &[]);
    let buy = json!({"name": "BoarCo", "quantity": 1, "type": "buy"});
    assert_eq!(post(cluster.frontend(), "/orders", &buy).await.status, 200);
    let follower = cluster.follower("order");
    cluster.control("pause", &follower);
    cluster.control("pause", "catalog/1");
    cluster.kill();
    let cluster = Cluster::start_in(dir.path(), &[]);
    let bought = post(cluster.frontend(), "/orders", &buy).await;
    assert_eq!(bought.json()["data"]["transaction_number"], 1, "{bought:?}");
}
