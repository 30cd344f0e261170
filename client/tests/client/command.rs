//! The program: what it prints and writes, and its exit status.

use std::path::Path;
use std::process::Output;

use bazaar_client::Report;
use tokio::process::Command;

use crate::bazaar::{Bazaar, Fault};

/// The program, to be run in `dir`.
fn program(dir: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bazaar-client"));
    program.current_dir(dir).kill_on_drop(true);
    program
}

/// Runs the program in `dir` on `bazaar`.
async fn client(bazaar: &Bazaar, dir: &Path, arguments: &[&str]) -> Output {
    let url = bazaar.url.to_string();
    let load = [
        "--url",
        &url,
        "--trade-probability",
        "0.5",
        "--requests",
        "200",
    ];
    let output = program(dir).args(load).args(arguments).output();
    output.await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_run_that_ends_well_says_so_and_exits_with_zero() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let output = client(
        &bazaar,
        dir.path(),
        &["--seed", "7", "--report", "report.json"],
    )
    .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("acknowledged orders match\n"), "{printed}");
    assert!(printed.contains("seed 7"), "{printed}");
    assert!(
        output.stderr.is_empty(),
        "no progress bar where there is no terminal"
    );

    let json = std::fs::read(dir.path().join("report.json")).unwrap();
    let report: Report = serde_json::from_slice(&json).unwrap();
    assert_eq!(report.settings.seed, 7);
    // By default the log is a file of its own.
    assert!(report.log.starts_with("var/client") && dir.path().join(&report.log).exists());
}

#[tokio::test]
async fn a_lost_order_or_a_missed_service_level_is_an_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::LoseOrder).await;
    let output = client(&bazaar, dir.path(), &["--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.judgement.read_back.unwrap().lost, 1);

    let bazaar = Bazaar::start(Fault::None).await;
    let output = client(&bazaar, dir.path(), &["--slo", "trade.p99<1us"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAILED: service level trade.p99<1us missed"));
}

#[tokio::test]
async fn a_sweep_leaves_a_plot_and_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let bazaar = Bazaar::start(Fault::None).await;
    let output = client(&bazaar, dir.path(), &["--sweep=plot.svg"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let svg = std::fs::read_to_string(dir.path().join("plot.svg")).unwrap();
    assert!(svg.contains("trade, not cached"), "{svg}");
    let json = std::fs::read(dir.path().join("plot.json")).unwrap();
    let sweep: bazaar_client::Sweep = serde_json::from_slice(&json).unwrap();
    assert_eq!(sweep.points.len(), 10);
}

#[tokio::test]
async fn bad_flags_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, reason) in [
        ("--slo=p99>5ms", "a service level is written as `p99<50ms`"),
        (
            "--trade-probability=1.5",
            "a probability is a number from 0 to 1",
        ),
        ("--rate=0", "more than 0"),
        ("--url=https://bazaar", "http://"),
        ("--connections=0", "1..=10000"),
        ("--uncached-url=http://bazaar", "--sweep"),
    ] {
        let output = program(dir.path()).arg(flag).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let printed = text(&output.stderr);
        assert!(printed.contains(reason), "{flag}: {printed}");
    }
}
