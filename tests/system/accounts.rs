//! Accounts over HTTP: registered, logged in, changed, deactivated, and gone for a while.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::{Answer, get, post};
use crate::postgres::Postgres;
use crate::users::{
    PASSWORD, create_admin, login, new_user, register, try_login, try_login_once, user_once, with,
};

/// How soon a deactivation is in force everywhere.
const EVERYWHERE: Duration = Duration::from_secs(1);

/// How soon whoever needs the database is told that there is none.
const TOLD: Duration = Duration::from_secs(4);

async fn user(session: &Value, at: SocketAddr, id: &Value) -> Answer {
    let path = format!("/users/{id}");
    with(session, at, Method::GET, &path, &Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_used_and_changed() {
    let cluster = Cluster::start(&["--frontends", "2"]);
    let [at, elsewhere] = cluster.http[..] else {
        panic!("two frontends");
    };
    let alice = register(at, "alice", 1).await;
    assert_eq!(
        (&alice["role"], &alice["active"]),
        (&json!("customer"), &json!(true))
    );
    register(elsewhere, "bob", 2).await;
    for (field, user) in [
        ("student_id", new_user("carol", 1)),
        (
            "user_name",
            json!({"student_id": "3", "user_name": "ALICE", "email": "c@c", "password": PASSWORD}),
        ),
        (
            "email",
            json!({"student_id": "3", "user_name": "carol", "email": "Alice@Example.org", "password": PASSWORD}),
        ),
    ] {
        let taken = post(at, "/users/register", &user).await.problem(409);
        assert!(taken.starts_with(field), "{taken}");
    }
    for (name, password) in [("alice", "wrong password"), ("nobody", PASSWORD)] {
        let refused = try_login(at, name, password).await;
        assert_eq!(
            refused.problem(401),
            "the user name or the password is wrong"
        );
    }

    // A token of one frontend is known to every other one.
    let session = login(at, "alice").await;
    assert_eq!(session["user_id"], alice["id"]);
    let id = &alice["id"];
    assert_eq!(user(&session, elsewhere, id).await.json(), alice);
    let bob = login(elsewhere, "bob").await;
    user(&bob, at, id).await.problem(404);
    user(&session, at, &json!(4711)).await.problem(404);
    with(&session, at, Method::GET, "/users", &Value::Null)
        .await
        .problem(403);
    let path = format!("/users/{id}");
    let without = get(at, &path).await;
    without.problem(401);
    assert_eq!(
        without.header("www-authenticate"),
        "Bearer realm=\"bazaar\""
    );
    let mut forged = session.clone();
    let token = session["access_token"].as_str().unwrap();
    forged["access_token"] = format!("{}{}", &token[..token.len() - 4], "AAAA").into();
    let refused = user(&forged, at, id).await;
    refused.problem(401);
    assert!(
        refused.header("www-authenticate").contains("invalid_token"),
        "{refused:?}"
    );

    let change = json!({"email": "new@example.org", "password": "a new password"});
    let refused = with(&session, at, Method::PUT, &path, &change).await;
    assert!(refused.problem(403).starts_with("current_password"));
    let renamed = with(
        &session,
        at,
        Method::PUT,
        &path,
        &json!({"user_name": "alicia"}),
    )
    .await;
    assert_eq!(renamed.json()["user_name"], "alicia");

    // Sessions go on, and end.
    let token = |session: &Value| json!({"refresh_token": session["refresh_token"]});
    let renewed = post(at, "/users/refresh", &token(&session)).await.json();
    assert_eq!(user(&renewed, at, id).await.status, 200);
    assert_eq!(
        post(at, "/users/logout", &token(&renewed)).await.status,
        204
    );
    post(at, "/users/refresh", &token(&renewed))
        .await
        .problem(401);

    let keys = get(at, "/.well-known/jwks.json").await.json();
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
    );
    assert!(key["d"].is_null(), "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_is_in_force_everywhere_within_a_second_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--frontends", "3"];
    let cluster = Cluster::start_in(dir.path(), &flags);
    let at = cluster.frontend();
    let alice = register(at, "alice", 1).await;
    let id = &alice["id"];
    let session = login(at, "alice").await;
    create_admin(&cluster, &[]);
    let admin = login(at, "root").await;
    for frontend in &cluster.http {
        assert_eq!(user(&session, *frontend, id).await.status, 200);
    }
    let path = format!("/users/{id}");
    let gone = with(&admin, at, Method::DELETE, &path, &Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let deactivated = Instant::now();
    tokio::time::sleep_until((deactivated + EVERYWHERE).into()).await;
    for frontend in &cluster.http {
        let refused = user_once(&session, *frontend, id).await;
        assert!([401, 503].contains(&refused.status.as_u16()), "{refused:?}");
    }
    try_login(at, "alice", PASSWORD).await.problem(401);

    assert!(cluster.stop().success());
    let cluster = Cluster::start_in(dir.path(), &flags);
    for frontend in &cluster.http {
        let refused = user(&session, *frontend, id).await;
        assert!(refused.problem(401).contains("revoked"), "{refused:?}");
    }
    // An admin takes it back; what was void stays so.
    let at = cluster.frontend();
    let list = with(&admin, at, Method::GET, "/users?limit=1", &Value::Null).await;
    assert_eq!(list.json()[0]["active"], json!(false));
    let path = format!("/users/{id}/reactivate");
    let back = with(&admin, at, Method::POST, &path, &Value::Null).await;
    assert_eq!(back.json()["active"], json!(true));
    assert_eq!(user(&session, at, id).await.status, 401);
    let session = login(at, "alice").await;
    assert_eq!(user(&session, at, id).await.status, 200);
}

/// Waits until alice can log in.
async fn can_log_in_again(at: SocketAddr) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = try_login_once(at, "alice", PASSWORD).await;
        if answer.status == 200 {
            return answer.json();
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks that a login is refused in time, as something that may be tried again, and that all who
/// need no account are served.
async fn only_accounts_are_missing(at: SocketAddr) {
    let asked = Instant::now();
    let refused = try_login_once(at, "alice", PASSWORD).await;
    assert!(asked.elapsed() < TOLD, "{:?}", asked.elapsed());
    refused.problem(503);
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    assert_eq!(get(at, "/stocks/GameStart").await.status, 200);
    let order = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
    assert_eq!(post(at, "/orders", &order).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_accounts_service_all_else_goes_on() {
    let cluster = Cluster::start(&[]);
    let at = cluster.frontend();
    let alice = register(at, "alice", 1).await;
    let session = login(at, "alice").await;
    for (harm, cure) in [("kill", "start"), ("pause", "resume")] {
        cluster.control(harm, "accounts/1");
        let harmed = Instant::now();
        tokio::time::sleep_until((harmed + EVERYWHERE).into()).await;
        // Nobody knows any more who was deactivated.
        let refused = user_once(&session, at, &alice["id"]).await;
        refused.problem(503);
        assert!(!refused.header("retry-after").is_empty());
        only_accounts_are_missing(at).await;
        cluster.control(cure, "accounts/1");
        can_log_in_again(at).await;
        assert_eq!(user(&session, at, &alice["id"]).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_all_but_accounts_goes_on() {
    let Some(mut server) = Postgres::start().await else {
        return;
    };
    let url = server.create_database("bazaar").await;
    let dir = tempfile::tempdir().unwrap();
    let database = [("BAZAAR_DATABASE", url.as_str())];
    let cluster = Cluster::start_with(dir.path(), &[], &database);
    let at = cluster.frontend();
    register(at, "alice", 1).await;
    create_admin(&cluster, &database);
    login(at, "root").await;
    server.signal_all(Signal::SIGSTOP);
    only_accounts_are_missing(at).await;
    server.signal_all(Signal::SIGCONT);
    can_log_in_again(at).await;
    server.stop().await;
    only_accounts_are_missing(at).await;
    server.start_again().await;
    can_log_in_again(at).await;
}
