//! The cache: what it holds, and what it must never show.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::http::{Connection, get, post};

/// The names of the items in a frontend's cache.
fn cached(cache: &Value) -> Vec<&str> {
    cache["names"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

/// How many lookups the cache of the frontend there has answered.
async fn hits(at: SocketAddr) -> u64 {
    get(at, "/cache").await.json()["hits"].as_u64().unwrap()
}

/// Looks `names` up until they are what the cache holds. That takes one time, as a rule; but a lease that
/// a busy machine renews late takes with it what was cached.
async fn look_up_until_cached(at: SocketAddr, names: &[&str]) {
    let begin = Instant::now();
    loop {
        for name in names {
            get(at, &format!("/stocks/{name}")).await;
        }
        let cache = get(at, "/cache").await.json();
        let mut cached = cached(&cache);
        cached.sort_unstable();
        if cached == names {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{cache}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_item_is_there_after_a_lookup_and_gone_after_a_trade() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let buy = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
    for at in &cluster.http {
        let before = get(*at, "/cache").await.json();
        assert_eq!(cached(&before), Vec::<&str>::new());
        look_up_until_cached(*at, &["GameStart"]).await;
    }
    // A trade through one frontend empties both.
    assert_eq!(post(cluster.http[0], "/orders", &buy).await.status, 200);
    for at in &cluster.http {
        let cache = get(*at, "/cache").await.json();
        assert_eq!(cached(&cache), Vec::<&str>::new(), "{cache}");
        assert_eq!(
            get(*at, "/stocks/GameStart").await.json()["data"]["quantity"],
            99
        );
        // A lookup of what is cached is one hit.
        let begin = Instant::now();
        loop {
            look_up_until_cached(*at, &["GameStart"]).await;
            let before = hits(*at).await;
            get(*at, "/stocks/GameStart").await;
            match hits(*at).await - before {
                0 => assert!(begin.elapsed() < PATIENCE, "no lookup is a hit"),
                more => break assert_eq!(more, 1),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_bounded_and_can_be_off() {
    let cluster = Cluster::start(&["--cache-items", "2"]);
    for name in ["GameStart", "BoarCo", "MenhirCo", "FishCo"] {
        get(cluster.frontend(), &format!("/stocks/{name}")).await;
        let cache = get(cluster.frontend(), "/cache").await.json();
        assert!(cached(&cache).len() <= 2, "{cache}");
    }
    look_up_until_cached(cluster.frontend(), &["FishCo", "MenhirCo"]).await;
    drop(cluster);

    let cluster = Cluster::start(&["--cache", "off"]);
    get(cluster.frontend(), "/stocks/GameStart").await;
    let cache = get(cluster.frontend(), "/cache").await.json();
    assert_eq!(cache, json!({"cache": "off"}));
}

/// A frontend that is paused cannot hear invalidations: a trade waits until its lease has run out,
/// and what it cached is not shown when it wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_frontend_shows_nothing_stale() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let (live, paused) = (cluster.http[0], cluster.http[1]);
    let buy = json!({"name": "FishCo", "quantity": 1, "type": "buy"});
    for round in 1..=5 {
        get(paused, "/stocks/FishCo").await;
        // The question is in the paused frontend's socket before the trade is acknowledged, or sent
        // after it: only the latter must see it, so that is what is asked.
        let mut connection = Connection::open(paused).await.unwrap();
        connection.get("/stocks/FishCo").await.unwrap();
        cluster.control("pause", "frontend/2");
        let bought = post(live, "/orders", &buy).await;
        assert_eq!(bought.status, 200, "{bought:?}");
        let asked = tokio::spawn(async move { connection.get("/stocks/FishCo").await.unwrap() });
        // Long enough for the question to lie in the paused frontend's socket.
        let begin = Instant::now();
        eventually("the question was sent", || {
            begin.elapsed() > Duration::from_millis(100)
        });
        cluster.control("resume", "frontend/2");
        let stock = asked.await.unwrap().json();
        assert_eq!(stock["data"]["quantity"], 100 - round, "round {round}");
    }
}

/// A frontend that is paused when the catalog's leader dies cannot give up the lease that it has of
/// it: the new leader waits until that has run out.
#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_that_sleeps_through_a_catalog_failover_shows_nothing_stale() {
    let cluster = Cluster::start(&["--catalogs", "3", "--frontends", "2"]);
    let (live, paused) = (cluster.http[0], cluster.http[1]);
    let buy = json!({"name": "FishCo", "quantity": 1, "type": "buy"});
    for round in 1..=3 {
        let mut connection = Connection::open(paused).await.unwrap();
        connection.get("/stocks/FishCo").await.unwrap();
        let leader = cluster.leader("catalog");
        cluster.control("pause", "frontend/2");
        cluster.control("kill", &leader);
        let bought = post(live, "/orders", &buy).await;
        assert_eq!(bought.status, 200, "{bought:?}");
        let asked = tokio::spawn(async move { connection.get("/stocks/FishCo").await.unwrap() });
        cluster.control("resume", "frontend/2");
        let stock = asked.await.unwrap().json();
        assert_eq!(stock["data"]["quantity"], 100 - round, "round {round}");
        cluster.control("start", &leader);
        cluster.caught_up("catalog/");
    }
}
