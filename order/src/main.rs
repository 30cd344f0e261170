//! An order replica as a program of its own.

use std::process::ExitCode;

use bazaar_order::Cli;
use clap::Parser;

/// Bazaar's order service.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    cli: Cli,
}

fn main() -> ExitCode {
    Arguments::parse().cli.run()
}
