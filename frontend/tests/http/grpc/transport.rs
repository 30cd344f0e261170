//! What lies before the methods, and beside them: health, limits, messages that are none.

use std::time::Duration;

use bazaar_rpc::orders::OrderError;
use http_body_util::BodyExt;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::proto::get_product_request::Key;
use super::proto::*;
use super::{Channel, buy, channel, orders, products, reason, retry_delay};
use crate::world::{World, in_time};

async fn health(world: &World) -> HealthClient<Channel> {
    let (channel, origin) = channel(world).await;
    HealthClient::with_origin(channel, origin)
}

#[tokio::test]
async fn health_is_what_readyz_says() {
    let world = World::start(&[]).await;
    let mut health = health(&world).await;
    let known = [
        "",
        "bazaar.v1.Products",
        "bazaar.v1.Orders",
        "bazaar.v1.Users",
        "grpc.health.v1.Health",
    ];
    let check = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    for service in known {
        let answer = health.check(check(service)).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let status = health.check(check("bazaar.v1")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(reason(&status), "UNKNOWN_SERVICE");
    let status = health.watch(check("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(reason(&status), "UNKNOWN_METHOD");

    let broken = OrderError::Inconsistent("a gap after 7".into());
    for error in [OrderError::Busy, broken] {
        world.services.answer_trades_with(error);
        assert_ne!(world.get("/readyz").await.status, 200);
        for service in known {
            let answer = health.check(check(service)).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::NotServing);
        }
    }
}

#[tokio::test]
async fn a_call_too_many_is_refused_with_a_status_and_health_is_told_all_the_same() {
    let world = World::start(&["--rate-limit", "1", "--rate-burst", "5"]).await;
    let mut products = products(&world).await;
    let mut refused = None;
    for _ in 0..20 {
        let key = Some(Key::Number(1));
        refused = products.get(GetProductRequest { key }).await.err();
        if refused.is_some() {
            break;
        }
    }
    let status = refused.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "TOO_MANY_REQUESTS");
    assert!(retry_delay(&status) >= Some(Duration::from_secs(1)));
    let mut health = health(&world).await;
    for _ in 0..20 {
        let answer = health.check(HealthCheckRequest::default()).await;
        assert_eq!(
            answer.unwrap().into_inner().status(),
            ServingStatus::Serving
        );
    }
}

#[tokio::test]
async fn what_never_reaches_a_method_says_why_too() {
    let world = World::start(&[]).await;
    let head = [0, 0, 0, 0, 9];
    let torn = [&head[..], &[0x20]].concat();
    let empty = [0; 5];
    // Field 4, of the wire type 7, which there is none of.
    let nonsense = [0, 0, 0, 0, 1, 0x27];
    for (path, encoding, message, code, why) in [
        (
            "bazaar.v1.Orders/Place",
            "identity",
            &torn[..],
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (
            "bazaar.v1.Orders/Place",
            "identity",
            &nonsense,
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (
            "bazaar.v1.Orders/Place",
            "identity",
            &[],
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (
            "bazaar.v1.Orders/Steal",
            "identity",
            &empty,
            Code::Unimplemented,
            "UNKNOWN_METHOD",
        ),
        (
            "bazaar.v1.Orders/Place",
            "gzip",
            &empty,
            Code::Unimplemented,
            "UNKNOWN_COMPRESSION",
        ),
    ] {
        let (mut channel, origin) = channel(&world).await;
        let body = http_body_util::Full::new(bytes::Bytes::copy_from_slice(message));
        let request = hyper::Request::post(format!("{origin}{path}"))
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding)
            .body(tonic::body::Body::new(body))
            .unwrap();
        let response = tower::Service::call(&mut channel, request).await.unwrap();
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(reason(&status), why, "{status:?}");
    }
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn a_message_too_long_is_refused() {
    let world = World::start(&[]).await;
    let mut orders = orders(&world).await;
    let long = buy("GameStart", 1, &"x".repeat(100_000));
    let status = orders.place(long).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let path = "/bazaar.v1.Orders/Place";
    let grpc = [("content-type", "application/grpc")];
    let reply = client.send("POST", path, &grpc, "").await;
    reply.is_problem(415, "HTTP/2");
    let json = [("content-type", "application/json")];
    let reply = client.send("POST", path, &json, "{}").await;
    reply.is_problem(415, "application/grpc");
    let reply = client.send("GET", path, &[], "").await;
    reply.is_problem(405, "GET");
}

#[tokio::test]
async fn the_contract_is_given_out() {
    let world = World::start(&[]).await;
    let (mut channel, origin) = channel(&world).await;
    let request = hyper::Request::get(format!("{origin}bazaar.proto"))
        .body(tonic::body::Body::empty())
        .unwrap();
    let response = tower::Service::call(&mut channel, request).await.unwrap();
    let contract = in_time(response.into_body().collect()).await.unwrap();
    assert_eq!(
        contract.to_bytes(),
        include_str!("../../../proto/bazaar.proto")
    );
}
