//! The accounts service as a program of its own.

use std::process::ExitCode;

use bazaar_accounts::Cli;
use clap::Parser;

/// Bazaar's accounts service.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    cli: Cli,
}

fn main() -> ExitCode {
    Arguments::parse().cli.run()
}
