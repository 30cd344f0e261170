//! Makes the hosts of a network, connects them to its switch, and takes them down again.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use bazaar_rpc::ServiceName;
use nix::errno::Errno;
use tokio::sync::oneshot;
use tokio_tun::{Tun, TunBuilder};
use tracing::{error, warn};

use super::error::NetworkError;
use super::fault::Host;
use super::namespaces::{self, Namespaces, ip};
use super::rules::Rules;
use super::switch::{MTU, Port, Switch};
use crate::identity::Identity;

/// How many ranges of 256 addresses there are: 198.18.0.0/15, which is set aside for tests of
/// networks (RFC 2544) and never routed.
const RANGES: u16 = 512;

/// The most hosts of a range, the machine among them: without the first and the last address.
const MOST_HOSTS: usize = 254;

/// How many packets a device keeps for the switch, which may have to wait for a processor. What is
/// lost here would be a fault that nobody asked for.
const QUEUE: u32 = 10_000;

/// The switch goes before the processes whose packets it carries, as a network does; see nice(2).
const PRIORITY: i32 = -15;

/// How many networks this program has made: a range may be free again while the namespaces of the
/// network that had it are still there.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Where a host is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) host: Host,
    pub(super) address: Ipv4Addr,
    /// The name of its network namespace; the machine has its own.
    pub(super) namespace: Option<String>,
}

/// Makes a network, tells where its hosts are, carries its packets until `stopped`, and removes it.
pub(super) fn run(
    processes: &[ServiceName],
    rules: Arc<Mutex<Rules>>,
    ready: &SyncSender<Result<Vec<Site>, NetworkError>>,
    stopped: oneshot::Receiver<()>,
) {
    // Of this thread alone. A delay that nobody asked for would be a fault, too; where the kernel
    // refuses, packets wait for their turn like everybody else.
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        warn!(%error, "the switch has no priority over the cluster");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let work = async {
        let (wired, namespaces) = wire(processes).await;
        match wired {
            Ok((sites, ports)) => {
                let told = ready.send(Ok(sites));
                tokio::select! {
                    _ = stopped => {}
                    ended = Switch::new(ports, rules).run(), if told.is_ok() => {
                        error!(?ended, "the switch has stopped");
                    }
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        if let Some(namespaces) = namespaces
            && let Err(error) = namespaces.remove().await
        {
            warn!(%error, "could not remove network namespaces");
        }
    };
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => drop(ready.send(Err(NetworkError::Thread(error)))),
    }
}

type Wired = Result<(Vec<Site>, Vec<Port>), NetworkError>;

/// Makes the hosts. The namespaces are to be removed whatever comes of it.
async fn wire(processes: &[ServiceName]) -> (Wired, Option<Namespaces>) {
    let begun = async {
        let hosts = processes.len() + 1;
        if hosts > MOST_HOSTS {
            return Err(NetworkError::TooManyHosts(hosts, MOST_HOSTS));
        }
        let owner = Identity::of(std::process::id()).map_err(NetworkError::Thread)?;
        let (range, machine) = claim_range(&owner)?;
        namespaces::remove_stale().await?;
        Ok((owner, range, machine))
    };
    let (owner, range, machine) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return (Err(error), None),
    };
    let serial = MADE.fetch_add(1, Ordering::Relaxed);
    let name = |process: &ServiceName| namespaces::name(&owner, serial, *process);
    let names: Vec<String> = processes.iter().map(name).collect();
    let (namespaces, added) = Namespaces::add(names.clone()).await;
    let wired = match added {
        Ok(()) => connect(processes, names, range, machine).await,
        Err(error) => Err(error),
    };
    (wired, Some(namespaces))
}

/// Takes a range of addresses for this network alone, by making the machine's device: its name
/// carries the range's number, and the kernel permits one device of a name.
fn claim_range(owner: &Identity) -> Result<(u16, Tun), NetworkError> {
    let first = u16::try_from(owner.pid % u32::from(RANGES)).expect("it is below RANGES");
    for range in (first..RANGES).chain(0..first) {
        match open(&format!("bazaar{range}")) {
            Ok(tun) => return Ok((range, tun)),
            Err(NetworkError::Device {
                source: tokio_tun::Error::NixError(Errno::EBUSY),
                ..
            }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(NetworkError::NoRange(RANGES))
}

/// Makes a device, which is there until what is returned is dropped.
fn open(name: &str) -> Result<Tun, NetworkError> {
    let failed = |source| NetworkError::Device {
        name: name.into(),
        source,
    };
    let built = TunBuilder::new().name(name).build().map_err(failed)?;
    let tun = built.into_iter().next();
    Ok(tun.expect("one queue was asked for"))
}

/// Makes a device for each host, and brings it up.
async fn connect(processes: &[ServiceName], names: Vec<String>, range: u16, machine: Tun) -> Wired {
    let mut tuns = vec![machine];
    let mut commands = Vec::new();
    for (index, namespace) in (1..).zip(&names) {
        let device = format!("bz{range}p{index}");
        tuns.push(open(&device)?);
        commands.push(format!("link set dev {device} netns {namespace}"));
    }
    commands.extend(bring_up(&format!("bazaar{range}"), address(range, 0)));
    ip(&[], &commands).await?;
    for (index, namespace) in (1..).zip(&names) {
        let mut commands = bring_up(&format!("bz{range}p{index}"), address(range, index));
        commands.push("link set dev lo up".into());
        ip(&["-netns", namespace], &commands).await?;
    }
    let hosts = [Host::Machine].into_iter();
    let hosts = hosts.chain(processes.iter().copied().map(Host::Process));
    let namespaces = [None].into_iter().chain(names.into_iter().map(Some));
    let sites: Vec<Site> = (0..)
        .zip(hosts.zip(namespaces))
        .map(|(index, (host, namespace))| Site {
            host,
            address: address(range, index),
            namespace,
        })
        .collect();
    let port = |(site, tun): (&Site, Tun)| Port {
        host: site.host,
        address: site.address,
        tun,
    };
    let ports = sites.iter().zip(tuns).map(port).collect();
    Ok((sites, ports))
}

/// The address of a host, by its index; the machine is the first.
fn address(range: u16, index: u8) -> Ipv4Addr {
    let [high, low] = range.to_be_bytes();
    Ipv4Addr::new(198, 18 + high, low, index + 1)
}

fn bring_up(device: &str, address: Ipv4Addr) -> Vec<String> {
    vec![
        format!("link set dev {device} mtu {MTU} txqueuelen {QUEUE}"),
        format!("address add {address}/24 dev {device}"),
        format!("link set dev {device} up"),
    ]
}
