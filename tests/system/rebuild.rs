//! A catalog whose disk is lost is rebuilt from the shop files and the order log, exactly, and
//! nothing else is touched.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, bazaar, eventually, run};
use crate::faults::{more_trades, survives};
use crate::http::{Answer, get, post_with};

async fn post_with_key(address: SocketAddr, path: &str, body: &Value, key: &str) -> Answer {
    post_with(address, path, &[("idempotency-key", key)], body).await
}

/// What a rebuild that must succeed says.
#[track_caller]
pub(crate) fn done(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Why a rebuild was refused.
#[track_caller]
fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// What `catalog.json` in `dir` says, without what may differ after a rebuild: the terms are new,
/// no cache holds a lease, and what is recorded need not be remembered.
pub(crate) fn stock(dir: &Path) -> Value {
    let text = fs::read(dir.join("catalog-1/catalog.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&text).unwrap();
    let state = file["state"].as_object_mut().unwrap();
    for new in ["reign", "fence", "forgotten", "outbox", "caches"] {
        state.remove(new).unwrap();
    }
    file["state"].take()
}

pub(crate) fn rebuild(dir: &Path, flags: &[&str]) -> Output {
    let data = ["catalog", "rebuild", "--data-dir", dir.to_str().unwrap()];
    run(&[&data, flags].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_loses_its_disk_under_load_is_rebuilt_under_load() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    survives(&cluster, async |cluster, handle| {
        for blank_first in [false, true] {
            cluster.lose("catalog/1");
            if blank_first {
                // It comes up with nothing, and is found out: no lookup shows its stock.
                cluster.control("start", "catalog/1");
                eventually("it runs", || {
                    cluster.process("catalog/1")["role"] == "leader"
                });
                tokio::time::sleep(Duration::from_millis(500)).await;
                assert!(refused(cluster.command(&["catalog", "rebuild"])).contains("runs on it"));
                cluster.control("kill", "catalog/1");
                let held = refused(cluster.command(&["catalog", "rebuild"]));
                assert!(held.contains("--move-aside"), "{held}");
            }
            done(cluster.command(&["catalog", "rebuild", "--move-aside"]));
            cluster.control("start", "catalog/1");
            more_trades(handle).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_catalog_is_the_lost_one_and_answers_old_keys_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_in(dir.path(), &[]);
    let order = |item: &str, side: &str, quantity: u64| json!({"name": item, "quantity": quantity, "type": side});
    let orders = [
        order("BoarCo", "buy", 30),
        order("BoarCo", "sell", 7),
        order("FishCo", "buy", 100),
        order("BoarCo", "buy", 1),
    ];
    for (number, order) in orders.iter().enumerate() {
        let answer =
            post_with_key(cluster.frontend(), "/orders", order, &format!("k{number}")).await;
        assert_eq!(
            answer.json()["data"]["transaction_number"],
            number,
            "{answer:?}"
        );
    }
    let sold_out = order("FishCo", "buy", 1);
    let refusal = post_with_key(cluster.frontend(), "/orders", &sold_out, "refused").await;
    assert_eq!(refusal.status, 400, "{refusal:?}");
    assert_eq!(cluster.stop().code(), Some(0));
    let lost = stock(dir.path());
    fs::remove_dir_all(dir.path().join("catalog-1")).unwrap();

    // The cluster is down: what is needed of it is started for this.
    let said = done(rebuild(dir.path(), &[]));
    assert!(said.contains("from 4 orders"), "{said}");
    assert!(said.contains("131 bought, 7 sold"), "{said}");
    assert_eq!(stock(dir.path()), lost);

    let cluster = Cluster::start_in(dir.path(), &[]);
    for (number, order) in orders.iter().enumerate() {
        let answer =
            post_with_key(cluster.frontend(), "/orders", order, &format!("k{number}")).await;
        assert_eq!(
            answer.json()["data"]["transaction_number"],
            number,
            "{answer:?}"
        );
    }
    let refusal = post_with_key(cluster.frontend(), "/orders", &sold_out, "refused").await;
    assert_eq!(refusal.status, 400, "{refusal:?}");
    let boars = get(cluster.frontend(), "/stocks/BoarCo").await.json();
    assert_eq!(boars["data"]["quantity"], 76);
    let next = post_with_key(cluster.frontend(), "/orders", &orders[3], "next").await;
    assert_eq!(next.json()["data"]["transaction_number"], 4, "{next:?}");
    eventually("all logs are equal", || {
        let logs = cluster.logs(3);
        logs[0].lines().count() == 1 + 5 && logs.iter().all(|log| *log == logs[0])
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_leaves_nothing_or_all_and_can_be_run_again() {
    let cluster = Cluster::start(&[]);
    let buy = json!({"name": "BoarCo", "quantity": 2, "type": "buy"});
    for key in ["a", "b", "c"] {
        let bought = post_with_key(cluster.frontend(), "/orders", &buy, key).await;
        assert_eq!(bought.status, 200, "{bought:?}");
    }
    cluster.lose("catalog/1");
    let whole = done(cluster.command(&["catalog", "rebuild"]));
    assert!(whole.contains("from 3 orders"), "{whole}");
    let expected = stock(cluster.dir());
    let (mut nothing, mut all) = (0, 0);
    for milliseconds in (0..).step_by(20) {
        fs::remove_dir_all(cluster.data_of("catalog/1")).ok();
        let mut child = bazaar()
            .args(["catalog", "rebuild", "--data-dir"])
            .arg(cluster.dir())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        if cluster.data_of("catalog/1").join("catalog.json").exists() {
            assert_eq!(stock(cluster.dir()), expected);
            assert!(cluster.data_of("catalog/1").join("identity.json").exists());
            all += 1;
        } else {
            let left = fs::read_dir(cluster.data_of("catalog/1"));
            let left: Vec<_> = left.into_iter().flatten().map(Result::unwrap).collect();
            assert!(
                left.iter().all(|file| file.file_name() == "lock"),
                "{left:?}"
            );
            nothing += 1;
        }
        if all >= 3 {
            break;
        }
    }
    assert!(nothing > 0);
    fs::remove_dir_all(cluster.data_of("catalog/1")).unwrap();
    done(cluster.command(&["catalog", "rebuild"]));
    cluster.control("start", "catalog/1");
    let bought = post_with_key(cluster.frontend(), "/orders", &buy, "d").await;
    assert_eq!(bought.json()["data"]["transaction_number"], 3, "{bought:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_other_shop_files_or_an_uncertain_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("shop.json");
    let write = |quantity: u64| {
        let shop_file = json!({
            "shop": "teas",
            "policy": {"sides": ["buy"], "min": 1, "max": null, "account": false},
            "items": [{"number": 9001, "name": "Oolong", "price": 4.5, "quantity": quantity}],
        });
        fs::write(&shop, shop_file.to_string()).unwrap();
    };
    write(5);
    let shop_flag = ["--shop", shop.to_str().unwrap()];
    let data = dir.path().join("var");
    let cluster = Cluster::start_in(&data, &shop_flag);
    let buy = json!({"name": "Oolong", "quantity": 4, "type": "buy"});
    assert_eq!(
        post_with_key(cluster.frontend(), "/orders", &buy, "a")
            .await
            .status,
        200
    );
    let held = refused(rebuild(&data, &shop_flag));
    assert!(held.contains("stop it first"), "{held}");
    cluster.lose("catalog/1");
    let unknown = refused(rebuild(&data, &[]));
    assert!(
        unknown.contains("order 0 is for item 9001 (Oolong, shop teas)"),
        "{unknown}"
    );
    assert!(unknown.contains("--shop"), "{unknown}");
    write(3);
    let negative = refused(rebuild(&data, &shop_flag));
    assert!(negative.contains("order 0 (buy 4 of Oolong)"), "{negative}");
    write(5);
    // With one order replica of three, what the others recorded last is unknown.
    cluster.control("kill", "order/1");
    let leader = cluster.leader("order");
    cluster.control("kill", &leader);
    let uncertain = refused(rebuild(&data, &shop_flag));
    assert!(uncertain.contains("majority"), "{uncertain}");
    cluster.control("start", "order/1");
    done(rebuild(&data, &shop_flag));
    cluster.control("start", "catalog/1");
    let tea = get(cluster.frontend(), "/stocks/Oolong").await.json();
    assert_eq!(tea["data"]["quantity"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_catalogs_are_rebuilt_together_and_only_after_a_majority_is_lost() {
    let cluster = Cluster::start(&["--catalogs", "3"]);
    survives(&cluster, async |cluster, handle| {
        cluster.lose("catalog/2");
        for name in ["catalog/1", "catalog/3"] {
            cluster.control("kill", name);
        }
        let single = refused(cluster.command(&["catalog", "rebuild", "--move-aside"]));
        assert!(single.contains("2 of the catalog's 3 replicas"), "{single}");
        fs::remove_dir_all(cluster.data_of("catalog/3")).unwrap();
        let held = refused(cluster.command(&["catalog", "rebuild"]));
        assert!(
            held.contains("catalog/1") && held.contains("--move-aside"),
            "{held}"
        );
        done(cluster.command(&["catalog", "rebuild", "--move-aside"]));
        for name in ["catalog/1", "catalog/2", "catalog/3"] {
            cluster.control("start", name);
        }
        more_trades(handle).await;
        cluster.caught_up("catalog/");
    })
    .await;
}
