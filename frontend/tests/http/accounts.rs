//! A cluster without an accounts service: what needs one says so, and all else goes on.

use crate::world::World;

#[tokio::test]
async fn without_accounts_nobody_is_known() {
    let world = World::start(&[]).await;
    let login = r#"{"user_name":"alice","password":"open sesame"}"#;
    for (path, body) in [
        ("/users/login", login),
        ("/users/refresh", r#"{"refresh_token":"x"}"#),
        ("/users/logout", r#"{"refresh_token":"x"}"#),
    ] {
        let reply = world.post(path, body).await;
        reply.is_problem(503, "accounts");
        assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
    }
    world
        .get("/.well-known/jwks.json")
        .await
        .is_problem(503, "");
    assert_eq!(world.get("/stocks/GameStart").await.status, 200);
}

#[tokio::test]
async fn a_request_that_needs_a_token_says_which_one_it_lacks() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let anonymous: &[&[(&str, &str)]] = &[&[], &[("authorization", "Basic YTpi")]];
    for headers in anonymous {
        let reply = client.send("GET", "/users/1", headers, "").await;
        reply.is_problem(401, "access token is required");
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer realm=\"bazaar\"")
        );
    }
    for (token, why) in [
        ("x", "malformed"),
        ("", "malformed"),
        // {"alg":"none"}
        ("eyJhbGciOiJub25lIn0.e30.", "not signed with EdDSA"),
    ] {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        for method in ["GET", "PUT", "DELETE"] {
            let reply = client.send(method, "/users/1", &headers, "").await;
            reply.is_problem(401, why);
            let challenge = reply.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            assert!(challenge.contains(why), "{challenge}");
        }
    }
}

#[tokio::test]
async fn the_contract_says_which_operations_take_a_token_and_which_need_one() {
    let world = World::start(&[]).await;
    let contract = world.get("/openapi.json").await.json;
    let (mut needed, mut optional) = (0, 0);
    for (path, item) in contract["paths"].as_object().unwrap() {
        let path = ["{id}", "{number}", "{name}", "{topic}"]
            .into_iter()
            .fold(path.clone(), |path, parameter| path.replace(parameter, "1"));
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let mut client = world.client().await;
            let headers = [("authorization", "Bearer x")];
            let with_a_bad_token = client.send(&method, &path, &headers, "").await;
            let with_none = client.send(&method, &path, &[], "").await;
            let none_is_refused = with_none.status == 401
                && with_none.json["detail"].as_str().unwrap().contains("token");
            let security = operation["security"].as_array();
            let (takes_one, needs_one) = match security.map(Vec::as_slice) {
                None => (false, false),
                Some([only]) => (true, only["bearerAuth"].is_array()),
                Some(several) => (true, several.iter().all(|one| one["bearerAuth"].is_array())),
            };
            assert_eq!(with_a_bad_token.status == 401, takes_one, "{method} {path}");
            assert_eq!(none_is_refused, needs_one, "{method} {path}");
            needed += u32::from(needs_one);
            optional += u32::from(takes_one && !needs_one);
        }
    }
    assert!(needed >= 11 && optional >= 5, "{needed}, {optional}");
}

#[tokio::test]
async fn a_password_is_measured_in_characters() {
    let world = World::start(&[]).await;
    let user = |password: &str| {
        let user = serde_json::json!({
            "student_id": "1", "user_name": "alice", "email": "alice@example.org",
            "password": password,
        });
        user.to_string()
    };
    for good in ["öffne di", &"ß".repeat(128)] {
        let reply = world.post("/users/register", &user(good)).await;
        reply.is_problem(503, "accounts");
    }
    for bad in ["öffne d", &"ß".repeat(129)] {
        let reply = world.post("/users/register", &user(bad)).await;
        reply.is_problem(400, "8 to 128 characters");
    }
}

#[tokio::test]
async fn a_bad_field_is_named_with_its_bounds() {
    let world = World::start(&[]).await;
    let user = |field: &str, value: &str| {
        let mut user = serde_json::json!({
            "student_id": "1", "user_name": "alice", "email": "alice@example.org",
            "password": "open sesame",
        });
        user[field] = value.into();
        user.to_string()
    };
    for (field, value, bounds) in [
        ("student_id", "12a", "1 to 20 digits"),
        ("user_name", "al", "3 to 64"),
        ("email", "alice", "name@domain"),
        ("password", "hunter2", "8 to 128 characters"),
        ("role", "admin", "unknown field"),
    ] {
        let reply = world.post("/users/register", &user(field, value)).await;
        reply.is_problem(400, bounds);
        let detail = reply.json["detail"].as_str().unwrap();
        assert!(detail.starts_with(field), "{detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
}
