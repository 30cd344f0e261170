//! `bazaar torture`: a cluster under load suffers a seeded schedule of faults, and is then held to
//! every promise by checkers that read what its clients were told and what its replicas recorded.

pub(crate) mod clock;
mod config;
pub(crate) mod disk;
mod fault;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "nothing injects its faults yet")
)]
mod network;
mod schedule;

use std::process::ExitCode;

use anyhow::bail;

pub(crate) use config::Config;

/// Runs the torture; the exit code says whether every promise was kept.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let faults = fault::select(&config.faults);
    bail!("nothing injects {faults:?} yet");
}
