//! A database that goes away, hangs, and comes back.

use std::time::{Duration, Instant};

use bazaar_rpc::accounts::AccountsError;
use nix::sys::signal::Signal;

use crate::postgres::Postgres;
use crate::world::{PASSWORD, PATIENCE, UNLIMITED, World};

/// How soon a call is answered, whatever the database does. A login also waits for its hash.
const LIMIT: Duration = Duration::from_secs(3);

async fn is_unavailable(world: &World) {
    let begun = Instant::now();
    let refused = world.login("alice", PASSWORD).await.unwrap_err();
    assert_eq!(refused, AccountsError::Unavailable);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}

async fn comes_back(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = world.login("alice", PASSWORD).await {
        assert_eq!(error, AccountsError::Unavailable);
        assert!(Instant::now() < deadline, "the database does not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_service_says_so_in_time() {
    let Some(mut server) = Postgres::start().await else {
        return;
    };
    let url = server.create_database("outage").await;
    let mut world = World::postgres(&url, UNLIMITED).await;
    world.register("alice", 1).await.unwrap();
    world.login("alice", PASSWORD).await.unwrap();

    server.signal_all(Signal::SIGSTOP);
    is_unavailable(&world).await;
    is_unavailable(&world).await;
    // What frontends verify tokens with takes no database.
    assert_eq!(world.watch(0).await.unwrap().void, []);
    server.signal_all(Signal::SIGCONT);
    comes_back(&world).await;

    server.stop().await;
    is_unavailable(&world).await;
    // It starts without one, too.
    world.restart().await;
    is_unavailable(&world).await;
    server.start_again().await;
    comes_back(&world).await;
}
