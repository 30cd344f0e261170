//! The flags of the name server.

use std::net::SocketAddr;
use std::path::PathBuf;

use bazaar_daemon::Flags;
use bazaar_rpc::net::ClusterName;

/// The flags of the name server. It listens where all others look for it by default, and it does
/// not register itself: its address is what everybody is configured with.
#[derive(Clone, Debug, clap::Args)]
#[command(
    mut_arg("listen", |arg| arg.default_value("127.0.0.1:9090")),
    mut_arg("nameserver", |arg| arg.hide(true)),
    mut_arg("id", |arg| arg.hide(true))
)]
pub struct Config {
    /// The flags that every service has.
    #[command(flatten)]
    pub flags: Flags,
}

impl Config {
    /// For a name server of `cluster` inside another process, such as a test's: it listens at
    /// `listen` and keeps its table in `data_dir`.
    #[must_use]
    pub fn new(cluster: ClusterName, listen: SocketAddr, data_dir: PathBuf) -> Self {
        Self {
            flags: Flags {
                id: 1,
                nameserver: listen,
                cluster,
                listen,
                data_dir,
                log: "info".into(),
                supervised_by: None,
            },
        }
    }
}

impl AsRef<Flags> for Config {
    fn as_ref(&self) -> &Flags {
        &self.flags
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn by_default_it_listens_where_the_others_look_for_it() {
        let flags = Arguments::parse_from(["nameserver"]).config.flags;
        assert_eq!(flags.listen, flags.nameserver);
    }
}
