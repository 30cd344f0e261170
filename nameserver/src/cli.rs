//! Pyro's verbs on the command line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bazaar_rpc::connect::{Directory, within};
use bazaar_rpc::naming::{Entry, NamingError, Registration, Selector};
use bazaar_rpc::net::DialError;
use comfy_table::{Table, presets};
use tarpc::client::RpcError;

/// Within this a command answers, one way or the other.
const LIMIT: Duration = Duration::from_millis(900);

/// What to ask the name server.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the names.
    List(Selection),
    /// Print the address of a name.
    Lookup {
        /// Such as order/3.
        name: String,
    },
    /// List the names whose metadata has all of some pieces, or any of some.
    Yplookup {
        /// The metadata has this (may be repeated: all of them).
        #[arg(long, value_name = "METADATA", required_unless_present = "any")]
        all: Vec<String>,
        /// The metadata has this (may be repeated: one of them).
        #[arg(long, value_name = "METADATA")]
        any: Vec<String>,
    },
    /// Enter a name.
    Register {
        /// The name.
        name: String,
        /// The address, such as 127.0.0.1:4711.
        address: SocketAddr,
        /// A piece of metadata (may be repeated).
        #[arg(long)]
        metadata: Vec<String>,
        /// Overwrite an entry of that name.
        #[arg(long)]
        replace: bool,
        /// Forget the name after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<u64>,
    },
    /// Replace the metadata of a name.
    SetMetadata {
        /// The name.
        name: String,
        /// Its metadata from now on.
        metadata: Vec<String>,
    },
    /// Remove names.
    #[command(group = clap::ArgGroup::new("what").required(true).args(["name", "prefix", "regex"]))]
    Remove {
        /// The name to remove.
        name: Option<String>,
        /// Which names to remove instead.
        #[command(flatten)]
        selection: Selection,
    },
    /// Ask whether the name server answers.
    Ping,
    /// Print how many names there are.
    Count,
}

/// Which names.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Selection {
    /// Those that begin with this.
    #[arg(long)]
    prefix: Option<String>,
    /// Those that this regular expression matches as a whole.
    #[arg(long)]
    regex: Option<String>,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The name server's answer.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// Nobody answers at its address.
    #[error("the name server is unreachable: {0}")]
    Unreachable(#[from] DialError),
    /// It did not answer.
    #[error("the name server did not answer: {0}")]
    NoAnswer(#[from] RpcError),
    /// It did not answer in time.
    #[error("the name server at {0} did not answer in time")]
    TooLate(SocketAddr),
}

/// Does `command`, within a second; returns what to print, in whole lines.
///
/// # Errors
/// See [`CommandError`]; its text is one line.
pub async fn execute(command: Command, directory: &Directory) -> Result<String, CommandError> {
    let answer = tokio::time::timeout(LIMIT, ask(command, directory)).await;
    answer.unwrap_or_else(|_elapsed| Err(CommandError::TooLate(directory.nameserver())))
}

async fn ask(command: Command, directory: &Directory) -> Result<String, CommandError> {
    let naming = directory.naming().await?;
    let context = within(LIMIT);
    Ok(match command {
        Command::List(selection) => table(&naming.list(context, selection.selector()).await??),
        Command::Lookup { name } => {
            let entry = naming.lookup(context, name).await??;
            format!("{}\n", entry.address)
        }
        Command::Yplookup { all, any } => {
            table(&naming.yplookup(context, set(all), set(any)).await??)
        }
        Command::Register {
            name,
            address,
            metadata,
            replace,
            ttl,
        } => {
            let lease = ttl.map(Duration::from_secs);
            let registration = Registration {
                name,
                address,
                metadata: set(metadata),
                lease,
            };
            naming.register(context, registration, replace).await??;
            String::new()
        }
        Command::SetMetadata { name, metadata } => {
            naming.set_metadata(context, name, set(metadata)).await??;
            String::new()
        }
        Command::Remove { name, selection } => {
            let selector = name
                .clone()
                .map_or_else(|| selection.selector(), Selector::Name);
            match (naming.remove(context, selector).await??, name) {
                (0, Some(name)) => return Err(NamingError::Unknown(name).into()),
                (removed, _) => format!("removed {removed}\n"),
            }
        }
        Command::Ping => {
            let asked = Instant::now();
            naming.ping(context).await?;
            format!(
                "{} answered in {:.1?}\n",
                directory.nameserver(),
                asked.elapsed()
            )
        }
        Command::Count => format!("{}\n", naming.count(context).await?),
    })
}

impl Selection {
    fn selector(&self) -> Selector {
        match (&self.prefix, &self.regex) {
            (Some(prefix), _) => Selector::Prefix(prefix.clone()),
            (None, Some(regex)) => Selector::Regex(regex.clone()),
            (None, None) => Selector::All,
        }
    }
}

fn set(texts: Vec<String>) -> BTreeSet<String> {
    texts.into_iter().collect()
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["NAME", "ADDRESS", "EXPIRES IN", "METADATA"]);
    for entry in entries {
        let expires = entry
            .expires_in
            .map_or("never".into(), |left| format!("{left:.1?}"));
        let metadata: Vec<_> = entry.metadata.iter().map(String::as_str).collect();
        table.add_row([
            entry.name.clone(),
            entry.address.to_string(),
            expires,
            metadata.join(" "),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
