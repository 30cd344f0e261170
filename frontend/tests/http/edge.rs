//! What every request passes: ids and traces, origins, the limit on requests, gzip.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::client::Reply;
use crate::world::World;

const PAGE: &str = "https://shop.example";

#[tokio::test]
async fn every_answer_has_the_request_s_id_and_every_problem_too() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let id = [("x-request-id", "mine-1")];
    for path in ["/livez", "/stocks/GameStart", "/nothing"] {
        let reply = client.send("GET", path, &id, "").await;
        assert_eq!(reply.header("x-request-id"), Some("mine-1"), "{path}");
        if reply.status == 404 {
            assert_eq!(reply.json["request_id"], "mine-1");
        }
    }
    let first = client.send("GET", "/info/x", &[], "").await;
    let second = client
        .send("GET", "/info/x", &[("x-request-id", "a b")], "")
        .await;
    let made = |reply: &Reply| reply.header("x-request-id").unwrap().to_owned();
    assert_eq!(first.json["request_id"], made(&first));
    assert_eq!(made(&second).len(), 32, "an id that is none is replaced");
    assert_ne!(made(&first), made(&second));
}

#[tokio::test]
async fn a_trace_is_followed_into_the_order_service() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let order = r#"{"name":"GameStart","quantity":1,"type":"buy"}"#;
    let headers = [("traceparent", parent.as_str())];
    let reply = client.send("POST", "/orders", &headers, order).await;
    let told = reply.header("traceparent").unwrap();
    assert!(told.starts_with(&format!("00-{trace}-")), "{told}");
    assert_eq!(
        world.services.last_trace(),
        u128::from_str_radix(trace, 16).unwrap()
    );

    // Without a trace, the request's own id is one.
    let reply = client.send("POST", "/orders", &[], order).await;
    assert_eq!(reply.header("traceparent"), None);
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(format!("{:032x}", world.services.last_trace()), id);
}

#[tokio::test]
async fn what_may_be_kept_is_said() {
    let world = World::start(&[]).await;
    for (path, kept) in [
        ("/stocks/GameStart", "no-cache"),
        ("/info/2", "no-cache"),
        ("/products", "no-store"),
        ("/stocks/Nobody", "no-store"),
        ("/livez", "no-store"),
    ] {
        assert_eq!(
            world.get(path).await.header("cache-control"),
            Some(kept),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let world = World::start(&["--rate-limit", "1", "--rate-burst", "3"]).await;
    let mut client = world.client().await;
    let mut replies = Vec::new();
    for _ in 0..10 {
        replies.push(client.send("GET", "/stocks/GameStart", &[], "").await);
    }
    let first = &replies[0];
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"address\";q=3;w=3")
    );
    assert_eq!(first.header("ratelimit"), Some("\"address\";r=2;t=1"));
    let refused = replies.iter().find(|reply| reply.status != 200).unwrap();
    refused.is_problem(429, "too many requests from one address");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.header("ratelimit").unwrap().contains("r=0;"));
    for _ in 0..10 {
        let reply = client.send("GET", "/livez", &[], "").await;
        assert_eq!((reply.status, reply.header("ratelimit")), (200, None));
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask() {
    let world = World::start(&["--cors-origin", PAGE]).await;
    let mut client = world.client().await;
    let preflight = [("origin", PAGE), ("access-control-request-method", "POST")];
    let reply = client.send("OPTIONS", "/orders", &preflight, "").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE));
    let headers = reply.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("idempotency-key"), "{headers}");
    let reply = client
        .send("GET", "/nothing", &[("origin", PAGE)], "")
        .await;
    reply.is_problem(404, "/nothing");
    assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(reply.header("vary"), Some("origin"));
    let exposed = reply.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("etag"), "{exposed}");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not() {
    let world = World::start(&["--cors-origin", PAGE]).await;
    let mut client = world.client().await;
    for origin in ["https://other.example", "null", "https://shop.example.com"] {
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        for method in ["OPTIONS", "GET"] {
            let reply = client.send(method, "/products", &preflight, "").await;
            assert_eq!(
                reply.header("access-control-allow-origin"),
                None,
                "{origin}"
            );
            assert_eq!(
                reply.header("access-control-allow-methods"),
                None,
                "{origin}"
            );
            assert_eq!(reply.header("vary"), Some("origin"));
        }
    }
    let nobody = World::start(&[]).await;
    let reply = nobody
        .client()
        .await
        .send("GET", "/products", &[("origin", PAGE)], "")
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn options_says_what_a_path_is_served_with() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    for (path, allow) in [
        ("/stocks/GameStart", "GET,HEAD"),
        ("/orders", "GET,HEAD,POST"),
        ("/buy/1", "POST"),
    ] {
        let reply = client.send("OPTIONS", path, &[], "").await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (204, Some(allow)),
            "{path}"
        );
    }
    client
        .send("OPTIONS", "/nothing", &[], "")
        .await
        .is_problem(404, "/nothing");
}

#[tokio::test]
async fn a_large_body_is_compressed_for_who_takes_that_and_a_lookup_is_not() {
    let world = World::start(&[]).await;
    let plain = world.get("/openapi.json").await;
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = world
        .get_bytes("/openapi.json", &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.headers()["vary"], "accept-encoding");
    let mut text = String::new();
    GzDecoder::new(zipped.body().as_ref())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.body);
    let length = zipped.body().len();
    assert!(length * 4 < text.len(), "{length} of {}", text.len());
    let mut client = world.client().await;
    let headers = [("accept-encoding", "gzip")];
    let lookup = client.send("GET", "/stocks/GameStart", &headers, "").await;
    assert_eq!(lookup.header("content-encoding"), None);
}
