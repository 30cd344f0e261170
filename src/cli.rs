//! The command line.

use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bazaar_nameserver::cli as naming;
use bazaar_order::{Action, Export};
use bazaar_rpc::connect::Directory;
use bazaar_rpc::net::ClusterName;
use bazaar_rpc::{ServiceKind, ServiceName};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::control::{self, Verb};
use crate::layout::Layout;
use crate::throwaway::Throwaway;
use crate::{check, demo, rebuild, status, torture, up};

/// An order-taking back end that never oversells, never loses an acknowledged order and never books
/// one twice.
#[derive(Debug, Parser)]
#[command(name = "bazaar", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    up: up::Config,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster and supervise it until interrupted; the default.
    Up(up::Config),
    /// Start a throw-away cluster, kill the order leader under load, and check that nothing was
    /// lost, doubled, oversold or stale.
    Demo(demo::Config),
    /// Load a throw-away cluster, inject faults into it by a seeded schedule, and check that no
    /// promise was broken.
    Torture(torture::Config),
    /// Mount a disk that fails, lies or loses power on command, for any one process.
    Disk(torture::disk::console::Config),
    /// Show the processes of a cluster.
    Status(status::Config),
    /// Kill a process; it stays down until it is started.
    Kill(Target),
    /// Pause a process.
    Pause(Target),
    /// Let a paused process go on.
    Resume(Target),
    /// Start a process that is down.
    Start(Target),
    /// Replace a replica whose files are lost or damaged by one that gets everything from its group.
    Replace(Target),
    /// Drive load against a cluster and judge its answers.
    Client(bazaar_client::Config),
    /// Check histories: what clients saw and replicas hold.
    Check(check::Config),
    /// Ask the name server.
    Ns(Ns),
    /// Run a name server.
    Nameserver(bazaar_nameserver::Config),
    /// Run a catalog replica, print its stock, or rebuild a catalog whose disk is lost.
    Catalog(bazaar_catalog::Cli),
    /// Run an order replica, or print its log.
    Order(bazaar_order::Cli),
    /// Run the accounts service, make an admin, or have another key sign tokens.
    Accounts(bazaar_accounts::Cli),
    /// Run a frontend.
    Frontend(bazaar_frontend::Config),
    /// Print the contract of the HTTP interface, an OpenAPI document.
    Openapi,
}

/// A process of a cluster.
#[derive(Debug, clap::Args)]
struct Target {
    /// The process, such as order/3.
    name: ServiceName,

    /// The cluster's data directory.
    #[arg(long, value_name = "DIR", default_value = "var")]
    data_dir: PathBuf,
}

/// A question to a name server.
#[derive(Debug, clap::Args)]
struct Ns {
    #[command(subcommand)]
    command: naming::Command,

    /// The data directory of the cluster whose name server to ask.
    #[arg(long, value_name = "DIR", default_value = "var", global = true)]
    data_dir: PathBuf,

    /// The address of a name server to ask instead.
    #[arg(long, value_name = "ADDR", env = "BAZAAR_NAMESERVER", global = true)]
    nameserver: Option<SocketAddr>,

    /// The name of its cluster.
    #[arg(
        long,
        value_name = "NAME",
        env = "BAZAAR_CLUSTER",
        default_value = "bazaar",
        global = true
    )]
    cluster: ClusterName,
}

/// Does what the command line says.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let matches = Cli::command().get_matches();
    let Cli { command, up } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command.unwrap_or(Command::Up(up)) {
        Command::Up(config) => {
            log_warnings();
            up::run(config)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(config) => block_on(demo::run(config)),
        Command::Torture(config) => block_on(torture::run(config)),
        Command::Disk(config) => {
            log_warnings();
            torture::disk::console::run(&config)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status(config) => block_on(succeed(status::run(config))),
        Command::Kill(target) => block_on(succeed(command_process(Verb::Kill, target))),
        Command::Pause(target) => block_on(succeed(command_process(Verb::Pause, target))),
        Command::Resume(target) => block_on(succeed(command_process(Verb::Resume, target))),
        Command::Start(target) => block_on(succeed(command_process(Verb::Start, target))),
        Command::Replace(target) => block_on(replace(target)),
        Command::Client(config) => block_on(client(config, has_target(&matches))),
        Command::Check(config) => Ok(check::run(&config)),
        Command::Ns(ns) => block_on(succeed(ask_nameserver(ns))),
        Command::Nameserver(config) => Ok(bazaar_daemon::run::<bazaar_nameserver::App>(config)),
        Command::Catalog(cli) => catalog(cli),
        Command::Order(mut cli) => {
            if let Some(Action::Export(export)) = &mut cli.action {
                find_replicas(export, &matches)?;
            }
            Ok(cli.run())
        }
        Command::Accounts(cli) => Ok(accounts(cli).run()),
        Command::Frontend(config) => Ok(bazaar_daemon::run::<bazaar_frontend::App>(config)),
        Command::Openapi => print(&bazaar_frontend::openapi()?),
    }
}

/// Runs `work` on this thread, with helpers for what it spawns.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

async fn succeed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    work.await.map(|()| ExitCode::SUCCESS)
}

/// Shows what the supervisor warns of; its children log into files. Of calls that fail it speaks
/// itself, where they matter: tarpc would say so of each, and not whose it was.
fn log_warnings() {
    let shown = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("tarpc", LevelFilter::OFF);
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish()
        .with(shown)
        .init();
}

async fn command_process(verb: Verb, target: Target) -> anyhow::Result<()> {
    let control = control::connect(&target.data_dir).await?;
    control::command(&control, verb, target.name).await
}

async fn replace(Target { name, data_dir }: Target) -> anyhow::Result<ExitCode> {
    let control = control::connect(&data_dir).await?;
    let told = match control::replace(&control, name).await? {
        Some(aside) => format!("what {name} had is in {}\n", aside.display()),
        None => String::new(),
    };
    print(&format!(
        "{told}{name} starts with nothing, and votes when it has what its group has: `bazaar status`\n"
    ))
}

/// Whether the command line, or the environment, says which frontend to load.
fn has_target(matches: &ArgMatches) -> bool {
    let client = matches.subcommand_matches("client");
    client.and_then(|client| client.value_source("urls")) != Some(ValueSource::DefaultValue)
}

/// Runs the load generator. A sweep with no cluster to sweep gets two, with cache and without.
async fn client(mut config: bazaar_client::Config, has_target: bool) -> anyhow::Result<ExitCode> {
    if config.sweep.is_none() || has_target {
        return bazaar_client::execute(config).await;
    }
    let cached = Throwaway::start(&[]).await?;
    let uncached = Throwaway::start(&["--cache", "off"]).await?;
    config.urls = cached.urls().to_vec();
    config.uncached_urls = uncached.urls().to_vec();
    let outcome = bazaar_client::execute(config).await;
    cached.stop().await?;
    uncached.stop().await?;
    outcome
}

async fn ask_nameserver(ns: Ns) -> anyhow::Result<()> {
    let directory = match ns.nameserver {
        Some(nameserver) => Directory::new(ns.cluster, nameserver),
        None => control::directory(&ns.data_dir)?,
    };
    let answer = naming::execute(ns.command, &directory).await?;
    print(&answer)?;
    Ok(())
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Has `export` ask the cluster whose data directory it was given, or the one in the default data
/// directory where it was given nothing to ask.
fn find_replicas(export: &mut Export, matches: &ArgMatches) -> anyhow::Result<()> {
    let order = matches.subcommand_matches("order");
    let source = order
        .and_then(|order| order.subcommand_matches("export"))
        .and_then(|export| export.value_source("nameserver"));
    let dir = match &export.data_dir {
        Some(dir) => dir.clone(),
        None if source == Some(ValueSource::DefaultValue) => "var".into(),
        None => return Ok(()),
    };
    // Where there is none, it is a replica's own directory.
    if Layout::new(&dir).cluster().exists() {
        let directory = control::directory(&dir)?;
        export.nameserver = directory.nameserver();
        export.cluster = directory.cluster().clone();
        export.data_dir = None;
    }
    Ok(())
}

/// Runs what is asked of a catalog; where that concerns a cluster of `bazaar up`, in its directory.
fn catalog(mut cli: bazaar_catalog::Cli) -> anyhow::Result<ExitCode> {
    match cli.action {
        // Where there is no cluster of `bazaar up`, it is the catalog's own directory.
        Some(bazaar_catalog::Action::Rebuild(flags))
            if Layout::new(&flags.data_dir).cluster().exists() =>
        {
            rebuild::run(flags).context("catalog rebuild")?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(bazaar_catalog::Action::Export(ref mut export)) => find_catalog(export),
        Some(bazaar_catalog::Action::Rebuild(_)) | None => {}
    }
    Ok(cli.run())
}

/// Has `export` read the directory of a replica of the cluster whose data directory it was given.
fn find_catalog(export: &mut bazaar_catalog::Export) {
    let layout = Layout::new(&export.data_dir);
    if layout.cluster().exists() {
        let replica = export.replica.unwrap_or(1);
        export.data_dir = layout.process(ServiceName::new(ServiceKind::Catalog, replica));
    }
}

/// Has a command work on the accounts of the cluster whose data directory it was given.
fn accounts(mut cli: bazaar_accounts::Cli) -> bazaar_accounts::Cli {
    use bazaar_accounts::Action;

    let place = match &mut cli.action {
        Some(Action::CreateAdmin(admin)) => &mut admin.place,
        Some(Action::RotateKey(key)) => &mut key.place,
        None => return cli,
    };
    let layout = Layout::new(&place.data_dir);
    // Where there is no cluster, it is the service's own directory.
    if layout.cluster().exists() {
        place.data_dir = layout.process(ServiceName::new(ServiceKind::Accounts, 1));
    }
    cli
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_flags_are_those_of_up() {
        let cli = Cli::parse_from(["bazaar", "--orders", "5", "--http", "127.0.0.1:0"]);
        assert!(cli.command.is_none());
        let explicit = Cli::parse_from(["bazaar", "up", "--orders", "5", "--http", "127.0.0.1:0"]);
        let Some(Command::Up(up)) = explicit.command else {
            panic!("not up")
        };
        assert_eq!(format!("{:?}", cli.up), format!("{up:?}"));
    }
}
