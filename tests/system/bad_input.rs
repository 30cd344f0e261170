//! What a careless or hostile client sends: each gets a clear answer, and nothing changes.

use std::net::SocketAddr;

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, eventually};
use crate::http::{Answer, get, post, post_with, send};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

async fn order(at: SocketAddr, body: &str) -> Answer {
    send(at, Method::POST, "/orders", JSON, body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_clearly_and_changes_nothing() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();
    let leader = cluster.leader("order");
    let term = cluster.process(&leader)["term"].clone();

    // A body, the status it gets, and what the detail must name.
    let large = format!(
        r#"{{"name":"{}","quantity":1,"type":"buy"}}"#,
        "x".repeat(70_000)
    );
    let long_name = format!(
        r#"{{"name":"{}","quantity":1,"type":"buy"}}"#,
        "x".repeat(10 << 10)
    );
    let quantity = |quantity: &str| {
        (
            format!(r#"{{"name":"GameStart","quantity":{quantity},"type":"buy"}}"#),
            400,
            "quantity",
        )
    };
    let cases = [
        (String::new(), 400, ""),
        ("{".into(), 400, ""),
        ("[]".into(), 400, ""),
        ("null".into(), 400, ""),
        ("{}".into(), 400, ""),
        (large, 413, "65536"),
        (long_name, 400, "name"),
        (
            r#"{"name":"a/b","quantity":1,"type":"buy"}"#.into(),
            400,
            "slash",
        ),
        (
            r#"{"name":"GameStart","quantity":1,"type":"hold"}"#.into(),
            400,
            "hold",
        ),
        (r#"{"name":"GameStart","quantity":1}"#.into(), 400, "type"),
        (
            r#"{"name":"GameStart","name":"BoarCo","quantity":1,"type":"buy"}"#.into(),
            400,
            "name",
        ),
        (
            r#"{"name":"GameStart","quantity":1,"type":"buy","x":1}"#.into(),
            400,
            "x",
        ),
        (r#"{"name":7,"quantity":1,"type":"buy"}"#.into(), 400, ""),
        (
            r#"{"name":"Nothing","quantity":1,"type":"buy"}"#.into(),
            404,
            "",
        ),
        quantity("0"),
        quantity("-1"),
        quantity("1.5"),
        quantity("\"1\""),
        quantity("1e30"),
        quantity("1000000000000000000000000000000"),
        quantity("null"),
    ];
    for (body, status, names) in cases {
        let shown: String = body.chars().take(90).collect();
        let answer = order(at, &body).await;
        let detail = answer.problem(status);
        assert!(detail.contains(names), "{shown}: {detail}");
    }
    let not_utf8 = [b"{\"name\":\"\xff\xfe\",\"quantity\":1,\"type\":\"buy\"}".as_slice()].concat();
    send(at, Method::POST, "/orders", JSON, not_utf8)
        .await
        .problem(400);

    // Content types: another than JSON is refused, none at all is taken as JSON.
    let good = r#"{"name":"GameStart","quantity":1,"type":"buy"}"#;
    let text = [("content-type", "text/plain")];
    send(at, Method::POST, "/orders", &text, good)
        .await
        .problem(415);
    let untyped = r#"{"name":"GameStart","quantity":0,"type":"buy"}"#;
    send(at, Method::POST, "/orders", &[], untyped)
        .await
        .problem(400);

    // Names in paths.
    get(at, "/stocks/a%2Fb").await.problem(400);
    get(at, "/stocks/%FF%FE").await.problem(400);
    get(at, &format!("/stocks/{}", "x".repeat(10 << 10)))
        .await
        .problem(400);
    get(at, "/orders/x").await.problem(400);
    get(at, "/orders/-1").await.problem(400);
    get(at, "/info/x").await.problem(400);

    // Paths and methods that are none.
    get(at, "/nowhere").await.problem(404);
    let answer = send(at, Method::DELETE, "/stocks/GameStart", &[], "").await;
    answer.problem(405);
    assert!(answer.header("allow").contains("GET"), "{answer:?}");
    let answer = send(at, Method::PUT, "/orders", JSON, good).await;
    answer.problem(405);
    assert!(answer.header("allow").contains("POST"), "{answer:?}");

    // Idempotency keys.
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        let body = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
        post_with(at, "/orders", &[("idempotency-key", key)], &body)
            .await
            .problem(400);
    }

    // Nothing was booked, nobody was elected, nobody crashed.
    assert_eq!(
        get(at, "/stocks/GameStart").await.json()["data"]["quantity"],
        100
    );
    let processes = cluster.status();
    assert!(
        processes
            .iter()
            .all(|p| p["state"] == "running" && p["restarts"] == 0),
        "{processes:?}"
    );
    assert_eq!(cluster.process(&leader)["term"], term);
    for log in cluster.logs(3) {
        assert_eq!(log, "Transaction ID,Stock Name,Order Type,Quantity\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_in_the_middle_finds_its_order_once_or_not_at_all() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();
    let body = json!({"name": "MenhirCo", "quantity": 1, "type": "buy"}).to_string();
    let mut booked = 0;
    for attempt in 0..20_usize {
        let key = format!("hang-up-{attempt}");
        let request = format!(
            "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // The first half of the attempts stop in the middle of the body, the others right after it.
        let sent = if attempt < 10 {
            request.len() - 1 - attempt
        } else {
            request.len()
        };
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&request.as_bytes()[..sent]).await.unwrap();
        drop(stream);
        let parsed: Value = serde_json::from_str(&body).unwrap();
        let retried = post_with(at, "/orders", &[("idempotency-key", &key)], &parsed).await;
        assert_eq!(retried.status, 200, "{retried:?}");
        booked += 1;
        let left = get(at, "/stocks/MenhirCo").await.json()["data"]["quantity"]
            .as_u64()
            .unwrap();
        assert_eq!(left, 100 - booked, "after {key}");
    }
    eventually("every order is on every replica once", || {
        cluster
            .logs(3)
            .iter()
            .all(|log| log.lines().count() == 1 + 20)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_gets_an_answer_all_the_same() {
    let cluster = Cluster::start(&["--orders", "1"]);
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    for (sent, status) in [
        ("nonsense\r\n\r\n", "400"),
        (
            "GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: -3\r\n\r\n",
            "400",
        ),
        (long.as_str(), "431"),
    ] {
        let mut stream = TcpStream::connect(cluster.frontend()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_trade_leaves_no_trace() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();
    let before = get(at, "/stocks/GameStart").await.body;
    let body = json!({"name": "GameStart", "quantity": 101, "type": "buy"});
    post(at, "/orders", &body).await.problem(400);
    assert_eq!(get(at, "/stocks/GameStart").await.body, before);
}
