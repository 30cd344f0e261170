//! One seed, one history: each seed is run twice, and the second time beside processes that keep the
//! processors busy.

#![cfg(feature = "simulate")]

use std::process::{Child, Command, Stdio};

/// How many seeds are compared.
const SEEDS: u64 = 20;

/// How many simulated seconds of each.
const SECONDS: &str = "10";

fn run(seed: u64, seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_world"));
    command.args([&seed.to_string(), seconds]);
    command
}

/// What a seed printed: its digest.
fn digest(seed: u64) -> String {
    let output = run(seed, SECONDS).output().expect("the world runs");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: {said}{complaint}");
    said
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn one_seed_has_one_history() {
    let first: Vec<_> = (0..SEEDS).map(digest).collect();
    let busy: Vec<_> = (0..4)
        .map(|seed| {
            let mut command = run(SEEDS + seed, "100000");
            Killed(command.stdout(Stdio::null()).spawn().unwrap())
        })
        .collect();
    let second: Vec<_> = (0..SEEDS).map(digest).collect();
    drop(busy);
    assert_eq!(first, second);
    // The digest sees what it is for.
    let mut different = first.clone();
    different.dedup();
    assert_eq!(different.len(), first.len(), "{first:?}");
}
