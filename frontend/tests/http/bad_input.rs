//! Requests that are not as the interface says: each is answered with a clear problem document, and
//! nothing has changed.

use crate::world::World;

#[tokio::test]
async fn bad_orders_are_refused_and_change_nothing() {
    let world = World::start(&[]).await;
    let before = world.services.shop();
    let long_name = format!(
        r#"{{"name":"{}","quantity":1,"type":"buy"}}"#,
        "x".repeat(10 << 10)
    );
    let deep = "[".repeat(10_000);
    let of_quantity =
        |quantity| format!(r#"{{"name":"GameStart","quantity":{quantity},"type":"buy"}}"#);
    let rows = [
        ("", "not a JSON object"),
        ("nonsense", "not a JSON object"),
        ("null", "not a JSON object"),
        (r#"["GameStart",null,1,"buy"]"#, "not a JSON object"),
        (deep.as_str(), "not a JSON object"),
        ("{", "EOF"),
        (
            r#"{"name":"GameStart","quantity":1,"type":"buy"} x"#,
            "trailing",
        ),
        (r#"{"name":"GameStart","quantity":1}"#, "type: missing"),
        (r#"{"quantity":1,"type":"buy"}"#, "name: missing"),
        (
            r#"{"name":"GameStart","type":"buy"}"#,
            "missing field `quantity`",
        ),
        (
            r#"{"name":"GameStart","product_id":1,"quantity":1,"type":"buy"}"#,
            "not both",
        ),
        (
            r#"{"name":"GameStart","quantity":1,"type":"steal"}"#,
            "type: unknown variant `steal`",
        ),
        (r#"{"name":"GameStart","quantity":1,"type":7}"#, "type: "),
        (
            r#"{"name":"GameStart","quantity":1,"type":"buy","price":1}"#,
            "unknown field `price`",
        ),
        (
            r#"{"name":"GameStart","quantity":1,"quantity":2,"type":"buy"}"#,
            "duplicate field",
        ),
        (
            r#"{"name":"","quantity":1,"type":"buy"}"#,
            "name: a text here has 1 to 200 characters",
        ),
        (
            r#"{"name":"a/b","quantity":1,"type":"buy"}"#,
            "name: an item's name has no slash",
        ),
        (
            r#"{"name":"a\u0000b","quantity":1,"type":"buy"}"#,
            "name: a text here has no control",
        ),
        (r#"{"name":"\ud800","quantity":1,"type":"buy"}"#, "name: "),
        (r#"{"name":7,"quantity":1,"type":"buy"}"#, "name: "),
        (r#"{"product_id":-1,"quantity":1}"#, "product_id: "),
        (r#"{"product_id":"1","quantity":1}"#, "product_id: "),
        (
            long_name.as_str(),
            "name: a text here has 1 to 200 characters",
        ),
    ];
    let mut client = world.client().await;
    for (body, detail) in rows {
        client
            .send("POST", "/orders", &[], body)
            .await
            .is_problem(400, detail);
    }
    for quantity in [
        "-1",
        "1.5",
        "1.0",
        "\"1\"",
        "true",
        "null",
        "[]",
        "1e30",
        "1000000000001",
    ] {
        let reply = client
            .send("POST", "/orders", &[], &of_quantity(quantity))
            .await;
        reply.is_problem(400, "quantity: ");
        reply.is_problem(400, "a whole number from 1 to 1000000000000");
    }
    // The shop refuses that, by its own bounds.
    client
        .send("POST", "/orders", &[], &of_quantity("0"))
        .await
        .is_problem(400, "for 1 to 1000000000000 units");
    let digits = format!("1{}", "0".repeat(30));
    client
        .send("POST", "/orders", &[], &of_quantity(&digits))
        .await
        .is_problem(400, "quantity: ");
    assert_eq!(world.services.shop(), before);
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_refused() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    client
        .write(b"POST /orders HTTP/1.1\r\nhost: bazaar\r\ncontent-length: 12\r\n\r\n")
        .await;
    client.write(b"{\"name\":\"\xff\"}").await;
    client.read(true).await.is_problem(400, "name: ");
}

#[tokio::test]
async fn a_body_is_json_and_not_too_large() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let order = r#"{"name":"GameStart","quantity":1,"type":"buy"}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let headers = [("content-type", content_type)];
        let reply = client.send("POST", "/orders", &headers, order).await;
        reply.is_problem(415, content_type);
    }
    for headers in [
        &[][..],
        &[("content-type", "application/json; charset=utf-8")],
    ] {
        assert_eq!(
            client.send("POST", "/orders", headers, order).await.status,
            200
        );
    }
    let padded = |length: usize| format!("{order}{}", " ".repeat(length - order.len()));
    assert_eq!(
        client
            .send("POST", "/orders", &[], &padded(64 << 10))
            .await
            .status,
        200
    );
    let reply = client
        .send("POST", "/orders", &[], &padded((64 << 10) + 1))
        .await;
    reply.is_problem(413, "65536 bytes");
    let reply = client.send("POST", "/orders", &[], &padded(1 << 20)).await;
    reply.is_problem(413, "65536 bytes");
    let mut client = world.client().await;
    client
        .write(b"POST /orders HTTP/1.1\r\nhost: bazaar\r\ncontent-length: 99999999\r\n\r\n")
        .await;
    client.read(true).await.is_problem(413, "65536 bytes");
    assert_eq!(world.services.shop().orders.len(), 3);
}

#[tokio::test]
async fn bad_paths_and_queries_are_refused() {
    let world = World::start(&[]).await;
    let long = format!("/stocks/{}", "x".repeat(10 << 10));
    let many = format!("/orders?numbers={}0", "0,".repeat(1000));
    let mut client = world.client().await;
    for (path, detail) in [
        (long.as_str(), "name: a text here has 1 to 200 characters"),
        ("/stocks/a%2Fb", "name: an item's name has no slash"),
        ("/stocks/%FF", "UTF-8"),
        ("/stocks/%00", "name: a text here has no control"),
        ("/info/x", "id: \"x\" is not a whole number"),
        ("/info/-1", "id: "),
        ("/lookup/99999999999999999999", "id: "),
        ("/products/%2B1", "id: "),
        ("/orders/x", "order number: \"x\""),
        ("/orders/1.5", "order number: "),
        ("/orders?numbers=", "numbers: "),
        ("/orders?numbers=0,x", "numbers: order number: \"x\""),
        ("/orders?numbers=0&numbers=1", "duplicate field"),
        ("/orders?number=1", "unknown field `number`"),
        (many.as_str(), "numbers: at most 1000"),
        ("/products?limit=0", "limit: 0 is not from 1 to 1000"),
        ("/products?limit=1001", "limit: 1001"),
        ("/products?limit=x", "limit"),
        ("/products?after=-1", "after"),
        ("/search/%FF", "UTF-8"),
    ] {
        client
            .send("GET", path, &[], "")
            .await
            .is_problem(400, detail);
    }
    assert_eq!(world.services.lookups(), 0);
}

#[tokio::test]
async fn bad_idempotency_keys_are_refused() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let long = "x".repeat(256);
    for key in ["", "a b", "é", &long] {
        let headers = [("idempotency-key", key)];
        for path in ["/orders", "/purchase/2"] {
            let reply = client.send("POST", path, &headers, "").await;
            reply.is_problem(400, "Idempotency-Key: ");
        }
    }
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    for path in [
        "/nothing",
        "/stocks",
        "/stocks/",
        "/stocks/a/b",
        "/orders/",
        "/orders/1/x",
    ] {
        client
            .send("GET", path, &[], "")
            .await
            .is_problem(404, path);
    }
    for (method, path, allow) in [
        ("DELETE", "/stocks/GameStart", "GET,HEAD"),
        ("PUT", "/orders", "GET,HEAD,POST"),
        ("POST", "/orders/1", "GET,HEAD,PUT,DELETE"),
        ("GET", "/purchase/1", "POST"),
        ("BREW", "/livez", "GET,HEAD"),
    ] {
        let reply = client.send(method, path, &[], "").await;
        reply.is_problem(405, method);
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}
