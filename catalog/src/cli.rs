//! The catalog on the command line.

use std::io;
use std::process::ExitCode;

use crate::export::{Export, ExportError, export};
use crate::{App, Config};

/// Run a catalog replica, or look at one.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running a replica.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// The replica's flags.
    #[command(flatten)]
    pub config: Config,
}

/// What to do other than to run a replica.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Print a replica's stock as a history for `bazaar check`.
    Export(Export),
}

impl Cli {
    /// Does what the command line says, to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.action {
            None => bazaar_daemon::run::<App>(self.config),
            Some(Action::Export(options)) => match export(&options, io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                // Whoever reads has read enough, as `head` does.
                Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("bazaar catalog export: {error}");
                    ExitCode::FAILURE
                }
            },
        }
    }
}
