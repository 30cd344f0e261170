//! The command line of every process of a cluster.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use bazaar_accounts::DatabaseUrl;
use bazaar_daemon::Flags;
use bazaar_frontend::{EdgeFlags, Switch};
use bazaar_rpc::connect::Directory;
use bazaar_rpc::net::ClusterName;
use bazaar_rpc::{ServiceKind, ServiceName};
use clap::ValueEnum as _;

use crate::cluster::Cluster;
use crate::layout::{Layout, read_json};
use crate::placement::{self, Placements};
use crate::reservation::Reservation;

/// Where processes listen that nobody has given an address.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where the name server listens, and a frontend serves HTTP, at an address that is its own.
const OWN_NAMESERVER_PORT: u16 = 9090;
const OWN_HTTP_PORT: u16 = 8080;

/// The environment variable that names the accounts' database. Children get it by that, because a
/// command line is for everybody on the machine to see.
const DATABASE: &str = "BAZAAR_DATABASE";

/// The name server.
const NAMESERVER: ServiceName = ServiceName {
    kind: ServiceKind::Nameserver,
    id: 1,
};

/// How the services are to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to serve HTTP; port 0 lets the kernel choose. Further frontends get the ports that
    /// follow.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) http: SocketAddr,

    /// How many frontends there are.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(crate) frontends: u64,

    /// How many accounts services there are: without one, nobody can register or log in.
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1))]
    pub(crate) accounts: u64,

    /// The database that the accounts are in, such as `postgres://user@host/accounts`; a file in the
    /// data directory where there is none. One that holds a password is better given in the
    /// environment.
    #[arg(
        long,
        value_name = "URL",
        env = DATABASE,
        hide_env_values = true
    )]
    pub(crate) database: Option<DatabaseUrl>,

    /// Whether the frontends cache items.
    #[arg(long, value_name = "ON|OFF", default_value = "on")]
    pub(crate) cache: Switch,

    /// The most items that a frontend caches.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) cache_items: NonZeroU32,

    /// What requests pass before they are handled.
    #[command(flatten)]
    pub(crate) edge: EdgeFlags,

    /// A shop to open beside the three that ship; may be given more than once.
    #[arg(long = "shop", value_name = "FILE")]
    pub(crate) shops: Vec<PathBuf>,

    /// What the services log, into files in the data directory: error, warn, info, debug or trace,
    /// also by module (`info,bazaar_order=debug`).
    #[arg(
        long,
        value_name = "FILTER",
        env = "BAZAAR_LOG",
        default_value = Flags::LOG
    )]
    pub(crate) log: String,

    /// How and where single processes run, as JSON by their names.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) placements: Option<PathBuf>,
}

/// Makes the command lines of a cluster's processes. All of them are this very program.
#[derive(Debug)]
pub(crate) struct Launcher {
    program: PathBuf,
    layout: Layout,
    cluster: Cluster,
    options: Options,
    /// The addresses that processes keep when they are started again: where the name server
    /// listens, and where the frontends serve HTTP.
    kept: BTreeMap<ServiceName, Kept>,
    placements: Placements,
}

/// An address that a process keeps.
#[derive(Debug)]
enum Kept {
    /// On this machine, where others look for ports too.
    Reserved(Reservation),
    /// Where nobody else is.
    Own(SocketAddr),
}

impl Kept {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Reserved(reservation) => reservation.address(),
            Self::Own(address) => *address,
        }
    }
}

impl Launcher {
    /// The command lines of `cluster`'s processes.
    ///
    /// # Errors
    /// When a port is in use or there are not enough, or this program's file is unknown.
    pub(crate) fn new(layout: Layout, cluster: Cluster, options: Options) -> anyhow::Result<Self> {
        let placements = match &options.placements {
            Some(file) => {
                read_json(file)?.with_context(|| format!("no file {}", file.display()))?
            }
            None => Placements::new(),
        };
        let own = |name: ServiceName, port| {
            let ip = placements.get(&name).and_then(|placement| placement.ip)?;
            Some(Kept::Own(SocketAddr::new(ip, port)))
        };
        let nameserver = match own(NAMESERVER, OWN_NAMESERVER_PORT) {
            Some(own) => own,
            None => Kept::Reserved(Reservation::take(ANY_PORT)?),
        };
        let mut kept = BTreeMap::from([(NAMESERVER, nameserver)]);
        for id in 1..=options.frontends {
            let name = ServiceName::new(ServiceKind::Frontend, id);
            if let Some(own) = own(name, OWN_HTTP_PORT) {
                kept.insert(name, own);
                continue;
            }
            let mut address = options.http;
            if address.port() != 0 {
                let port = u64::from(address.port()) + id - 1;
                let port = u16::try_from(port).ok();
                let port =
                    port.with_context(|| format!("--http {address}: no port for frontend {id}"))?;
                address.set_port(port);
            }
            let reservation =
                Reservation::take(address).with_context(|| format!("--http {address}"))?;
            kept.insert(name, Kept::Reserved(reservation));
        }
        let program = std::env::current_exe()?;
        Ok(Self {
            program,
            layout,
            cluster,
            options,
            kept,
            placements,
        })
    }

    /// The layout of the data directory.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The cluster's name.
    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.cluster.name
    }

    /// The processes of `kind`.
    pub(crate) fn processes(&self, kind: ServiceKind) -> impl Iterator<Item = ServiceName> + use<> {
        let count = match kind {
            ServiceKind::Nameserver => 1,
            ServiceKind::Catalog => self.cluster.size.catalogs,
            ServiceKind::Order => self.cluster.size.orders,
            ServiceKind::Frontend => self.options.frontends,
            ServiceKind::Accounts => self.options.accounts,
            ServiceKind::Supervisor => 0,
        };
        (1..=count).map(move |id| ServiceName::new(kind, id))
    }

    /// Where the name server listens.
    pub(crate) fn nameserver(&self) -> SocketAddr {
        self.kept[&NAMESERVER].address()
    }

    /// Where `name` serves HTTP, if it does.
    pub(crate) fn http(&self, name: ServiceName) -> Option<SocketAddr> {
        let kept = self
            .kept
            .get(&name)
            .filter(|_| name.kind == ServiceKind::Frontend);
        kept.map(Kept::address)
    }

    /// The directory of the cluster's services.
    pub(crate) fn directory(&self) -> Directory {
        Directory::new(self.cluster.name.clone(), self.nameserver())
    }

    /// The data directory of the process `name`.
    pub(crate) fn data_dir(&self, name: ServiceName) -> PathBuf {
        placement::data_dir(&self.placements, &self.layout, name)
    }

    /// The command that starts the process `name`.
    pub(crate) fn command(&self, name: ServiceName) -> Command {
        let placement = self.placements.get(&name);
        let mut command = match placement.map(|placement| placement.prefix.as_slice()) {
            Some([outer, arguments @ ..]) => {
                let mut command = Command::new(outer);
                command.args(arguments).arg(&self.program);
                command
            }
            Some([]) | None => Command::new(&self.program),
        };
        command.envs(
            placement
                .into_iter()
                .flat_map(|placement| &placement.environment),
        );
        command.arg(name.kind.as_str());
        command.arg("--id").arg(name.id.to_string());
        command.arg("--cluster").arg(self.cluster.name.to_string());
        command
            .arg("--nameserver")
            .arg(self.nameserver().to_string());
        command.arg("--data-dir").arg(self.data_dir(name));
        command.arg("--log").arg(&self.options.log);
        command
            .arg("--supervised-by")
            .arg(std::process::id().to_string());
        let listen = match name.kind {
            ServiceKind::Nameserver => self.nameserver(),
            _ => SocketAddr::new(
                placement
                    .and_then(|placement| placement.ip)
                    .unwrap_or(ANY_PORT.ip()),
                0,
            ),
        };
        command.arg("--listen").arg(listen.to_string());
        match name.kind {
            ServiceKind::Nameserver | ServiceKind::Supervisor => {}
            ServiceKind::Catalog => {
                command
                    .arg("--members")
                    .arg(self.cluster.size.catalogs.to_string());
                for shop in &self.options.shops {
                    command.arg("--shop").arg(shop);
                }
            }
            ServiceKind::Accounts => {
                let url = self.options.database.as_ref().map(DatabaseUrl::expose);
                command.envs(url.map(|url| (DATABASE, url)));
            }
            ServiceKind::Order => {
                command
                    .arg("--members")
                    .arg(self.cluster.size.orders.to_string());
            }
            ServiceKind::Frontend => {
                let http = self.http(name).unwrap_or(self.options.http);
                let cache = self.options.cache.to_possible_value();
                let cache = cache.expect("no value of the switch is skipped");
                command.arg("--http").arg(http.to_string());
                command.arg("--cache").arg(cache.get_name());
                command
                    .arg("--cache-items")
                    .arg(self.options.cache_items.to_string());
                command.args(self.options.edge.arguments());
            }
        }
        command
    }
}
