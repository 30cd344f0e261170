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
