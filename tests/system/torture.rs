//! `bazaar torture`: it kills and pauses, finds nothing, and would have.

use std::fs;

use serde_json::Value;

use crate::cluster::run;

#[test]
fn a_cluster_that_is_killed_and_paused_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let (report, kept) = (dir.path().join("report"), dir.path().join("kept"));
    let arguments = [
        "torture",
        "--seed",
        "7",
        "--each",
        "--each-for",
        "4s",
        "--faults",
        "kill,pause",
        "--rate",
        "100",
        "--report",
        report.to_str().unwrap(),
        "--keep",
        kept.to_str().unwrap(),
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let text = fs::read_to_string(report.join("report.json")).unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["failures"], Value::Array(Vec::new()), "{text}");
    for fault in said["faults"].as_array().unwrap() {
        assert_eq!(fault["injected"], 1, "{text}");
    }
    let page = fs::read_to_string(report.join("report.html")).unwrap();
    assert!(
        page.contains("every promise was kept") && page.contains("<svg"),
        "{page}"
    );

    // The same histories, but for an order that one replica has lost.
    let log = kept.join("histories/order-2.ndjson");
    let lines = fs::read_to_string(&log).unwrap();
    let lost = lines.lines().nth(5).unwrap();
    fs::write(&log, lines.replace(&format!("{lost}\n"), "")).unwrap();
    let histories: Vec<_> = fs::read_dir(kept.join("histories"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    let mut arguments = vec!["check"];
    arguments.extend(histories.iter().map(String::as_str));
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("order/2"), "{said}");
}

#[test]
fn a_fault_that_does_not_exist_is_named_with_those_that_do() {
    let output = run(&["torture", "--faults", "kill,earthquake"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        said.contains("earthquake") && said.contains("power-cut-all"),
        "{said}"
    );
}
