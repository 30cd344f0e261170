//! The command `cargo simulate`: see `bazaar_simulation`.

#[cfg(feature = "simulate")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    use bazaar_simulation::{Cli, perform};
    use clap::Parser as _;

    perform(&Cli::parse())
}

#[cfg(not(feature = "simulate"))]
fn main() {}
