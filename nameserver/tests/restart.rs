//! A name server that is killed and comes back, seen from a service that keeps its entry there.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bazaar_daemon::{App as _, Presence, Tasks};
use bazaar_nameserver::cli::{Command, execute};
use bazaar_nameserver::{App, Config};
use bazaar_rpc::connect::Directory;
use bazaar_rpc::{ServiceKind, ServiceName};
use clap::Parser;

const CLUSTER: &str = "test";

#[derive(Parser)]
struct Ns {
    #[command(subcommand)]
    command: Command,
}

async fn start(dir: &Path, listen: &str) -> (App, Tasks, SocketAddr) {
    let config = Config::new(
        CLUSTER.parse().unwrap(),
        listen.parse().unwrap(),
        dir.into(),
    );
    let tasks = Tasks::new();
    let app = App::build(config, &tasks).await.unwrap();
    let address = app.address();
    (app, tasks, address)
}

async fn ns(directory: &Directory, words: &[&str]) -> Result<String, String> {
    let Ns { command } = Ns::parse_from([&["ns"], words].concat());
    let asked = Instant::now();
    let answer = execute(command, directory)
        .await
        .map_err(|error| error.to_string());
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{words:?} took {:?}",
        asked.elapsed()
    );
    answer
}

/// Asks until the answer is as it should be.
async fn eventually(directory: &Directory, words: &[&str], is_so: fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ns(directory, words).await;
        if answer.as_deref().is_ok_and(is_so) {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn directory(address: SocketAddr) -> Directory {
    Directory::new(CLUSTER.parse().unwrap(), address)
}

#[tokio::test]
async fn a_name_server_that_comes_back_empty_is_whole_within_one_renewal() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (app, tasks, address) = start(first.path(), "127.0.0.1:0").await;
    let service_tasks = Tasks::new();
    let service = Presence::spawn(
        &service_tasks,
        directory(address),
        ServiceName::new(ServiceKind::Order, 3),
        "127.0.0.1:4711".parse().unwrap(),
        ["kind:order".into()].into(),
    );
    let asker = directory(address);
    eventually(&asker, &["lookup", "order/3"], |found| {
        found == "127.0.0.1:4711\n"
    })
    .await;

    // Gone without a farewell.
    tasks.stop(Duration::from_secs(5)).await;
    drop(app);
    assert!(
        ns(&directory(address), &["lookup", "order/3"])
            .await
            .is_err()
    );

    let (_app, tasks, again) = start(second.path(), &address.to_string()).await;
    assert_eq!(again, address);
    let asker = directory(address);
    eventually(&asker, &["yplookup", "--all", "kind:order"], |table| {
        table.contains("order/3")
    })
    .await;
    service.withdraw().await;
    service_tasks.stop(Duration::from_secs(5)).await;
    eventually(&asker, &["count"], |count| count == "0\n").await;
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn every_verb_answers_and_what_nobody_renews_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (app, tasks, address) = start(dir.path(), "127.0.0.1:0").await;
    let asker = directory(address);
    let ask = async |words: &[&str]| ns(&asker, words).await;

    assert!(ask(&["ping"]).await.unwrap().contains("answered"));
    ask(&[
        "register",
        "printer",
        "10.0.0.1:631",
        "--metadata",
        "floor:2",
    ])
    .await
    .unwrap();
    ask(&["register", "guest", "10.0.0.2:1", "--ttl", "1"])
        .await
        .unwrap();
    let taken = ask(&["register", "printer", "10.0.0.9:631"])
        .await
        .unwrap_err();
    assert!(
        taken.contains("10.0.0.1:631") && !taken.contains('\n'),
        "{taken}"
    );
    ask(&["register", "printer", "10.0.0.3:631", "--replace"])
        .await
        .unwrap();
    ask(&["set-metadata", "printer", "floor:3"]).await.unwrap();
    let listed = ask(&["list", "--prefix", "print"]).await.unwrap();
    assert!(
        listed.contains("10.0.0.3:631") && listed.contains("floor:3"),
        "{listed}"
    );
    assert_eq!(
        ask(&["list", "--regex", "rinte"])
            .await
            .unwrap()
            .lines()
            .count(),
        1
    );
    let unknown = ask(&["lookup", "nobody"]).await.unwrap_err();
    assert_eq!(unknown, "unknown name \"nobody\"");
    eventually(&asker, &["count"], |count| count == "1\n").await;

    app.drain().await;
    tasks.stop(Duration::from_secs(5)).await;
    let (_app, tasks, address) = start(dir.path(), "127.0.0.1:0").await;
    let asker = directory(address);
    assert_eq!(
        ns(&asker, &["lookup", "printer"]).await.unwrap(),
        "10.0.0.3:631\n"
    );
    assert_eq!(
        ns(&asker, &["remove", "printer"]).await.unwrap(),
        "removed 1\n"
    );
    assert!(ns(&asker, &["remove", "printer"]).await.is_err());
    tasks.stop(Duration::from_secs(5)).await;
}
