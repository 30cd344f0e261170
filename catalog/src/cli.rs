//! The catalog on the command line.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bazaar_daemon::{Tasks, in_one_line};
use bazaar_rpc::connect::Directory;
use bazaar_rpc::net::ClusterName;
use bazaar_rpc::{ServiceKind, ServiceName};

use crate::export::{Export, ExportError, export};
use crate::rebuild::Rebuild;
use crate::{App, Config};

/// How long the connections to the cluster may take to end.
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// Run a catalog replica, look at one, or rebuild a catalog whose disk is lost.
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
    /// Restore a catalog whose disk is lost from the shop files and the order log.
    ///
    /// The catalog must not run; a majority of the order group must be there, and where `bazaar up`
    /// is down, it is started for as long as this takes. With several replicas, this is for a
    /// catalog that lost the disks of a majority of them: after the loss of one, the others go on.
    Rebuild(RebuildFlags),
}

/// What to rebuild, and from what.
#[derive(Clone, Debug, clap::Args)]
pub struct RebuildFlags {
    /// The data directory of `bazaar up`, or the catalog's own. With several replicas of one's own,
    /// the directory in which `catalog-1` and so on are made, each to be taken to its machine.
    #[arg(long, value_name = "DIR", default_value = "var")]
    pub data_dir: PathBuf,

    /// A shop that was open beside the three that ship, as it was when it opened; may be given more
    /// than once.
    #[arg(long = "shop", value_name = "FILE")]
    pub shops: Vec<PathBuf>,

    /// How many replicas the catalog has; `bazaar up` knows it of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub members: u64,

    /// The name server's address; `bazaar up` knows it of its own.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_NAMESERVER",
        default_value = "127.0.0.1:9090"
    )]
    pub nameserver: SocketAddr,

    /// The cluster's name; `bazaar up` knows it of its own.
    #[arg(
        long,
        value_name = "NAME",
        env = "BAZAAR_CLUSTER",
        default_value = "bazaar"
    )]
    pub cluster: ClusterName,

    /// Where a data directory still holds a state, set that aside instead of stopping.
    #[arg(long)]
    pub move_aside: bool,
}

impl RebuildFlags {
    /// What these flags ask for, of a cluster that `bazaar up` does not run.
    #[must_use]
    pub fn rebuild(self) -> Rebuild {
        let dir = |id| match self.members {
            1 => self.data_dir.clone(),
            _ => self.data_dir.join(format!("catalog-{id}")),
        };
        let replica = |id| (ServiceName::new(ServiceKind::Catalog, id), dir(id));
        Rebuild {
            directory: Directory::new(self.cluster.clone(), self.nameserver),
            dirs: (1..=self.members).map(replica).collect(),
            shops: self.shops.clone(),
            move_aside: self.move_aside,
        }
    }
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
            Some(Action::Rebuild(flags)) => match rebuild(flags) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("bazaar catalog rebuild: {}", in_one_line(&error));
                    ExitCode::FAILURE
                }
            },
        }
    }
}

fn rebuild(flags: RebuildFlags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        let report = flags.rebuild().run(&tasks).await;
        tasks.stop(TASKS_LIMIT).await;
        write!(io::stdout().lock(), "{}", report?)?;
        Ok(())
    })
}
