//! A handful of seeds keep every promise, and a planted bug is caught: what `cargo simulate` does at
//! length, in short.

#![cfg(feature = "simulate")]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bazaar-simulation"));
    let output = command.args(arguments).output();
    output.expect("the program is built")
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

#[test]
fn promises_hold_whatever_is_done_to_the_cluster() {
    let output = simulate(&["run", "--seeds", "0..4", "--duration", "20s"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_planted_bug_is_caught_and_the_same_seed_is_clean_without_it() {
    let bug = ["--bug", "no-request-check", "--duration", "20s"];
    let output = simulate(&[&["planted"], &bug[..]].concat());
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("caught by"), "{}", text(&output));
}

#[test]
fn a_run_that_breaks_a_promise_fails() {
    let bug = ["--bug", "no-request-check", "--profile", "kill"];
    let broken = (0..10).map(|seed| {
        let seed = ["seed", &seed.to_string(), "--duration", "20s"].map(String::from);
        let arguments: Vec<&str> = seed.iter().map(String::as_str).chain(bug).collect();
        simulate(&arguments)
    });
    let failed = broken.into_iter().find(|output| !output.status.success());
    let failed = failed.expect("one of ten seeds shows it");
    assert!(text(&failed).contains("VIOLATION"), "{}", text(&failed));
}

/// A disk that lies may leave a catalog nothing that it could start with. It is replaced, or a second
/// such disk would take the group's majority away for good.
#[test]
fn a_replica_that_refuses_its_files_is_replaced() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/refused.txt");
    let shown = (803..823).find_map(|seed: u32| {
        let seed = seed.to_string();
        let output = simulate(&["seed", &seed, "--profile", "disk", "--trace", file]);
        assert!(output.status.success(), "{}", text(&output));
        let trace = std::fs::read_to_string(file).unwrap();
        let (_, after) = trace.split_once(" gets an empty disk")?;
        let serves = |line: &str| line.contains("catalog/") && line.contains(" applied ");
        Some(after.lines().any(serves))
    });
    assert_eq!(shown, Some(true), "twenty seeds, and none that refuses");
}
