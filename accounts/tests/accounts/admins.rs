//! The command that makes an admin.

use std::time::{Duration, Instant};

use bazaar_rpc::accounts::{AccountsError, Role};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::world::{PASSWORD, World};

pub(crate) use crate::world::UNLIMITED as FLAGS;

pub(crate) async fn the_first_admin_is_made_beside_a_running_service(world: World) {
    let admin = world.admin("root", 100).await;
    assert_eq!(admin.role, Role::Admin);
    let session = world.login("root", PASSWORD).await.unwrap();
    assert_eq!(session.user, admin.user);
    // The same again is refused, and says why.
    let command = world.create_admin("root", 101);
    let again = tokio::task::spawn_blocking(move || command.execute());
    let refused = again.await.unwrap().unwrap_err();
    assert!(format!("{refused:#}").contains("taken"), "{refused:#}");
    // So is a password that is too short, wherever it comes from.
    let command = world.create_admin("toor", 102);
    std::fs::write(command.password_file.as_ref().unwrap(), "short\n").unwrap();
    let weak = tokio::task::spawn_blocking(move || command.execute());
    let refused = weak.await.unwrap().unwrap_err();
    assert!(format!("{refused:#}").contains("8 to 128"), "{refused:#}");
}

/// How long somebody holds SQLite's file: some times as long as a request waits for it.
const HELD: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_command_waits_where_a_request_is_told_to_come_back() {
    let world = World::sqlite(FLAGS).await;
    let file = world.data_dir().join("accounts.db");
    let options = SqliteConnectOptions::new().filename(file);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let begun = Instant::now();
    let command = world.create_admin("root", 100);
    let command = tokio::task::spawn_blocking(move || command.execute());
    while begun.elapsed() < HELD {
        let refused = world.register("alice", 1).await.unwrap_err();
        assert_eq!(refused, AccountsError::Unavailable);
    }
    other.execute("COMMIT").await.unwrap();
    let admin = command.await.unwrap().unwrap();
    assert_eq!(admin.role, Role::Admin);
    world.register("alice", 1).await.unwrap();
}
