//! Tokens and accounts: who is refused what, in a cluster without an accounts service.

use tonic::{Code, Request, Status};

use super::proto::orders_client::OrdersClient;
use super::proto::users_client::UsersClient;
use super::proto::*;
use super::{Channel, channel, orders, reason, retry_delay};
use crate::world::World;

async fn users(world: &World) -> UsersClient<Channel> {
    let (channel, origin) = channel(world).await;
    UsersClient::with_origin(channel, origin)
}

/// `message` with these credentials.
fn with<T>(authorization: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = authorization.parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// What each method says to `authorization` that takes a token, or may have one.
async fn refusals(world: &World, authorization: &str) -> [Vec<Status>; 2] {
    let (channel, origin) = channel(world).await;
    let mut orders = OrdersClient::with_origin(channel.clone(), origin.clone());
    let mut users = UsersClient::with_origin(channel, origin);
    macro_rules! refused {
        ($($client:ident.$method:ident($message:ident);)*) => {
            vec![$({
                let message = with(authorization, $message::default());
                $client.$method(message).await.unwrap_err()
            }),*]
        };
    }
    let takes = refused! {
        orders.cancel(CancelOrderRequest);
        orders.update_quantity(UpdateOrderQuantityRequest);
        orders.list_mine(ListMyOrdersRequest);
        users.get(GetUserRequest);
        users.update(UpdateUserRequest);
        users.deactivate(DeactivateUserRequest);
    };
    let may_have = refused! {
        orders.place(PlaceOrderRequest);
        orders.get(GetOrderRequest);
        orders.batch_get(BatchGetOrdersRequest);
    };
    [takes, may_have]
}

#[tokio::test]
async fn what_takes_an_account_takes_a_token() {
    let world = World::start(&[]).await;
    // Credentials of another scheme are none.
    for authorization in ["", "Basic YTpi"] {
        let [takes, may_have] = refusals(&world, authorization).await;
        for status in takes {
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            assert_eq!(reason(&status), "ACCOUNT_REQUIRED");
        }
        for status in may_have {
            assert_ne!(status.code(), Code::Unauthenticated, "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_wherever_it_is_sent() {
    let world = World::start(&[]).await;
    for (token, why) in [
        ("Bearer", "malformed"),
        ("Bearer x", "malformed"),
        // {"alg":"none"}
        ("bearer eyJhbGciOiJub25lIn0.e30.", "not signed with EdDSA"),
    ] {
        for status in refusals(&world, token).await.concat() {
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            assert_eq!(reason(&status), "INVALID_TOKEN");
            assert!(status.message().contains(why), "{status:?}");
            assert_eq!(retry_delay(&status), None);
        }
    }
    let mut two = with("Bearer x", GetOrderRequest::default());
    let another = "Bearer y".parse().unwrap();
    two.metadata_mut().append("authorization", another);
    let status = orders(&world).await.get(two).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_TOKEN");
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn while_nobody_says_which_tokens_are_valid_a_client_is_told_to_come_back() {
    let world = World::start(&[]).await;
    // {"alg":"EdDSA","kid":"x"}
    let token = "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6IngifQ.e30.e30";
    for status in refusals(&world, token).await.concat() {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(reason(&status), "TOKENS_UNVERIFIABLE");
        assert!(retry_delay(&status).is_some());
    }
    assert!(world.services.shop().orders.is_empty());
}

#[tokio::test]
async fn without_an_accounts_service_a_client_is_told_to_come_back() {
    let world = World::start(&[]).await;
    let mut users = users(&world).await;
    let login = LoginRequest {
        user_name: "alice".into(),
        password: "x".into(),
    };
    let refresh_token = || "x".to_owned();
    let refresh = RefreshRequest {
        refresh_token: refresh_token(),
    };
    let logout = LogoutRequest {
        refresh_token: refresh_token(),
    };
    for status in [
        users.register(alice()).await.unwrap_err(),
        users.login(login).await.unwrap_err(),
        users.refresh(refresh).await.unwrap_err(),
        users.logout(logout).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(reason(&status), "UNREACHABLE");
        assert!(retry_delay(&status).is_some());
    }
}

/// Somebody who may register.
fn alice() -> RegisterRequest {
    RegisterRequest {
        student_id: "1".into(),
        user_name: "alice".into(),
        email: "alice@example.org".into(),
        password: "open sesame".into(),
    }
}

#[tokio::test]
async fn a_field_of_a_user_that_is_not_as_it_should_be_is_named_with_its_bounds() {
    let world = World::start(&[]).await;
    let mut users = users(&world).await;
    let mut bad = [alice(), alice(), alice(), alice()];
    bad[0].student_id = "12a".into();
    bad[1].user_name = "al".into();
    bad[2].email = "alice".into();
    bad[3].password = "hunter2".into();
    let fields = [
        ("student_id", "1 to 20 digits"),
        ("user_name", "3 to 64"),
        ("email", "name@domain"),
        ("password", "8 to 128 characters"),
    ];
    for (request, (field, bounds)) in bad.into_iter().zip(fields) {
        let status = users.register(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "MALFORMED");
        let message = status.message();
        assert!(message.starts_with(&format!("{field}:")), "{message}");
        assert!(message.contains(bounds), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let no_password = LoginRequest {
        user_name: "alice".into(),
        ..LoginRequest::default()
    };
    let status = users.login(no_password).await.unwrap_err();
    assert!(status.message().starts_with("password:"), "{status:?}");
    let status = users.refresh(RefreshRequest::default()).await.unwrap_err();
    assert!(status.message().starts_with("refresh_token:"), "{status:?}");
}
