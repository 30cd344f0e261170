//! The contract, served.

use crate::world::World;

#[tokio::test]
async fn the_document_is_served_as_it_is_kept() {
    let world = World::start(&[]).await;
    let reply = world.get("/openapi.json").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.body, bazaar_frontend::openapi().unwrap());
}

#[tokio::test]
async fn swagger_ui_is_served_from_this_program_and_shows_this_document() {
    let world = World::start(&[]).await;
    let reply = world.get_bytes("/docs", &[]).await;
    assert_eq!(reply.status(), 308);
    assert_eq!(reply.headers()["location"], "/docs/");
    for (path, content_type, part) in [
        ("/docs/", "text/html", "swagger-ui-bundle.js"),
        (
            "/docs/swagger-initializer.js",
            "text/javascript",
            "/openapi.json",
        ),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
        (
            "/docs/swagger-ui-bundle.js",
            "text/javascript",
            "SwaggerUIBundle",
        ),
    ] {
        let reply = world.get_bytes(path, &[]).await;
        assert_eq!(reply.status(), 200, "{path}");
        assert_eq!(reply.headers()["content-type"], content_type, "{path}");
        let text = String::from_utf8_lossy(reply.body());
        assert!(text.contains(part), "{path}");
        let elsewhere = ["src=\"http", "href=\"http", "url(http"];
        assert!(
            !elsewhere.iter().any(|link| text.contains(link)) || path.ends_with(".js"),
            "{path}"
        );
    }
    world
        .get("/docs/nothing")
        .await
        .is_problem(404, "/docs/nothing");
}
