//! What this machine permits to be done: networks, disks and clocks of the torture's own. They are set up
//! before the cluster starts, and only where a fault needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use bazaar_rpc::{ServiceKind, ServiceName};

use crate::placement::{Placement, Placements};
use crate::torture::clock::Clock;
use crate::torture::disk::{Disk, Names, mounts};
use crate::torture::fault::{Fault, Lane};
use crate::torture::network::Network;

/// What faults are injected with.
pub(crate) struct Equipment {
    network: Means<Network>,
    disks: Means<BTreeMap<ServiceName, Disk>>,
    clocks: Means<BTreeMap<ServiceName, Clock>>,
}

/// Something to inject faults with; the reason where there is none.
type Means<T> = Result<T, String>;

/// Why there is none where no fault asked for it.
const NOT_ASKED: &str = "no fault needs it";

impl Equipment {
    /// Sets up what `faults` need on the processes `names`, in `dir`. What the machine does not
    /// permit is missing, and known to be.
    pub(crate) fn set_up(
        faults: &BTreeSet<Fault>,
        names: &[ServiceName],
        dir: &Path,
        seed: u64,
    ) -> Self {
        let network = if faults.iter().any(|fault| fault.lane() == Lane::Network) {
            Network::create(names, seed).map_err(|error| in_one_line(error.into()))
        } else {
            Err(NOT_ASKED.into())
        };
        let disks = if faults.iter().any(|fault| needs_disk(*fault)) {
            mount(names, dir).map_err(in_one_line)
        } else {
            Err(NOT_ASKED.into())
        };
        let clocks = if faults.contains(&Fault::ClockJump) {
            wind_up(names, dir).map_err(in_one_line)
        } else {
            Err(NOT_ASKED.into())
        };
        Self {
            network,
            disks,
            clocks,
        }
    }

    /// Whether a fault can be injected with it; else why not.
    pub(crate) fn permits(&self, fault: Fault) -> Result<(), String> {
        let network = match &self.network {
            Err(why) if fault.lane() == Lane::Network => Err(format!("no network: {why}")),
            _ => Ok(()),
        };
        let disk = match &self.disks {
            Err(why) if needs_disk(fault) => Err(format!("no disks: {why}")),
            _ => Ok(()),
        };
        let clock = match &self.clocks {
            Err(why) if fault == Fault::ClockJump => Err(format!("no clocks: {why}")),
            _ => Ok(()),
        };
        network.and(disk).and(clock)
    }

    /// How processes run with it.
    pub(crate) fn placements(&self, names: &[ServiceName]) -> anyhow::Result<Placements> {
        let place = |name: &ServiceName| {
            let mut placement = Placement::default();
            if let Ok(network) = &self.network {
                placement.prefix = network.prefix(*name)?;
                placement.ip = Some(network.address(*name)?.into());
            }
            if let Some(disk) = self.disk(*name) {
                placement.data_dir = Some(disk.mount_point().into());
            }
            if let Some(clock) = self.clock(*name) {
                let environment = clock.environment();
                let owned = environment.map(|(variable, value)| (variable.to_owned(), value));
                placement.environment.extend(owned);
            }
            Ok((*name, placement))
        };
        names.iter().map(place).collect()
    }

    /// The network, where there is one.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.as_ref().ok()
    }

    /// The disk of a process, where it has one of its own.
    pub(crate) fn disk(&self, name: ServiceName) -> Option<&Disk> {
        self.disks.as_ref().ok()?.get(&name)
    }

    /// The clock of a process, where it has one of its own.
    pub(crate) fn clock(&self, name: ServiceName) -> Option<&Clock> {
        self.clocks.as_ref().ok()?.get(&name)
    }
}

/// A clock for every process.
fn wind_up(names: &[ServiceName], dir: &Path) -> anyhow::Result<BTreeMap<ServiceName, Clock>> {
    let controls = dir.join("clocks");
    std::fs::create_dir_all(&controls)?;
    Clock::probe(&controls)?;
    let clock = |name: &ServiceName| {
        let control = controls.join(format!("{}-{}", name.kind, name.id));
        Ok((*name, Clock::new(&control)?))
    };
    names.iter().map(clock).collect()
}

/// Whether a fault is one of a disk, and not of the files on it.
fn needs_disk(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DiskFull
            | Fault::FsyncFails
            | Fault::FsyncLies
            | Fault::PowerCutOne
            | Fault::PowerCutMost
            | Fault::PowerCutAll
    )
}

/// A disk for every replica.
fn mount(names: &[ServiceName], dir: &Path) -> anyhow::Result<BTreeMap<ServiceName, Disk>> {
    mounts::remove_dead()?;
    let replicas = names
        .iter()
        .filter(|name| matches!(name.kind, ServiceKind::Catalog | ServiceKind::Order));
    let mounted = replicas.map(|name| {
        let file_name = format!("{}-{}", name.kind, name.id);
        let mount_point = dir.join("data").join(&file_name);
        let backing = dir.join("disks").join(&file_name);
        let disk = Disk::mount(&mount_point, &backing, Names::ByDirectory);
        Ok((*name, disk.with_context(|| name.to_string())?))
    });
    mounted.collect()
}

fn in_one_line(error: anyhow::Error) -> String {
    bazaar_daemon::in_one_line(&error).to_string()
}
