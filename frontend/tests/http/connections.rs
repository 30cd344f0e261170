//! Connections: kept open, shared, dropped half-way, drained.

use bazaar_daemon::{App as _, Tasks};
use bazaar_frontend::App;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, config, in_time};

#[tokio::test]
async fn a_connection_answers_pipelined_requests_in_order() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let pipelined: String = ["/stocks/GameStart", "/livez", "/info/2"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: bazaar\r\n\r\n"))
        .concat();
    client.write(pipelined.as_bytes()).await;
    assert_eq!(client.read(true).await.json["data"]["name"], "GameStart");
    assert_eq!(client.read(true).await.json["status"], "alive");
    assert_eq!(client.read(true).await.json["id"], 2);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let got = client.send("GET", "/stocks/GameStart", &[], "").await;
    let head = client.send("HEAD", "/stocks/GameStart", &[], "").await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), got.header("content-length"));
    assert_eq!(client.send("GET", "/livez", &[], "").await.status, 200);
}

#[tokio::test]
async fn http2_without_tls_is_served_on_the_same_port() {
    let world = World::start(&[]).await;
    let stream = TokioIo::new(TcpStream::connect(world.http).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}/stocks/GameStart", world.http);
    let request = hyper::Request::get(uri).body(String::new()).unwrap();
    let response = in_time(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    drop(sender);
    connection.abort();
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_an_order_has_ordered_nothing() {
    let world = World::start(&[]).await;
    let before = world.services.shop();
    let order = "POST /orders HTTP/1.1\r\nhost: bazaar\r\ncontent-length: 46\r\n\r\n\
                 {\"name\":\"GameStart\",\"quantity\":1,\"type\":\"buy\"}";
    for cut in [1, 20, 60, order.len() - 1] {
        let mut client = world.client().await;
        client.write(&order.as_bytes()[..cut]).await;
    }
    assert_eq!(world.services.shop(), before);
    let mut client = world.client().await;
    client.write(order.as_bytes()).await;
    assert_eq!(
        client.read(true).await.json["data"]["transaction_number"],
        0
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    for flag in ["--http", "--listen"] {
        let mut config = config(nowhere, &[]);
        match flag {
            "--http" => config.http = taken.local_addr().unwrap(),
            _ => config.flags.listen = taken.local_addr().unwrap(),
        }
        let error = App::build(config, &Tasks::new()).await.err().unwrap();
        let line = format!("{error:#}");
        assert!(line.starts_with(&format!("{flag}: {address}: ")), "{line}");
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_while_the_frontend_drains() {
    let mut world = World::start(&[]).await;
    let (mut waiting, mut idle) = (world.client().await, world.client().await);
    assert_eq!(idle.send("GET", "/livez", &[], "").await.status, 200);
    world.services.open_gate(false);
    waiting
        .write(b"GET /stocks/GameStart HTTP/1.1\r\nhost: bazaar\r\n\r\n")
        .await;
    world
        .eventually("the lookup is under way", async || {
            world.services.lookups() == 1
        })
        .await;
    let drained = tokio::spawn(world.take_app().drain());
    world
        .eventually("nobody is accepted any more", async || {
            TcpStream::connect(world.http).await.is_err()
        })
        .await;
    idle.is_closed().await;
    assert!(!drained.is_finished());
    world.services.open_gate(true);
    assert_eq!(waiting.read(true).await.status, 200);
    in_time(drained).await.unwrap();
}
