//! Lookups, cached and not.

use bazaar_rpc::ServiceKind;
use serde_json::json;

use crate::world::World;

const GAMESTART: &str = r#"{"data":{"name":"GameStart","price":15.90,"quantity":100,"version":1}}"#;
const BUY_ONE: &str = r#"{"name":"GameStart","quantity":1,"type":"buy"}"#;

#[tokio::test]
async fn a_cached_lookup_asks_the_catalog_nothing() {
    let world = World::start(&[]).await;
    for _ in 0..10 {
        assert_eq!(world.get("/stocks/GameStart").await.body, GAMESTART);
    }
    assert!(world.is_cached("GameStart").await);
    assert_eq!(world.services.lookups(), 1);
    assert_eq!(world.cache_count("hits").await, 9);
}

#[tokio::test]
async fn a_trade_takes_the_item_out_of_the_cache() {
    let world = World::start(&[]).await;
    world.get("/stocks/GameStart").await;
    world.get("/products/1").await;
    assert_eq!(world.cache_count("items").await, 2);
    assert_eq!(world.post("/orders", BUY_ONE).await.status, 200);
    assert!(!world.is_cached("GameStart").await);
    assert_eq!(
        world.get("/stocks/GameStart").await.json["data"]["quantity"],
        99
    );
    assert_eq!(world.get("/products/1").await.json["quantity"], 99);
    assert_eq!(world.services.lookups(), 4);
}

#[tokio::test]
async fn a_request_that_wants_no_cache_gets_none() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    for _ in 0..3 {
        let headers = [("cache-control", "max-age=0, No-Cache")];
        client.send("GET", "/stocks/GameStart", &headers, "").await;
    }
    assert_eq!(world.services.lookups(), 3);
    assert_eq!(world.cache_count("items").await, 0);
}

#[tokio::test]
async fn a_cache_that_is_off_keeps_nothing() {
    let world = World::start(&["--cache", "off"]).await;
    for _ in 0..3 {
        assert_eq!(world.get("/stocks/GameStart").await.body, GAMESTART);
    }
    assert_eq!(world.services.lookups(), 3);
    assert_eq!(world.get("/cache").await.json["cache"], "off");
}

#[tokio::test]
async fn without_a_lease_every_lookup_asks_the_catalog() {
    let world = World::start(&[]).await;
    world.get("/stocks/GameStart").await;
    world.services.grant_lease(None);
    world
        .eventually("the lease has run out for good", async || {
            // One that was granted before is held by the time that the next one is asked for.
            world.services.refused_leases() > 0
                && world.get("/cache").await.json["lease"]["remaining_ms"] == 0
        })
        .await;
    assert!(!world.is_cached("GameStart").await);
    for _ in 0..3 {
        assert_eq!(world.get("/stocks/GameStart").await.status, 200);
    }
    assert_eq!(world.services.lookups(), 4);
    world.services.grant_lease(Some(2));
    world
        .eventually("it holds another lease", async || {
            world.get("/cache").await.json["lease"]["id"]["serial"] == 2
        })
        .await;
    assert!(
        !world.is_cached("GameStart").await,
        "it was cached under the first"
    );
    world.get("/stocks/GameStart").await;
    assert!(world.is_cached("GameStart").await);
}

#[tokio::test]
async fn many_who_miss_one_item_cost_one_fetch_and_who_hangs_up_fails_nobody() {
    const CLIENTS: u64 = 20;
    let world = World::start(&[]).await;
    world.services.open_gate(false);
    let mut clients = Vec::new();
    for number in 1..=CLIENTS {
        let mut client = world.client().await;
        client
            .write(b"GET /stocks/GameStart HTTP/1.1\r\nhost: bazaar\r\n\r\n")
            .await;
        world
            .eventually("the lookup is under way", async || {
                let counts = world.get("/cache").await.json;
                counts["misses"].as_u64().unwrap() + counts["joins"].as_u64().unwrap() == number
            })
            .await;
        clients.push(client);
    }
    drop(clients.remove(0));
    world.services.open_gate(true);
    for client in &mut clients {
        assert_eq!(client.read(true).await.body, GAMESTART);
    }
    assert_eq!(world.services.lookups(), 1);
    assert_eq!(world.cache_count("joins").await, CLIENTS - 1);
    assert!(world.is_cached("GameStart").await);
}

#[tokio::test]
async fn a_small_cache_evicts() {
    let world = World::start(&["--cache-items", "1"]).await;
    for path in ["/info/1", "/info/2", "/info/1"] {
        assert_eq!(world.get(path).await.status, 200);
    }
    assert_eq!(world.cache_count("items").await, 1);
    assert_eq!(world.cache_count("evictions").await, 2);
}

#[tokio::test]
async fn books_are_found_by_topic_and_by_number() {
    let world = World::start(&[]).await;
    let found = world.get("/search/distributed%20systems").await;
    let titles = json!([{"id": 2, "title": "RPCs for Noobs"}, {"id": 3, "title": "Café müße"}]);
    assert_eq!(found.json, titles);
    assert_eq!(world.get("/search/gardening").await.json, json!([]));
    let book = json!({
        "id": 2, "title": "RPCs for Noobs", "topic": "distributed systems",
        "quantity": 2, "price": 29.99, "version": 1,
    });
    assert_eq!(world.get("/info/2").await.json, book);
    assert_eq!(world.get("/lookup/2").await.json, book);
    assert_eq!(
        world.get("/stocks/Caf%C3%A9%20m%C3%BC%C3%9Fe").await.json["data"]["price"],
        1.0
    );
}

#[tokio::test]
async fn products_are_listed_by_page_shop_and_category() {
    let world = World::start(&[]).await;
    let ids = async |query: &str| -> Vec<u64> {
        let page = world.get(&format!("/products{query}")).await.json;
        page.as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids("").await, [1, 2, 3, 4]);
    assert_eq!(ids("?limit=3").await, [1, 2, 3]);
    assert_eq!(ids("?limit=3&after=3").await, [4]);
    assert_eq!(ids("?shop=books").await, [2, 3]);
    assert_eq!(ids("?category=clothing").await, [4]);
    let hoodie = world.get("/products/4").await.json;
    assert_eq!(
        (&hoodie["name"], &hoodie["price"]),
        (&json!("hoodie"), &json!(49.99))
    );
}

#[tokio::test]
async fn a_full_page_links_to_the_next_one() {
    let world = World::start(&[]).await;
    for first in [
        "/products?limit=2",
        "/products?shop=books&limit=1",
        "/search/distributed%20systems?limit=1",
    ] {
        let mut path = first.to_owned();
        let mut ids = Vec::new();
        loop {
            let reply = world.get(&path).await;
            let page = reply.json.as_array().unwrap();
            ids.extend(page.iter().map(|item| item["id"].as_u64().unwrap()));
            let Some(link) = reply.header("link") else {
                break;
            };
            let next = link.strip_prefix('<').unwrap();
            path = next.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
        let expected = if first == "/products?limit=2" {
            vec![1, 2, 3, 4]
        } else {
            vec![2, 3]
        };
        assert_eq!(ids, expected, "{first}");
    }
    assert_eq!(world.get("/products").await.header("link"), None);
}

#[tokio::test]
async fn what_no_shop_has_is_not_found() {
    let world = World::start(&[]).await;
    for path in ["/stocks/Nobody", "/info/99", "/lookup/99", "/products/99"] {
        let reply = world.get(path).await;
        reply.is_problem(404, "no shop has an item");
        assert_eq!(reply.json["error"]["message"], "stock not found");
    }
    assert_eq!(world.cache_count("items").await, 0);
}

#[tokio::test]
async fn operators_see_the_cluster() {
    let world = World::start(&[]).await;
    let cluster = world.get("/cluster").await.json;
    assert_eq!(cluster["order"], json!({"leader": "order/1", "term": 1}));
    assert_eq!(
        cluster["catalog"],
        json!({"leader": "catalog/1", "term": 1})
    );
    assert_eq!(cluster["frontend"], "frontend/1");
    world
        .eventually("the frontend has registered", async || {
            let processes = world.get("/cluster").await.json["processes"].clone();
            let me = processes
                .as_array()
                .unwrap()
                .iter()
                .find(|p| p["name"] == "frontend/1");
            me.is_some_and(|me| me["metadata"][0] == format!("http:{}", world.http))
        })
        .await;
    assert_eq!(world.get("/livez").await.status, 200);
    assert!(world.get("/").await.json["message"].is_string());
}

#[tokio::test]
async fn a_frontend_without_a_catalog_says_so() {
    let world = World::start_with(&[], &[ServiceKind::Order]).await;
    world
        .eventually("the order leader is known", async || {
            !world.get("/readyz").await.body.contains("order")
        })
        .await;
    world
        .get("/readyz")
        .await
        .is_problem(503, "catalog leader, no cache lease");
    let reply = world.get("/stocks/GameStart").await;
    reply.is_problem(503, "no leader");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(world.get("/livez").await.status, 200);
}
