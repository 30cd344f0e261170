//! Who may import whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The import table of ARCHITECTURE.md: each crate, and the ones of ours that it may depend on.
fn table() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows: [(&str, &[&str]); 11] = [
        ("bazaar-machine", &[]),
        ("bazaar-rpc", &["bazaar-machine"]),
        ("bazaar-history", &["bazaar-rpc"]),
        ("bazaar-daemon", &["bazaar-machine", "bazaar-rpc"]),
        (
            "bazaar-replication",
            &["bazaar-machine", "bazaar-rpc", "bazaar-daemon"],
        ),
        ("bazaar-catalog", REPLICATED),
        ("bazaar-order", REPLICATED),
        (
            "bazaar-accounts",
            &["bazaar-machine", "bazaar-rpc", "bazaar-daemon"],
        ),
        (
            "bazaar-nameserver",
            &["bazaar-machine", "bazaar-rpc", "bazaar-daemon"],
        ),
        (
            "bazaar-frontend",
            &["bazaar-machine", "bazaar-rpc", "bazaar-daemon"],
        ),
        ("bazaar-client", &["bazaar-rpc", "bazaar-history"]),
    ];
    rows.into_iter()
        .map(|(name, may)| (name, may.iter().copied().collect()))
        .collect()
}

/// What a service that is a replicated group may depend on.
const REPLICATED: &[&str] = &[
    "bazaar-machine",
    "bazaar-rpc",
    "bazaar-history",
    "bazaar-daemon",
    "bazaar-replication",
];

/// What may import anything: the command with the whole-system tests, and the simulated ones.
const ANYTHING: [&str; 2] = ["bazaar", "bazaar-simulation"];

/// What the tests of any crate may start.
const IN_ANY_TEST: &str = "bazaar-nameserver";

/// The dependencies in `metadata` that `table` does not allow.
fn violations(metadata: &Value, table: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        for dependency in dependencies {
            let in_tests = dependency["kind"] == "dev";
            let dependency = dependency["name"].as_str().expect("a name");
            if !dependency.starts_with("bazaar") {
                continue;
            }
            let allowed = ANYTHING.contains(&name)
                || in_tests && dependency == IN_ANY_TEST
                || table
                    .get(name)
                    .is_some_and(|allowed| allowed.contains(dependency));
            if !allowed {
                found.push(format!("{name} imports {dependency}"));
            }
        }
    }
    found
}

#[test]
fn imports_follow_the_table() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(violations(&metadata, &table()), Vec::<String>::new());
    // The check sees what it is for: without a row, a crate's imports are not allowed,
    let mut without_order = table();
    without_order.remove("bazaar-order");
    assert!(violations(&metadata, &without_order).len() >= 2);
    // and what a test may start, the crate itself may not.
    let mut outside_tests = metadata;
    for package in outside_tests["packages"].as_array_mut().expect("packages") {
        for dependency in package["dependencies"].as_array_mut().expect("a list") {
            dependency["kind"] = Value::Null;
        }
    }
    let imports_the_name_server = "bazaar-order imports bazaar-nameserver".to_owned();
    assert!(violations(&outside_tests, &table()).contains(&imports_the_name_server));
}
