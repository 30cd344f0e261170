//! The merch store: orders of account holders, and what administrators do to products.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::{Answer, get, post, post_with};
use crate::users::{create_admin, login, register, with, with_headers};

const HOODIE: u64 = 201;

/// How many hoodies and notebooks there are at first.
const STOCK: u64 = 500;

/// Somebody who is logged in, at a frontend.
struct Customer {
    session: Value,
    at: SocketAddr,
}

impl Customer {
    async fn register(at: SocketAddr, name: &str, student: u64) -> Self {
        register(at, name, student).await;
        Self::login(at, name).await
    }

    async fn login(at: SocketAddr, name: &str) -> Self {
        let session = login(at, name).await;
        Self { session, at }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        with(&self.session, self.at, method, path, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// Asks for so many units of a product.
    async fn ask_for(&self, product: u64, quantity: u64) -> Answer {
        let order = json!({"product_id": product, "quantity": quantity});
        self.send(Method::POST, "/orders", &order).await
    }

    /// Orders so many units of a product; returns the order's number.
    async fn order(&self, product: u64, quantity: u64) -> u64 {
        let placed = self.ask_for(product, quantity).await;
        assert_eq!(placed.status, 200, "{placed:?}");
        placed.json()["data"]["transaction_number"]
            .as_u64()
            .unwrap()
    }

    async fn update(&self, order: u64, quantity: u64) -> Answer {
        let (path, body) = (format!("/orders/{order}"), json!({"quantity": quantity}));
        self.send(Method::PUT, &path, &body).await
    }

    async fn cancel(&self, order: u64) -> Answer {
        let path = format!("/orders/{order}");
        self.send(Method::DELETE, &path, &Value::Null).await
    }

    /// The order as it stands.
    async fn see(&self, order: u64) -> Value {
        let seen = self.get(&format!("/orders/{order}")).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        seen.json()["data"].clone()
    }
}

async fn left(at: SocketAddr, product: u64) -> u64 {
    let product = get(at, &format!("/products/{product}")).await.json();
    product["quantity"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_its_owners_to_see_and_to_change() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let [at, elsewhere] = cluster.http[..] else {
        panic!("two frontends");
    };
    let alice = Customer::register(at, "alice", 1).await;
    let bob = Customer::register(elsewhere, "bob", 2).await;

    // Placed, once under its key, and seen from every frontend.
    let (body, key) = (
        json!({"product_id": HOODIE, "quantity": 2}),
        [("idempotency-key", "mine")],
    );
    let place = |at| with_headers(&alice.session, at, Method::POST, "/orders", &key, &body);
    let placed = place(at).await;
    assert_eq!(placed.json(), json!({"data": {"transaction_number": 0}}));
    let again = place(elsewhere).await;
    assert_eq!(
        (&again.body, again.header("idempotent-replayed")),
        (&placed.body, "true")
    );
    // Keys are each user's own.
    let order = with_headers(
        &bob.session,
        elsewhere,
        Method::POST,
        "/orders",
        &key,
        &body,
    )
    .await;
    assert_eq!(order.json(), json!({"data": {"transaction_number": 1}}));
    for at in [at, elsewhere] {
        assert_eq!(left(at, HOODIE).await, STOCK - 4);
    }
    let seen = alice.see(0).await;
    assert_eq!(seen["name"], "hoodie");
    assert_eq!(seen["price"].to_string(), "49.99");
    assert_eq!(seen["total"].to_string(), "99.98");
    assert_eq!(seen["user"], alice.session["user_id"]);
    assert_eq!(
        (&seen["status"], &seen["history"]),
        (&json!("placed"), &json!([]))
    );

    // To everybody else there is no such order.
    for path in ["/orders/0", "/orders?numbers=0"] {
        bob.get(path).await.problem(404);
        get(at, path).await.problem(404);
    }
    bob.update(0, 1).await.problem(404);
    bob.cancel(0).await.problem(404);

    // Within the shop's bounds, it is for as many as its owner likes.
    for quantity in [0, 4] {
        let bounds = "quantity: an order in this shop is for 1 to 3 units";
        assert_eq!(alice.ask_for(HOODIE, quantity).await.problem(400), bounds);
        assert_eq!(alice.update(0, quantity).await.problem(400), bounds);
    }
    let updated = alice.update(0, 3).await;
    assert_eq!(updated.json()["data"]["status"], "updated", "{updated:?}");
    assert_eq!(left(elsewhere, HOODIE).await, STOCK - 5);
    let seen = alice.see(0).await;
    assert_eq!(updated.json()["data"], seen);
    assert_eq!(
        (&seen["quantity"], seen["total"].to_string()),
        (&json!(3), "149.97".into())
    );
    let change = &seen["history"][0];
    assert_eq!(
        (&change["number"], &change["from"], &change["to"]),
        (&json!(2), &json!(2), &json!(3))
    );
    // The trade of the difference is no order of its own.
    alice.get("/orders/2").await.problem(404);

    // A list of one's own, page by page.
    for _ in 0..2 {
        alice.order(203, 1).await;
    }
    let mut numbers = Vec::new();
    let mut next = Some("/orders?limit=2".to_owned());
    while let Some(path) = next.take() {
        let page = alice.get(&path).await;
        let orders = page.json()["data"].as_array().unwrap().clone();
        numbers.extend(orders.iter().map(|order| order["number"].as_u64().unwrap()));
        let link = page.header("link").strip_suffix(">; rel=\"next\"");
        next = link.map(|link| link.trim_start_matches('<').to_owned());
    }
    assert_eq!(numbers, [0, 3, 4]);
    let several = alice.get("/orders?numbers=4,0").await.json();
    assert_eq!(several["data"][1], seen);
    alice.get("/orders?limit=101").await.problem(400);
    alice.get("/orders?numbers=0&limit=1").await.problem(400);

    // Cancelled, for good; an administrator may do that for anybody.
    create_admin(&cluster, &[]);
    let admin = Customer::login(at, "root").await;
    assert_eq!(admin.see(1).await["user"], bob.session["user_id"]);
    for owner in [&alice, &admin] {
        let cancelled = owner.cancel(0).await.json();
        assert_eq!(
            (&cancelled["data"]["status"], &cancelled["data"]["quantity"]),
            (&json!("cancelled"), &json!(0))
        );
    }
    assert_eq!(admin.cancel(1).await.status, 200);
    assert_eq!(left(at, HOODIE).await, STOCK);
    alice.update(0, 1).await.problem(409);

    // What everybody sees is nobody's to change, and a token makes an order one's own in any shop.
    let stock = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
    let open = post(at, "/orders", &stock).await.json()["data"]["transaction_number"].clone();
    let open = open.as_u64().unwrap();
    assert_eq!(bob.see(open).await["user"], Value::Null);
    bob.cancel(open).await.problem(409);
    let own = bob.send(Method::POST, "/orders", &stock).await.json();
    let own = own["data"]["transaction_number"].as_u64().unwrap();
    get(at, &format!("/orders/{own}")).await.problem(404);
    assert_eq!(bob.cancel(own).await.status, 200);
    for (method, path) in [(Method::PUT, "/orders/0"), (Method::DELETE, "/orders/0")] {
        let body = json!({"quantity": 1}).to_string();
        let json = [("content-type", "application/json")];
        let refused = crate::http::send(at, method, path, &json, body).await;
        refused.problem(401);
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer realm=\"bazaar\""
        );
    }

    cluster.caught_up("order");
    let logs = cluster.logs(3);
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
    assert_eq!(cluster.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_and_updates_that_race_return_and_take_the_stock_once() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let alice = Customer::register(cluster.http[0], "alice", 1).await;
    let there = Customer {
        session: alice.session.clone(),
        at: cluster.http[1],
    };
    for round in 0..10 {
        let number = alice.order(HOODIE, 2).await;
        let (one, other) = tokio::join!(alice.cancel(number), there.cancel(number));
        assert_eq!(
            (one.json(), one.status.as_u16()),
            (other.json(), 200),
            "{round}"
        );
        assert_eq!(left(there.at, HOODIE).await, STOCK);

        // Whichever comes first, the order ends cancelled.
        let number = alice.order(HOODIE, 1).await;
        let (updated, cancelled) = tokio::join!(alice.update(number, 3), there.cancel(number));
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
        let history = alice.see(number).await["history"].as_array().unwrap().len();
        match updated.status.as_u16() {
            200 => assert_eq!(history, 2),
            409 => assert_eq!(history, 1),
            _ => panic!("{updated:?}"),
        }
        assert_eq!(alice.see(number).await["status"], "cancelled");
        assert_eq!(left(alice.at, HOODIE).await, STOCK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_deactivated_orders_no_more() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let at = cluster.frontend();
    let alice = Customer::register(at, "alice", 1).await;
    let number = alice.order(HOODIE, 1).await;
    create_admin(&cluster, &[]);
    let admin = Customer::login(at, "root").await;
    let path = format!("/users/{}", alice.session["user_id"]);
    let gone = admin.send(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let deactivated = Instant::now();
    tokio::time::sleep_until((deactivated + Duration::from_secs(1)).into()).await;
    for at in &cluster.http {
        let alice = Customer {
            session: alice.session.clone(),
            at: *at,
        };
        let refused = alice.ask_for(HOODIE, 1).await;
        assert!(refused.problem(401).contains("revoked"), "{refused:?}");
        alice.cancel(number).await.problem(401);
    }
    assert_eq!(admin.see(number).await["status"], "placed");
    assert_eq!(left(at, HOODIE).await, STOCK - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_edits_products_and_every_cache_shows_it() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let [at, elsewhere] = cluster.http[..] else {
        panic!("two frontends");
    };
    create_admin(&cluster, &[]);
    let admin = Customer::login(at, "root").await;
    let bob = Customer::register(at, "bob", 2).await;

    // Created, by an administrator only.
    let mug = json!({"name": "mug", "shop": "merch", "price": 7.5, "quantity": 10});
    post(at, "/products", &mug).await.problem(401);
    bob.send(Method::POST, "/products", &mug).await.problem(403);
    let key = [("idempotency-key", "mug")];
    let create = || with_headers(&admin.session, at, Method::POST, "/products", &key, &mug);
    let created = create().await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(create().await.json(), created.json());
    let id = created.json()["id"].as_u64().unwrap();
    let path = format!("/products/{id}");
    assert_eq!(created.header("location"), path);
    let shown = get(elsewhere, &path).await;
    assert_eq!(shown.json(), created.json());
    assert_eq!(shown.header("etag"), created.header("etag"));
    let taken = admin.send(Method::POST, "/products", &mug).await;
    assert!(taken.problem(409).starts_with("name"));

    // Changed, if it still is what the administrator has seen.
    let conditional = |tag: String, body: Value| {
        let (session, path) = (&admin.session, &path);
        async move {
            let tag = [("if-match", tag.as_str())];
            with_headers(session, at, Method::PUT, path, &tag, &body).await
        }
    };
    let first = created.header("etag").to_owned();
    let changed = conditional(first.clone(), json!({"price": 8.25, "category": "kitchen"})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let shown = get(elsewhere, &path).await;
    assert_eq!(shown.json(), changed.json());
    assert_eq!(shown.json()["price"].to_string(), "8.25");
    conditional(first, json!({"price": 1})).await.problem(412);
    for tag in ["\"0\"", "\"nothing\""] {
        conditional(tag.into(), json!({"price": 1}))
            .await
            .problem(412);
    }
    bob.send(Method::PUT, &path, &json!({"price": 1}))
        .await
        .problem(403);
    admin
        .send(Method::PUT, &path, &json!({"price": -1}))
        .await
        .problem(400);
    admin
        .send(Method::PUT, "/products/4711", &json!({"price": 1}))
        .await
        .problem(404);

    // An order keeps the price that it was placed at.
    let number = bob.order(id, 2).await;
    admin.send(Method::PUT, &path, &json!({"price": 100})).await;
    assert_eq!(bob.update(number, 3).await.status, 200);
    assert_eq!(bob.see(number).await["total"].to_string(), "24.75");
    assert_eq!(left(elsewhere, id).await, 7);

    // Restocked.
    let restock = format!("{path}/restock");
    let full = admin
        .send(Method::POST, &restock, &json!({"quantity": 5}))
        .await;
    assert_eq!(full.json()["quantity"], 12, "{full:?}");
    assert_eq!(left(elsewhere, id).await, 12);
    admin
        .send(Method::POST, &restock, &json!({"quantity": 0}))
        .await
        .problem(400);
    bob.send(Method::POST, &restock, &json!({"quantity": 5}))
        .await
        .problem(403);

    // Removed; what was ordered of it can still be given back.
    bob.send(Method::DELETE, &path, &Value::Null)
        .await
        .problem(403);
    let removed = admin.send(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(removed.status, 204, "{removed:?}");
    for at in [at, elsewhere] {
        get(at, &path).await.problem(404);
    }
    bob.ask_for(id, 1).await.problem(404);
    assert_eq!(
        bob.cancel(number).await.json()["data"]["status"],
        "cancelled"
    );
    admin
        .send(Method::DELETE, &path, &Value::Null)
        .await
        .problem(404);

    // A shop whose copies were all bought is filled again.
    let book = 2;
    let copies = get(at, &format!("/info/{book}")).await.json()["quantity"].clone();
    for _ in 0..copies.as_u64().unwrap() {
        assert_eq!(
            post(at, &format!("/buy/{book}"), &json!({})).await.status,
            200
        );
    }
    let (key, nothing) = ([("idempotency-key", "again")], json!({}));
    let buy = || post_with(at, "/buy/2", &key, &nothing);
    buy().await.problem(409);
    let one = json!({"quantity": 1});
    admin.send(Method::POST, "/products/2/restock", &one).await;
    assert_eq!(buy().await.status, 200);

    let users = admin.get("/users").await.json();
    assert_eq!(users.as_array().unwrap().len(), 2);
    assert_eq!(cluster.stop().code(), Some(0));
}
