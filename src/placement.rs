//! How and where single processes of a cluster run, where that is not simply on this machine: a
//! plain file, by which a test puts processes into networks and on disks of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use bazaar_rpc::ServiceName;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// The processes that are placed; the others run as always.
pub(crate) type Placements = BTreeMap<ServiceName, Placement>;

/// The data directory of the process `name`: where it is placed, or in the cluster's.
pub(crate) fn data_dir(placements: &Placements, layout: &Layout, name: ServiceName) -> PathBuf {
    let placed = placements.get(&name);
    let placed = placed.and_then(|placement| placement.data_dir.clone());
    placed.unwrap_or_else(|| layout.process(name))
}

/// How and where one process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Placement {
    /// A command that is given the process's command line and becomes that process, such as
    /// `ip netns exec NAME`.
    pub(crate) prefix: Vec<String>,
    /// The address that is the process's alone.
    pub(crate) ip: Option<IpAddr>,
    /// Environment variables that are set besides those of the supervisor.
    pub(crate) environment: BTreeMap<String, String>,
    /// Its data directory.
    pub(crate) data_dir: Option<PathBuf>,
}
