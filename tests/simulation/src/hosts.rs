//! The processes of a cluster, each on a machine of its own.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bazaar_daemon::{App, Flags, Tasks, in_one_line};
use bazaar_machine::Machine;
use bazaar_rpc::connect::Directory;
use bazaar_rpc::{ServiceKind, ServiceName};
use tokio::sync::Notify;

use crate::{Probe, Settings, accounts};

/// Where the name server listens.
const NAMESERVER_PORT: u16 = 9090;

/// Where frontends serve HTTP.
pub(crate) const HTTP_PORT: u16 = 8080;

/// How long a process may take to stop in good order, as in `bazaar_daemon`.
const DRAIN_CAP: Duration = Duration::from_secs(5);

/// A machine with its process.
pub(crate) struct Host {
    pub(crate) machine: Machine,
    /// Whether there is a process on it the next time that it starts.
    pub(crate) runs: Cell<bool>,
    /// A look inside the process, once it serves.
    pub(crate) probe: RefCell<Option<Probe>>,
    /// Why the process has ended, where it has by itself.
    pub(crate) ended: RefCell<Option<String>>,
    /// Tells the process to stop in good order.
    pub(crate) stop: Notify,
}

impl Host {
    pub(crate) fn new(address: IpAddr, settings: &Settings) -> Self {
        let salt = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(_) => 0,
        };
        let machine = Machine::new(address, settings.seed.wrapping_mul(31) ^ salt);
        let (shortest, longest) = settings.sync_time;
        machine.disk().set_sync_time(shortest, longest);
        Self {
            machine,
            runs: Cell::new(true),
            probe: RefCell::default(),
            ended: RefCell::default(),
            stop: Notify::new(),
        }
    }

    /// Runs a process until it is told to stop or fails; then the machine is left without one.
    async fn run<A: App>(&self, config: A::Config, look: impl FnOnce(&A) -> Probe) {
        let tasks = Tasks::new();
        let end = match A::build(config, &tasks).await {
            Err(error) => in_one_line(&error),
            Ok(app) => {
                *self.probe.borrow_mut() = Some(look(&app));
                tokio::select! {
                    failure = tasks.failed() => failure.to_string(),
                    () = self.stop.notified() => {
                        let drained = tokio::time::timeout(DRAIN_CAP, app.drain()).await;
                        tasks.stop(DRAIN_CAP).await;
                        format!("stopped, {}", if drained.is_ok() { "drained" } else { "not drained" })
                    }
                }
            }
        };
        *self.ended.borrow_mut() = Some(end);
        pending::<()>().await;
    }
}

/// What runs on `host`, as turmoil starts it: the process `name`, or a kernel alone.
pub(crate) fn software(
    name: ServiceName,
    nameserver: IpAddr,
    settings: &Settings,
    host: Rc<Host>,
) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = turmoil::Result>>> + 'static {
    let settings = settings.clone();
    move || {
        let (settings, host) = (settings.clone(), host.clone());
        Box::pin(async move {
            if !host.runs.get() {
                return pending().await;
            }
            let process = process(name, flags(name, nameserver), &settings, &host);
            host.machine.run(process).await;
            Ok(())
        })
    }
}

async fn process(name: ServiceName, flags: Flags, settings: &Settings, host: &Host) {
    match name.kind {
        ServiceKind::Nameserver => {
            let config = bazaar_nameserver::Config { flags };
            host.run::<bazaar_nameserver::App>(config, |_| Probe::Other)
                .await;
        }
        ServiceKind::Catalog => {
            let config = bazaar_catalog::Config {
                flags,
                shops: Vec::new(),
                members: settings.catalogs,
                lease: settings.lease,
                snapshot_interval: settings.snapshot_interval,
                snapshot_entries: settings.snapshot_entries,
            };
            let look = |app: &bazaar_catalog::App| Probe::Catalog(app.inspector());
            host.run::<bazaar_catalog::App>(config, look).await;
        }
        ServiceKind::Order => {
            let config = bazaar_order::Config {
                flags,
                members: settings.orders,
                snapshot_entries: settings.snapshot_entries,
                snapshot_interval: settings.snapshot_interval.into(),
                kept_entries: settings.kept_entries,
            };
            let look = |app: &bazaar_order::App| Probe::Order(app.inspector());
            host.run::<bazaar_order::App>(config, look).await;
        }
        ServiceKind::Frontend => {
            let config = bazaar_frontend::Config {
                flags,
                http: any(HTTP_PORT),
                cache: bazaar_frontend::Switch::On,
                cache_items: 10_000.try_into().expect("it is not zero"),
                edge: bazaar_frontend::EdgeFlags::default(),
            };
            host.run::<bazaar_frontend::App>(config, |_| Probe::Other)
                .await;
        }
        ServiceKind::Accounts => {
            host.run::<accounts::App>(accounts::Config { flags }, |_| Probe::Other)
                .await;
        }
        ServiceKind::Supervisor => unreachable!("a world has no {}", name.kind),
    }
}

/// The directory of the cluster's services, for whoever is none of them.
pub(crate) fn directory(nameserver: IpAddr) -> Directory {
    let nobody = ServiceName::new(ServiceKind::Supervisor, 1);
    flags(nobody, nameserver).directory()
}

fn flags(name: ServiceName, nameserver: IpAddr) -> Flags {
    let port = match name.kind {
        ServiceKind::Nameserver => NAMESERVER_PORT,
        _ => 0,
    };
    Flags {
        id: name.id,
        nameserver: SocketAddr::new(nameserver, NAMESERVER_PORT),
        cluster: "simulated".parse().expect("it is letters"),
        listen: any(port),
        data_dir: "/data".into(),
        log: String::new(),
        supervised_by: None,
    }
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
