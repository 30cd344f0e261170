//! What each of the three original systems did.

use hyper::Method;
use serde_json::json;

use crate::cluster::Cluster;
use crate::http::{Connection, get, post, post_with, send};

#[tokio::test(flavor = "multi_thread")]
async fn the_three_shops_serve_their_customers() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();

    // The stock bazaar: lookup, trade, order query.
    let stock = get(at, "/stocks/GameStart").await;
    assert_eq!(stock.status, 200, "{stock:?}");
    assert_eq!(stock.json()["data"]["name"], "GameStart");
    assert_eq!(stock.json()["data"]["price"].to_string(), "15.99");
    assert_eq!(stock.json()["data"]["quantity"], 100);
    let buy = post(
        at,
        "/orders",
        &json!({"name": "GameStart", "quantity": 30, "type": "buy"}),
    )
    .await;
    assert_eq!(buy.status, 200, "{buy:?}");
    assert_eq!(buy.json(), json!({"data": {"transaction_number": 0}}));
    let sell = post(
        at,
        "/orders",
        &json!({"name": "GameStart", "quantity": 5, "type": "sell"}),
    )
    .await;
    assert_eq!(sell.json(), json!({"data": {"transaction_number": 1}}));
    assert_eq!(
        get(at, "/stocks/GameStart").await.json()["data"]["quantity"],
        75
    );
    let order = get(at, "/orders/0").await;
    assert_eq!(order.json()["data"]["number"], 0);
    assert_eq!(order.json()["data"]["name"], "GameStart");
    assert_eq!(order.json()["data"]["type"], "buy");
    assert_eq!(order.json()["data"]["quantity"], 30);
    let too_many = post(
        at,
        "/orders",
        &json!({"name": "GameStart", "quantity": 76, "type": "buy"}),
    )
    .await;
    too_many.problem(400);
    assert_eq!(too_many.json()["error"]["message"], "not enough stock");
    let unknown = get(at, "/stocks/Nothing").await;
    unknown.problem(404);
    assert_eq!(unknown.json()["error"]["message"], "stock not found");
    let unknown = get(at, "/orders/2").await;
    unknown.problem(404);
    assert_eq!(unknown.json()["error"]["message"], "order number not found");

    // The book store: search by topic, lookup, buy the last copy, and no more.
    let found = get(at, "/search/distributed%20systems").await;
    assert_eq!(found.status, 200, "{found:?}");
    let books = found.json();
    let books = books.as_array().unwrap();
    assert!(!books.is_empty());
    let id = books[0]["id"].as_u64().unwrap();
    for path in [format!("/info/{id}"), format!("/lookup/{id}")] {
        let info = get(at, &path).await;
        assert_eq!(info.json()["title"], books[0]["title"], "{info:?}");
    }
    let copies = get(at, &format!("/info/{id}")).await.json()["quantity"]
        .as_u64()
        .unwrap();
    for copy in 0..copies {
        let path = if copy % 2 == 0 { "purchase" } else { "buy" };
        let bought = send(at, Method::POST, &format!("/{path}/{id}"), &[], "").await;
        assert_eq!(bought.status, 200, "{bought:?}");
    }
    assert_eq!(get(at, &format!("/info/{id}")).await.json()["quantity"], 0);
    send(at, Method::POST, &format!("/purchase/{id}"), &[], "")
        .await
        .problem(409);
    get(at, "/info/999999").await.problem(404);
    send(at, Method::POST, "/buy/999999", &[], "")
        .await
        .problem(404);

    // The merch store: its shelves are open, its till wants an account.
    let greeting = get(at, "/").await;
    assert_eq!(greeting.status, 200, "{greeting:?}");
    let products = get(at, "/products?limit=1000").await.json();
    let products = products.as_array().expect("a list");
    let hoodie = products.iter().find(|product| product["name"] == "hoodie");
    let hoodie = hoodie.expect("a hoodie")["id"].as_u64().unwrap();
    assert_eq!(get(at, &format!("/products/{hoodie}")).await.status, 200);
    let refused = post(at, "/orders", &json!({"product_id": hoodie, "quantity": 1})).await;
    refused.problem(401);
    assert!(!refused.header("www-authenticate").is_empty());

    // What was refused has changed nothing, anywhere.
    let orders = 2 + copies;
    let logs = cluster.logs(3);
    assert_eq!(logs[0].lines().count() as u64, 1 + orders, "{}", logs[0]);
    assert_eq!(cluster.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_is_one_order() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let body = json!({"name": "BoarCo", "quantity": 3, "type": "buy"});
    let key = [("idempotency-key", "one-key")];
    let first = post_with(cluster.http[0], "/orders", &key, &body).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("idempotent-replayed"), "");
    // Again here, and through the other frontend: the same answer, marked.
    for at in [cluster.http[0], cluster.http[1]] {
        let again = post_with(at, "/orders", &key, &body).await;
        assert_eq!(again.status, 200);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    // Through another leader.
    let leader = cluster.leader("order");
    cluster.control("kill", &leader);
    let again = post_with(cluster.http[0], "/orders", &key, &body).await;
    assert_eq!(again.body, first.body, "{again:?}");
    assert_eq!(again.header("idempotent-replayed"), "true");
    // Another body under the key is a mistake of the client's.
    let other = json!({"name": "BoarCo", "quantity": 4, "type": "buy"});
    post_with(cluster.http[1], "/orders", &key, &other)
        .await
        .problem(422);
    assert_eq!(
        get(cluster.frontend(), "/stocks/BoarCo").await.json()["data"]["quantity"],
        97
    );
    // A refusal is not pinned to its key.
    let key = [("idempotency-key", "another")];
    let many = json!({"name": "BoarCo", "quantity": 98, "type": "buy"});
    post_with(cluster.http[0], "/orders", &key, &many)
        .await
        .problem(400);
    let sell = json!({"name": "BoarCo", "quantity": 1, "type": "sell"});
    assert_eq!(post(cluster.http[0], "/orders", &sell).await.status, 200);
    let succeeded = post_with(cluster.http[0], "/orders", &key, &many).await;
    assert_eq!(succeeded.status, 200, "{succeeded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_read_back_in_the_order_asked_for() {
    let cluster = Cluster::start(&[]);
    let mut connection = Connection::open(cluster.frontend()).await.unwrap();
    for quantity in 1..=5 {
        let body = json!({"name": "FishCo", "quantity": quantity, "type": "buy"}).to_string();
        let json = [("content-type", "application/json")];
        let bought = connection
            .send(Method::POST, "/orders", &json, body)
            .await
            .unwrap();
        assert_eq!(bought.json()["data"]["transaction_number"], quantity - 1);
    }
    let orders = connection.get("/orders?numbers=4,0,2").await.unwrap();
    assert_eq!(orders.status, 200, "{orders:?}");
    let orders = orders.json();
    let quantities: Vec<u64> = orders["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| order["quantity"].as_u64().unwrap())
        .collect();
    assert_eq!(quantities, [5, 1, 3]);
    connection
        .get("/orders?numbers=0,99")
        .await
        .unwrap()
        .problem(404);
    connection
        .get("/orders?numbers=a")
        .await
        .unwrap()
        .problem(400);
    connection.get("/orders").await.unwrap().problem(401);
}
