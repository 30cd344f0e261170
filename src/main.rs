//! Bazaar on the command line: one program that is every service, the supervisor that runs them as
//! one cluster, and the tools to look at it.

mod audit;
mod check;
mod cli;
mod cluster;
mod control;
mod demo;
mod demo_report;
mod identity;
mod keeper;
mod launcher;
mod layout;
mod lifecycle;
mod observer;
mod placement;
mod process_log;
mod readiness;
mod rebuild;
mod replacement;
mod reservation;
mod roster;
mod status;
mod supervisor;
mod throwaway;
mod torture;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|failure| {
        eprintln!("bazaar: {}", bazaar_daemon::in_one_line(&failure));
        ExitCode::FAILURE
    })
}
