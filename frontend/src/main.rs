//! The frontend as a program of its own.

use std::process::ExitCode;

use bazaar_frontend::{App, Config};
use clap::Parser;

/// Serves the shops over HTTP.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    bazaar_daemon::run::<App>(Arguments::parse().config)
}
