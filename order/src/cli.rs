//! The order service on the command line.

use std::io;
use std::process::ExitCode;

use crate::export::{self, ExportError};
use crate::{App, Config, Export};

/// Run an order replica, or look at one.
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
    /// Print a replica's order log.
    Export(Export),
}

impl Cli {
    /// Does what the command line says, to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.action {
            None => bazaar_daemon::run::<App>(self.config),
            Some(Action::Export(options)) => match print(&options) {
                Ok(()) => ExitCode::SUCCESS,
                // Whoever reads has read enough, as `head` does.
                Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("bazaar order export: {error}");
                    ExitCode::FAILURE
                }
            },
        }
    }
}

fn print(options: &Export) -> Result<(), ExportError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    runtime.block_on(export::export(options, &mut out))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        cli: Cli,
    }

    #[test]
    fn a_replica_runs_unless_something_else_is_asked_for() {
        Arguments::command().debug_assert();
        let cli = Arguments::parse_from(["order", "--id", "2", "--snapshot-interval", "5s"]).cli;
        assert!(cli.action.is_none());
        assert_eq!((cli.config.flags.id, cli.config.members), (2, 3));
        let cli = Arguments::parse_from(["order", "export", "--csv", "--replica", "2"]).cli;
        let Some(Action::Export(options)) = cli.action else {
            panic!("export is asked for")
        };
        assert_eq!(options.replica, Some(2));
    }
}
