//! The flags that every service has.

use std::net::SocketAddr;
use std::path::PathBuf;

use bazaar_rpc::connect::Directory;
use bazaar_rpc::net::ClusterName;

/// The flags that every service has.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Which one of its kind this process is, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,

    /// The name server's address.
    #[arg(
        long,
        value_name = "ADDR",
        env = "BAZAAR_NAMESERVER",
        default_value = "127.0.0.1:9090"
    )]
    pub nameserver: SocketAddr,

    /// The cluster's name; processes of different clusters refuse to talk to each other.
    #[arg(
        long,
        value_name = "NAME",
        env = "BAZAAR_CLUSTER",
        default_value = "bazaar"
    )]
    pub cluster: ClusterName,

    /// Where to listen for other services; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// The directory under which this process keeps what it writes.
    #[arg(long, value_name = "DIR", default_value = "var")]
    pub data_dir: PathBuf,

    /// What to log, on standard error: error, warn, info, debug or trace, also by module
    /// (`info,bazaar_order=debug`).
    #[arg(
        long,
        value_name = "FILTER",
        env = "BAZAAR_LOG",
        default_value = Self::LOG
    )]
    pub log: String,

    /// End when the process of this id, which must be the one that started this one, ends, however
    /// it ends.
    #[arg(long, value_name = "PID", hide = true)]
    pub supervised_by: Option<u32>,
}

impl Flags {
    /// What is logged by default: our own lines, and of the libraries' what may need somebody's
    /// attention. openraft warns of each heartbeat that a dead replica misses, 50 in a second.
    pub const LOG: &str = "info,openraft=error,raft_log=warn,chunked_wal=warn,fjall=warn,\
                           lsm_tree=warn,tarpc=warn";

    /// The directory of the cluster's services.
    #[must_use]
    pub fn directory(&self) -> Directory {
        Directory::new(self.cluster.clone(), self.nameserver)
    }
}
