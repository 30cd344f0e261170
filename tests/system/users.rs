//! Users and admins, as clients of the HTTP interface.

use std::net::SocketAddr;
use std::process::Stdio;

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, bazaar};
use crate::http::{Answer, post, post_once, send, send_once};

pub(crate) const PASSWORD: &str = "open sesame";

const LOGIN: &str = "/users/login";

pub(crate) fn new_user(name: &str, student: u64) -> Value {
    json!({
        "student_id": student.to_string(), "user_name": name,
        "email": format!("{name}@example.org"), "password": PASSWORD,
    })
}

pub(crate) async fn register(at: SocketAddr, name: &str, student: u64) -> Value {
    let answer = post(at, "/users/register", &new_user(name, student)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let user = answer.json();
    assert_eq!(answer.header("location"), format!("/users/{}", user["id"]));
    user
}

pub(crate) async fn try_login(at: SocketAddr, name: &str, password: &str) -> Answer {
    post(at, LOGIN, &login_request(name, password)).await
}

pub(crate) async fn try_login_once(at: SocketAddr, name: &str, password: &str) -> Answer {
    post_once(at, LOGIN, &login_request(name, password)).await
}

fn login_request(name: &str, password: &str) -> Value {
    json!({"user_name": name, "password": password})
}

/// Logs in; returns the session.
pub(crate) async fn login(at: SocketAddr, name: &str) -> Value {
    let answer = try_login(at, name, PASSWORD).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let session = answer.json();
    assert_eq!(session["token_type"], "Bearer");
    assert_eq!(session["expires_in"], 900);
    session
}

/// A request with the access token of `session`.
pub(crate) async fn with(
    session: &Value,
    at: SocketAddr,
    method: Method,
    path: &str,
    body: &Value,
) -> Answer {
    with_headers(session, at, method, path, &[], body).await
}

/// As [`with`], with more headers.
pub(crate) async fn with_headers(
    session: &Value,
    at: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let bearer = bearer(session);
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = send(at, method, path, &headers, body).await;
    shows_no_hash(&answer);
    answer
}

/// The user of that id, asked for once with the access token of `session`.
pub(crate) async fn user_once(session: &Value, at: SocketAddr, id: &Value) -> Answer {
    let path = format!("/users/{id}");
    let headers = [("authorization", &*bearer(session))];
    let answer = send_once(at, Method::GET, &path, &headers, "").await;
    shows_no_hash(&answer);
    answer
}

fn bearer(session: &Value) -> String {
    format!("Bearer {}", session["access_token"].as_str().unwrap())
}

fn shows_no_hash(answer: &Answer) {
    let shown = String::from_utf8_lossy(&answer.body);
    assert!(
        !shown.contains("argon2") && !shown.contains("hash"),
        "{shown}"
    );
}

/// Makes the admin `root` with the command, the password on its standard input.
pub(crate) fn create_admin(cluster: &Cluster, environment: &[(&str, &str)]) {
    let mut command = bazaar()
        .envs(environment.iter().copied())
        .args(["accounts", "create-admin", "--user-name", "root"])
        .args(["--email", "root@example.org", "--student-id", "0"])
        .args(["--password-file", "-", "--data-dir"])
        .arg(cluster.dir())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = command.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, PASSWORD.as_bytes()).unwrap();
    drop(stdin);
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
