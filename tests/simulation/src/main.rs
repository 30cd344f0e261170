//! The command `cargo simulate`: see `bazaar_simulation`.

#[cfg(feature = "simulate")]
fn main() -> std::process::ExitCode {
    use bazaar_simulation::{Cli, perform};
    use clap::Parser as _;

    perform(&Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        std::process::ExitCode::FAILURE
    })
}

#[cfg(not(feature = "simulate"))]
fn main() {}
