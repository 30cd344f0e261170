//! Trades and recorded orders.

use bazaar_rpc::orders::OrderError;
use serde_json::json;

use crate::world::World;

const BUY_TWO: &str = r#"{"name":"GameStart","quantity":2,"type":"buy"}"#;
const SELL_ONE: &str = r#"{"name":"GameStart","quantity":1,"type":"sell"}"#;

#[tokio::test]
async fn orders_are_numbered_from_zero_and_found_again() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    for (number, body) in [
        (0, BUY_TWO),
        (1, SELL_ONE),
        (2, r#"{"product_id":2,"quantity":1}"#),
    ] {
        let reply = client.send("POST", "/orders", &[], body).await;
        assert_eq!(
            reply.body,
            format!(r#"{{"data":{{"transaction_number":{number}}}}}"#)
        );
        assert_eq!(reply.header("idempotent-replayed"), None);
    }
    let sold = json!({
        "number": 1, "name": "GameStart", "product_id": 1, "type": "sell", "quantity": 1,
        "price": 15.9, "version": 3, "shop": "stocks", "total": 15.9, "status": "placed", "history": [],
    });
    let reply = client.send("GET", "/orders/1", &[], "").await;
    let mut shown = reply.json["data"].clone();
    let placed_at = shown.as_object_mut().unwrap().remove("placed_at");
    assert!(placed_at.unwrap().as_str().unwrap().ends_with('Z'));
    assert_eq!(shown, sold);
    let reply = client.send("GET", "/orders?numbers=2,0,1", &[], "").await;
    let numbers: Vec<_> = reply.json["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["number"])
        .collect();
    assert_eq!(numbers, [2, 0, 1]);
    let reply = client.send("GET", "/orders/3", &[], "").await;
    reply.is_problem(404, "3");
    assert_eq!(reply.json["error"]["message"], "order number not found");
    client
        .send("GET", "/orders?numbers=0,17", &[], "")
        .await
        .is_problem(404, "17");
}

#[tokio::test]
async fn a_trade_tells_the_version_that_lookups_show_from_then_on() {
    let world = World::start(&[]).await;
    let reply = world.post("/orders", BUY_TWO).await;
    assert_eq!(reply.header("item-version"), Some("2"));
    assert_eq!(
        world.get("/stocks/GameStart").await.json["data"]["version"],
        2
    );
}

#[tokio::test]
async fn the_same_key_and_body_are_one_order() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let key = [("idempotency-key", "a-key")];
    let first = client.send("POST", "/orders", &key, BUY_TWO).await;
    let again = client.send("POST", "/orders", &key, BUY_TWO).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("item-version"), first.header("item-version"));
    client
        .send("POST", "/orders", &key, SELL_ONE)
        .await
        .is_problem(422, "another request");
    let other = client
        .send("POST", "/orders", &[("idempotency-key", "b")], BUY_TWO)
        .await;
    assert_eq!(other.json["data"]["transaction_number"], 1);
    assert_eq!(world.services.shop().orders.len(), 2);
}

#[tokio::test]
async fn books_are_bought_one_at_a_time_until_none_is_left() {
    let world = World::start(&[]).await;
    let order = world.post("/purchase/2", "").await.json["order"].clone();
    assert_eq!(
        (&order["number"], &order["quantity"], &order["type"]),
        (&json!(0), &json!(1), &json!("buy"))
    );
    let key = [("idempotency-key", "last")];
    let mut client = world.client().await;
    let last = client.send("POST", "/buy/2", &key, "{}").await;
    assert_eq!(last.status, 200);
    let reply = world.post("/buy/2", "").await;
    reply.is_problem(409, "out of stock");
    assert_eq!(reply.json["error"]["message"], "out of stock");
    assert_eq!(
        client.send("POST", "/buy/2", &key, "").await.json,
        last.json
    );
    world
        .post("/purchase/99", "")
        .await
        .is_problem(404, "stock not found");
    world
        .post("/purchase/2", r#"{"quantity":2}"#)
        .await
        .is_problem(400, "quantity");
}

#[tokio::test]
async fn a_refusal_says_why() {
    let world = World::start(&[]).await;
    let reply = world
        .post(
            "/orders",
            r#"{"name":"GameStart","quantity":101,"type":"buy"}"#,
        )
        .await;
    reply.is_problem(400, "100 available");
    assert_eq!(reply.json["error"]["message"], "not enough stock");
    let reply = world
        .post("/orders", r#"{"name":"Nobody","quantity":1,"type":"buy"}"#)
        .await;
    reply.is_problem(404, "stock not found");
    for (reply, status) in [
        (
            world
                .post("/orders", r#"{"product_id":4,"quantity":1}"#)
                .await,
            401,
        ),
        (world.get("/orders").await, 401),
    ] {
        reply.is_problem(status, "account");
        let challenge = Some("Bearer realm=\"bazaar\"");
        assert_eq!(reply.header("www-authenticate"), challenge);
    }
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn an_overloaded_order_service_is_told_apart_from_a_broken_one() {
    let world = World::start(&[]).await;
    world.services.answer_trades_with(OrderError::Busy);
    let reply = world.post("/orders", BUY_TWO).await;
    reply.is_problem(503, "too many requests");
    assert_eq!(reply.header("retry-after"), Some("1"));
    world
        .services
        .answer_trades_with(OrderError::Inconsistent("a gap after 7".into()));
    world
        .post("/orders", BUY_TWO)
        .await
        .is_problem(500, "a gap after 7");
}
