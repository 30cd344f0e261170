//! A client in another language, generated from the published contract.

use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::{Cluster, PATIENCE};
use crate::http::get;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the Python client needs on a machine.
const INSTALL: &str = "the gRPC test needs Python 3 and its packages; to install them: \
     python3 -m venv target/python && \
     target/python/bin/pip install --requirement tests/grpc/requirements.txt";

/// A Python that has the packages, if there is one: that of `target/python`, or the machine's.
async fn python() -> Option<String> {
    for python in [
        format!("{ROOT}/target/python/bin/python"),
        "python3".to_owned(),
    ] {
        let mut command = Command::new(&python);
        let packages = "import grpc, grpc_health, grpc_status, grpc_tools.protoc";
        command.args(["-c", packages]);
        command.stderr(Stdio::null()).kill_on_drop(true);
        let imported = timeout(PATIENCE, command.status()).await;
        if matches!(imported, Ok(Ok(status)) if status.success()) {
            return Some(python);
        }
    }
    None
}

/// Runs `command` to its end, which must be a good one; returns what it has printed.
async fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_with_and_without_accounts_trade_once_and_see_what_is_theirs() {
    let Some(python) = python().await else {
        assert!(std::env::var_os("CI").is_none(), "{INSTALL}");
        eprintln!("skipped: {INSTALL}");
        return;
    };
    let generated = tempfile::tempdir().unwrap();
    let directory = generated.path().to_str().unwrap();
    let mut protoc = Command::new(&python);
    protoc.args(["-m", "grpc_tools.protoc"]).args([
        format!("--proto_path={ROOT}/frontend/proto"),
        format!("--python_out={directory}"),
        format!("--grpc_python_out={directory}"),
        "bazaar.proto".to_owned(),
    ]);
    run(&mut protoc).await;

    let cluster = Cluster::start(&[]);
    let mut shop = Command::new(&python);
    shop.arg(format!("{ROOT}/tests/grpc/shop.py"))
        .arg(cluster.frontend().to_string())
        .env("PYTHONPATH", directory);
    let numbers = run(&mut shop).await;
    assert_eq!(numbers, "0 1\n");

    // What was traded in one language is seen in the other, and recorded on every replica, once.
    let order = get(cluster.frontend(), "/orders/0").await;
    assert_eq!(order.json()["data"]["quantity"], 30, "{order:?}");
    get(cluster.frontend(), "/orders/1").await.problem(404);
    let hoodies = get(cluster.frontend(), "/stocks/hoodie").await;
    assert_eq!(hoodies.json()["data"]["quantity"], 500, "{hoodies:?}");
    let expected = "Transaction ID,Stock Name,Order Type,Quantity\n\
        0,GameStart,buy,30\n\
        1,hoodie,buy,1\n\
        2,hoodie,buy,1\n\
        3,hoodie,buy,2\n\
        4,hoodie,sell,3\n\
        5,hoodie,sell,1\n";
    cluster.caught_up("order");
    for log in cluster.logs(3) {
        assert_eq!(log, expected);
    }
}
