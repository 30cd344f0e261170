//! The accounts service on the command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use bazaar_daemon::in_one_line;

use crate::{App, Config, CreateAdmin, RotateKey};

/// Run the accounts service, make an admin, or have another key sign.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running the service.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// The service's flags.
    #[command(flatten)]
    pub config: Config,
}

/// What to do other than to run the service.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Enter a user who is an admin.
    CreateAdmin(CreateAdmin),
    /// Have a new key sign tokens. Older keys verify until every token that they signed has expired.
    RotateKey(RotateKey),
}

impl Cli {
    /// Does what the command line says, to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let (name, done) = match self.action {
            None => return bazaar_daemon::run::<App>(self.config),
            Some(Action::CreateAdmin(admin)) => ("create-admin", created(&admin)),
            Some(Action::RotateKey(key)) => ("rotate-key", rotated(&key)),
        };
        let written = done.and_then(|text| Ok(writeln!(io::stdout(), "{text}")?));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bazaar accounts {name}: {}", in_one_line(&error));
                ExitCode::FAILURE
            }
        }
    }
}

fn created(admin: &CreateAdmin) -> anyhow::Result<String> {
    let user = admin.execute()?;
    Ok(format!("{} is an admin, user {}", user.user_name, user.id))
}

fn rotated(key: &RotateKey) -> anyhow::Result<String> {
    Ok(format!("key {} will sign", key.execute()?))
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
    fn the_service_runs_unless_something_else_is_asked_for() {
        Arguments::command().debug_assert();
        let cli = Arguments::parse_from(["accounts", "--logins-per-user", "3/1m"]).cli;
        assert!(cli.action.is_none());
        let cli = Arguments::parse_from(["accounts", "rotate-key", "--data-dir", "x"]).cli;
        assert!(matches!(cli.action, Some(Action::RotateKey(_))));
    }

    #[test]
    fn no_password_is_taken_from_the_command_line() {
        let names: Vec<_> = Arguments::command()
            .find_subcommand("create-admin")
            .expect("a command")
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect();
        assert!(names.contains(&"password_file".to_owned()));
        assert!(!names.contains(&"password".to_owned()));
    }
}
