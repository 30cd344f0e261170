//! The catalog as a program of its own.

use std::process::ExitCode;

use bazaar_catalog::Cli;
use clap::Parser;

/// Bazaar's catalog.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    cli: Cli,
}

fn main() -> ExitCode {
    Arguments::parse().cli.run()
}
