//! Lookups on conditions: tags, and what the client has already.

use crate::world::World;

const BUY_ONE: &str = r#"{"name":"GameStart","quantity":1,"type":"buy"}"#;

#[tokio::test]
async fn who_has_an_item_as_it_is_gets_no_body() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    for path in ["/stocks/GameStart", "/info/1", "/products/1"] {
        let tag = world.get(path).await.header("etag").unwrap().to_owned();
        for held in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".into(),
        ] {
            for method in ["GET", "HEAD"] {
                let headers = [("if-none-match", held.as_str())];
                let reply = client.send(method, path, &headers, "").await;
                assert_eq!(reply.status, 304, "{path} {held}");
                assert_eq!(reply.header("etag"), Some(tag.as_str()));
                assert_eq!(reply.header("cache-control"), Some("no-cache"));
            }
        }
        for other in ["\"x\"", "nonsense", ""] {
            let headers = [("if-none-match", other)];
            let reply = client.send("GET", path, &headers, "").await;
            assert_eq!(reply.status, 200, "{path} {other}");
        }
    }
}

#[tokio::test]
async fn a_trade_changes_the_tag_and_so_does_another_representation() {
    let world = World::start(&[]).await;
    let tag = async |path: &str| world.get(path).await.header("etag").unwrap().to_owned();
    let before = tag("/stocks/GameStart").await;
    assert!(before.starts_with("\"1-"), "{before}");
    assert_ne!(before, tag("/products/1").await);
    assert_eq!(before, tag("/stocks/GameStart").await);
    world.post("/orders", BUY_ONE).await;
    let after = tag("/stocks/GameStart").await;
    assert!(after.starts_with("\"2-"), "{after}");
    let mut client = world.client().await;
    let headers = [("if-none-match", before.as_str())];
    let reply = client.send("GET", "/stocks/GameStart", &headers, "").await;
    assert_eq!(
        (reply.status, &reply.json["data"]["quantity"]),
        (200, &99.into())
    );
}

#[tokio::test]
async fn what_does_not_exist_has_no_tag() {
    let world = World::start(&[]).await;
    let headers = [("if-none-match", "*")];
    let reply = world
        .client()
        .await
        .send("GET", "/info/99", &headers, "")
        .await;
    reply.is_problem(404, "99");
    assert_eq!(reply.header("etag"), None);
}
