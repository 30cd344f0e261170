//! The catalog as a program of its own.

use std::process::ExitCode;

use bazaar_catalog::{App, Config};
use clap::Parser;

/// Bazaar's catalog.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    bazaar_daemon::run::<App>(Arguments::parse().config)
}
