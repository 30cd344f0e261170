//! The load generator as a program of its own; `bazaar client` is the same.

use std::process::ExitCode;

use clap::Parser;

/// Drives load against Bazaar's frontends and judges the answers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: bazaar_client::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match bazaar_client::execute(Arguments::parse().config).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bazaar-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}
