//! gRPC, on the port of HTTP.

mod tokens;
mod transport;

use std::time::Duration;

use bazaar_rpc::orders::OrderError;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use tower::util::BoxCloneService;
use tower::{BoxError, service_fn};

use crate::world::{World, in_time};

/// The contract's types and clients.
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    reason = "it is generated from the contract"
)]
mod proto {
    tonic::include_proto!("bazaar.v1");
}

use proto::get_product_request::Key;
use proto::orders_client::OrdersClient;
use proto::place_order_request::Product;
use proto::products_client::ProductsClient;
use proto::*;

type Channel = BoxCloneService<
    hyper::Request<tonic::body::Body>,
    hyper::Response<hyper::body::Incoming>,
    BoxError,
>;

/// A connection of HTTP/2 with prior knowledge, and where it leads.
async fn channel(world: &World) -> (Channel, hyper::Uri) {
    let stream = TokioIo::new(TcpStream::connect(world.http).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let channel = service_fn(move |request| {
        let mut sender = sender.clone();
        async move {
            in_time(sender.send_request(request))
                .await
                .map_err(BoxError::from)
        }
    });
    let origin = format!("http://{}", world.http).parse().unwrap();
    (BoxCloneService::new(channel), origin)
}

async fn products(world: &World) -> ProductsClient<Channel> {
    let (channel, origin) = channel(world).await;
    ProductsClient::with_origin(channel, origin)
}

async fn orders(world: &World) -> OrdersClient<Channel> {
    let (channel, origin) = channel(world).await;
    OrdersClient::with_origin(channel, origin)
}

fn buy(name: &str, quantity: u64, key: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        product: Some(Product::ProductName(name.into())),
        side: Side::Buy.into(),
        quantity,
        idempotency_key: key.into(),
    }
}

/// The reason that a status gives.
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().expect("an ErrorInfo").reason.clone()
}

/// When a status says that the call may succeed.
fn retry_delay(status: &Status) -> Option<Duration> {
    let details = status.get_error_details();
    details.retry_info().and_then(|info| info.retry_delay)
}

#[tokio::test]
async fn a_product_is_found_by_number_and_by_name() {
    let world = World::start(&[]).await;
    let mut products = products(&world).await;
    for key in [Key::Number(1), Key::Name("GameStart".into())] {
        let request = GetProductRequest { key: Some(key) };
        let product = products.get(request).await.unwrap().into_inner();
        assert_eq!((product.number, &*product.name), (1, "GameStart"));
        assert_eq!(product.price, Some(Money { cents: 1590 }));
        assert_eq!((product.quantity, product.version), (100, 1));
    }
    let unknown = GetProductRequest {
        key: Some(Key::Number(99)),
    };
    let status = products.get(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(reason(&status), "UNKNOWN_ITEM");
    let nothing = products.get(GetProductRequest { key: None }).await;
    let status = nothing.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("key:"), "{status:?}");
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::start(&[]).await;
    let mut products = products(&world).await;
    let mut expected: Vec<_> = world.services.shop().items;
    expected.sort_by_key(|item| item.number);
    let (mut found, mut token) = (Vec::new(), String::new());
    for _ in 0..=expected.len() {
        let request = ListProductsRequest {
            page_size: 1,
            page_token: token,
            ..ListProductsRequest::default()
        };
        let page = products.list(request).await.unwrap().into_inner();
        assert!(page.products.len() <= 1);
        found.extend(page.products.into_iter().map(|product| product.number));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(token, "");
    let numbers: Vec<_> = expected.iter().map(|item| item.number.0).collect();
    assert_eq!(found, numbers);

    let book = expected.iter().find(|item| item.category.is_some());
    let topic = book.unwrap().category.clone().unwrap();
    let request = SearchProductsRequest {
        topic: topic.to_string(),
        ..SearchProductsRequest::default()
    };
    let search = products.search(request).await.unwrap().into_inner();
    assert!(!search.products.is_empty());
    for product in search.products {
        assert_eq!(product.category(), topic.as_str());
    }
    let status = products
        .search(SearchProductsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_order_is_placed_once_and_found_again() {
    let world = World::start(&[]).await;
    let mut orders = orders(&world).await;
    let placed = orders.place(buy("GameStart", 2, "a-key")).await.unwrap();
    let placed = placed.into_inner();
    assert!(!placed.replayed);
    let order = placed.order.unwrap();
    assert_eq!((order.number, order.product_number), (0, 1));
    assert_eq!((order.side(), order.quantity), (Side::Buy, 2));
    assert_eq!(order.status(), OrderStatus::Placed);
    assert_eq!(order.total, Some(Money { cents: 3180 }));
    assert!(order.placed_at.is_some());

    let again = orders.place(buy("GameStart", 2, "a-key")).await.unwrap();
    let again = again.into_inner();
    assert!(again.replayed);
    assert_eq!(again.order.as_ref(), Some(&order));
    // The keys of gRPC are those of HTTP.
    let mut http = world.client().await;
    let body = r#"{"name":"GameStart","quantity":2,"type":"buy"}"#;
    let key = [("idempotency-key", "a-key")];
    let reply = http.send("POST", "/orders", &key, body).await;
    assert_eq!(reply.json["data"]["transaction_number"], 0);
    assert_eq!(reply.header("idempotent-replayed"), Some("true"));
    let other = orders.place(buy("GameStart", 3, "a-key")).await;
    let status = other.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(reason(&status), "KEY_REUSED");

    let sell = PlaceOrderRequest {
        product: Some(Product::ProductNumber(1)),
        side: Side::Sell.into(),
        quantity: 1,
        idempotency_key: String::new(),
    };
    let sold = orders.place(sell).await.unwrap().into_inner();
    let sold = sold.order.unwrap();
    assert_eq!((sold.number, sold.side()), (1, Side::Sell));
    let found = orders.get(GetOrderRequest { number: 0 }).await.unwrap();
    assert_eq!(found.into_inner(), order);
    let batch = BatchGetOrdersRequest {
        numbers: vec![1, 0, 1],
    };
    let found = orders.batch_get(batch).await.unwrap().into_inner();
    assert_eq!(found.orders, [sold.clone(), order, sold]);
    for (numbers, code) in [
        (vec![0, 17], Code::NotFound),
        (vec![], Code::InvalidArgument),
        (vec![0; 1001], Code::InvalidArgument),
    ] {
        let status = orders.batch_get(BatchGetOrdersRequest { numbers }).await;
        assert_eq!(status.unwrap_err().code(), code);
    }
    assert_eq!(world.services.shop().orders.len(), 2);
}

#[tokio::test]
async fn a_refusal_says_why_and_changes_nothing() {
    let world = World::start(&[]).await;
    let mut orders = orders(&world).await;
    let mut merch = buy("", 1, "");
    merch.product = Some(Product::ProductNumber(4));
    let mut sideways = buy("GameStart", 1, "");
    sideways.side = 7;
    for (order, code, why) in [
        (
            buy("GameStart", 101, ""),
            Code::FailedPrecondition,
            "NOT_ENOUGH_STOCK",
        ),
        (buy("Nobody", 1, ""), Code::NotFound, "UNKNOWN_ITEM"),
        (merch, Code::Unauthenticated, "ACCOUNT_REQUIRED"),
        (
            buy("GameStart", 0, ""),
            Code::FailedPrecondition,
            "QUANTITY_NOT_ALLOWED",
        ),
        (
            buy("GameStart", u64::MAX, ""),
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (
            buy("GameStart", 1, "two words"),
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (buy("a/b", 1, ""), Code::InvalidArgument, "MALFORMED"),
        (
            PlaceOrderRequest::default(),
            Code::InvalidArgument,
            "MALFORMED",
        ),
        (sideways, Code::InvalidArgument, "MALFORMED"),
    ] {
        let status = orders.place(order).await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (code, why),
            "{status:?}"
        );
    }
    world.services.answer_trades_with(OrderError::Busy);
    let status = orders.place(buy("GameStart", 1, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(retry_delay(&status).is_some());
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn one_connection_carries_calls_of_both_kinds_at_once() {
    let world = World::start(&[]).await;
    let (channel, origin) = channel(&world).await;
    let products = ProductsClient::with_origin(channel.clone(), origin.clone());
    let orders = OrdersClient::with_origin(channel, origin);
    let calls = (0..50).map(|call| {
        let (mut products, mut orders) = (products.clone(), orders.clone());
        async move {
            let key = Some(Key::Number(1));
            products.get(GetProductRequest { key }).await.unwrap();
            let order = buy("GameStart", 1, &format!("call-{call}"));
            orders.place(Request::new(order)).await.unwrap();
        }
    });
    in_time(futures::future::join_all(calls)).await;
    assert_eq!(world.services.shop().orders.len(), 50);
}
