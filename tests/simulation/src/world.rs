//! A cluster on simulated machines, and all that can be done to it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail};
use bazaar_machine::Machine;
use bazaar_rpc::replica::{Leadership, ReplicaStatus};
use bazaar_rpc::{ServiceKind, ServiceName};
use mad_turmoil::time::SimClocksGuard;
use rand::SeedableRng as _;
use turmoil::Sim;

use crate::hosts::{HTTP_PORT, Host, directory, software};
use crate::links::{Fault, Links};
use crate::operator::Operator;
use crate::{Probe, Settings, Trace};

/// The panics in this process, on whichever machine.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The stack of the thread that a world runs in.
const STACK: usize = 64 << 20;

/// How many segments a TCP connection takes that nobody reads.
const TCP_CAPACITY: usize = 1024;

/// How often it is noted how far the replicas are.
const NOTES: Duration = Duration::from_millis(20);

/// The name of the operator's machine.
const OPERATOR: &str = "operator";

/// A cluster on simulated machines.
///
/// What is done to it is done between two steps, by its methods; its clients are tasks of their own
/// ([`World::client`]). Processes go by the names of their services, such as `order/3`.
pub struct World {
    sim: Sim<'static>,
    hosts: BTreeMap<ServiceName, Rc<Host>>,
    /// The addresses of all hosts and clients, by name.
    addresses: BTreeMap<String, IpAddr>,
    links: Links,
    operator: Rc<Operator>,
    trace: Trace,
    /// What was last seen of each replica.
    seen: BTreeMap<ServiceName, (Leadership, Option<u64>)>,
    /// When that is looked at next.
    next_look: Duration,
    clients_are_done: bool,
    _clocks: SimClocksGuard,
}

impl World {
    /// Runs `work`, which makes a world and drives it, so that `seed` decides everything: in a thread
    /// of its own, in which nothing has drawn a random number yet. Once in a process.
    ///
    /// # Errors
    /// Those of `work`; that it panicked.
    pub fn isolated<T: Send>(
        seed: u64,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(seed));
        panic::set_hook(Box::new(|panic| {
            panics().push(panic.to_string().replace('\n', " "));
        }));
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK);
            let outcome = thread.spawn_scoped(scope, work)?.join();
            outcome.unwrap_or_else(|_| bail!("panicked: {}", panics().join("; ")))
        })
    }

    /// A cluster whose machines start with the first step. To be made in [`World::isolated`].
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let clocks = SimClocksGuard::init();
        let (shortest, longest) = settings.latency;
        let sim = turmoil::Builder::new()
            .rng_seed(settings.seed)
            .tick_duration(settings.tick)
            .simulation_duration(Duration::MAX)
            .epoch(std::time::UNIX_EPOCH)
            .min_message_latency(shortest)
            .max_message_latency(longest)
            .tcp_capacity(TCP_CAPACITY)
            .enable_random_order()
            .build();
        let mut world = Self {
            sim,
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            links: Links::new(settings.seed),
            operator: Rc::default(),
            trace: Trace::default(),
            seen: BTreeMap::new(),
            next_look: Duration::ZERO,
            clients_are_done: true,
            _clocks: clocks,
        };
        let counts = [
            (ServiceKind::Nameserver, 1),
            (ServiceKind::Accounts, 1),
            (ServiceKind::Catalog, settings.catalogs),
            (ServiceKind::Order, settings.orders),
            (ServiceKind::Frontend, settings.frontends),
        ];
        for (kind, count) in counts {
            for id in 1..=count {
                world.add(ServiceName::new(kind, id), settings);
            }
        }
        world.add_operator(settings);
        world
    }

    fn add_operator(&mut self, settings: &Settings) {
        let address = self.sim.lookup(OPERATOR);
        self.addresses.insert(OPERATOR.into(), address);
        let machine = Host::new(address, settings).machine;
        let operator = self.operator.clone();
        let directory = directory(self.address("nameserver/1"));
        self.sim.host(OPERATOR, move || {
            let (machine, operator, directory) =
                (machine.clone(), operator.clone(), directory.clone());
            async move {
                machine.run(operator.work(directory)).await;
                Ok(())
            }
        });
    }

    fn add(&mut self, name: ServiceName, settings: &Settings) {
        let address = self.sim.lookup(name.to_string());
        self.addresses.insert(name.to_string(), address);
        let host = Rc::new(Host::new(address, settings));
        self.hosts.insert(name, host.clone());
        let nameserver = self.address("nameserver/1");
        let software = software(name, nameserver, settings, host);
        self.sim.host(name.to_string(), software);
    }

    /// Adds a client: `work` runs on a machine of its own, `name`. [`World::clients_are_done`] says
    /// when all of them have ended.
    pub fn client(&mut self, name: &str, work: impl Future<Output = ()> + 'static) {
        self.clients_are_done = false;
        let address = self.sim.lookup(name);
        self.addresses.insert(name.into(), address);
        self.sim.client(name, async {
            work.await;
            Ok(())
        });
    }

    /// Whether every client has ended.
    #[must_use]
    pub fn clients_are_done(&self) -> bool {
        self.clients_are_done
    }

    /// The time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Moves time forward by one tick.
    ///
    /// # Errors
    /// When anything panicked. A process that ends by itself is not an error: see
    /// [`World::is_running`] and the trace.
    pub fn step(&mut self) -> anyhow::Result<()> {
        self.links.step(&self.sim);
        self.keep_silences();
        self.clients_are_done = self.sim.step().map_err(|error| anyhow!("{error}"))?;
        if let Some(panic) = panics().first() {
            bail!("panicked: {panic}");
        }
        self.bury();
        self.observe();
        Ok(())
    }

    /// Moves time forward by `time`.
    ///
    /// # Errors
    /// As [`World::step`].
    pub fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = self.now() + time;
        while self.now() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Moves time forward until `holds`, `patience` at the longest.
    ///
    /// # Errors
    /// As [`World::step`]; when it did not come to hold.
    pub fn run_until(
        &mut self,
        patience: Duration,
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let end = self.now() + patience;
        while !holds(self) {
            if self.now() >= end {
                bail!("{what}: not within {patience:?}");
            }
            self.step()?;
        }
        Ok(())
    }

    /// The names of all processes.
    pub fn names(&self) -> impl Iterator<Item = ServiceName> + '_ {
        self.hosts.keys().copied()
    }

    /// The machine of a process: its disk, its time of day.
    #[must_use]
    pub fn machine(&self, name: ServiceName) -> &Machine {
        &self.host(name).machine
    }

    /// Whether there is a process.
    #[must_use]
    pub fn is_running(&self, name: ServiceName) -> bool {
        self.host(name).runs.get()
    }

    /// A look inside a process; none while it does not serve.
    #[must_use]
    pub fn probe(&self, name: ServiceName) -> Option<Probe> {
        self.host(name).probe.borrow().clone()
    }

    /// How far each replica of a group is, as far as they serve.
    #[must_use]
    pub fn replicas(&self, kind: ServiceKind) -> Vec<ReplicaStatus> {
        let of_kind = self.hosts.iter().filter(|(name, _)| name.kind == kind);
        let status = |host: &Rc<Host>| host.probe.borrow().as_ref().and_then(Probe::status);
        of_kind.filter_map(|(_, host)| status(host)).collect()
    }

    /// Who leads a group, by its newest term.
    #[must_use]
    pub fn leader(&self, kind: ServiceKind) -> Option<ServiceName> {
        let replicas = self.replicas(kind).into_iter();
        let newest = replicas
            .map(|status| status.leadership)
            .max_by_key(|it| (it.term, it.leader.is_some()));
        newest.and_then(|it| it.leader)
    }

    /// Where a frontend serves HTTP.
    #[must_use]
    pub fn http(&self, frontend: u64) -> SocketAddr {
        let name = ServiceName::new(ServiceKind::Frontend, frontend);
        SocketAddr::new(self.address(name), HTTP_PORT)
    }

    /// Ends a process as SIGKILL does: its connections are closed, its port refuses new ones, and
    /// what it has written is still in the kernel.
    pub fn kill(&mut self, name: ServiceName) {
        self.note(format_args!("kill {name}"));
        self.end(name, Machine::kill);
        // The kernel is left, which refuses connections.
        self.sim.bounce(name.to_string());
        self.links.set_dark(self.address(name), None);
    }

    /// Cuts a machine's power: nobody hears of it, and what was not synced may be lost.
    pub fn cut_power(&mut self, name: ServiceName) {
        self.note(format_args!("cut the power of {name}"));
        let others: Vec<_> = self.addresses.values().copied().collect();
        let address = self.address(name);
        self.links.silence(&self.sim, address, &others);
        self.end(name, Machine::lose_power);
        self.sim.crash(name.to_string());
        self.links.set_dark(address, Some(self.sim.elapsed()));
        self.links.end_silence(&self.sim, address, &others);
    }

    /// Tells a process to stop in good order, as SIGTERM does. It has when [`World::is_running`] says
    /// so.
    pub fn stop(&mut self, name: ServiceName) {
        self.note(format_args!("stop {name}"));
        self.host(name).stop.notify_one();
    }

    /// Starts a process that does not run, and its machine where that has no power.
    pub fn start(&mut self, name: ServiceName) {
        let host = self.host(name);
        if host.runs.replace(true) {
            return;
        }
        self.note(format_args!("start {name}"));
        let address = self.address(name);
        self.sim.bounce(name.to_string());
        self.links.set_dark(address, None);
    }

    /// Replaces the disk of a process, which does not run, by an empty one.
    pub fn replace_disk(&mut self, name: ServiceName) {
        self.note(format_args!("{name} gets an empty disk"));
        self.machine(name).disk().wipe();
    }

    /// Has the operator have the group of a replica remove it. [`World::has_removed`] says when that
    /// is done.
    pub fn remove(&mut self, name: ServiceName) {
        self.note(format_args!("remove {name}"));
        let others = self.names();
        let others = others.filter(|other| other.kind == name.kind && *other != name);
        self.operator.remove(name, others.collect());
    }

    /// Whether a replica has been removed from its group; says so once.
    pub fn has_removed(&mut self, name: ServiceName) -> bool {
        self.operator.has_removed(name)
    }

    /// Stops a process from running, as SIGSTOP does. Clocks and timers go on.
    pub fn pause(&mut self, name: ServiceName) {
        self.note(format_args!("pause {name}"));
        self.machine(name).pause();
    }

    /// Has a process go on after a pause.
    pub fn resume(&mut self, name: ServiceName) {
        self.note(format_args!("resume {name}"));
        self.machine(name).resume();
    }

    /// Has nothing pass between two hosts until that is mended; connections survive it.
    pub fn cut(&mut self, a: impl Display, b: impl Display) {
        self.cut_one_way(&a, &b);
        self.cut_one_way(&b, &a);
    }

    /// Has nothing pass from `from` to `to`.
    pub fn cut_one_way(&mut self, from: impl Display, to: impl Display) {
        self.note(format_args!("cut {from} off {to}"));
        self.change_link(from, to, |fault| fault.is_cut = true);
    }

    /// Cuts a host off from all others.
    pub fn isolate(&mut self, name: impl Display) {
        let name = name.to_string();
        let others: Vec<_> = self.addresses.keys().cloned().collect();
        for other in others.into_iter().filter(|other| *other != name) {
            self.cut(&name, other);
        }
    }

    /// Has `loss` of the messages from `from` to `to` be lost: they are sent again.
    pub fn lose(&mut self, from: impl Display, to: impl Display, loss: f64) {
        self.note(format_args!("lose {loss} of {from} to {to}"));
        self.change_link(from, to, |fault| fault.loss = loss);
    }

    /// Has every message between two hosts take so long.
    pub fn slow(&mut self, a: impl Display, b: impl Display, latency: Duration) {
        self.note(format_args!("slow {a} and {b} to {latency:?}"));
        let (a, b) = (self.address(a), self.address(b));
        self.sim.set_link_latency(a, b, latency);
    }

    /// Mends the link between two hosts. Their latency stays.
    pub fn mend(&mut self, a: impl Display, b: impl Display) {
        self.note(format_args!("mend {a} and {b}"));
        for (from, to) in [(&a as &dyn Display, &b as &dyn Display), (&b, &a)] {
            self.change_link(from, to, |fault| *fault = Fault::default());
        }
    }

    /// Mends all links. Their latencies stay.
    pub fn mend_all(&mut self) {
        self.note("mend all");
        self.links.heal(&self.sim);
    }

    /// Adds a line to the trace.
    pub fn note(&self, event: impl Display) {
        self.trace.note(self.now(), event);
    }

    fn change_link(&mut self, from: impl Display, to: impl Display, change: impl Fn(&mut Fault)) {
        let (from, to) = (self.address(from), self.address(to));
        self.links.set(&self.sim, from, to, change);
    }

    fn host(&self, name: ServiceName) -> &Rc<Host> {
        let known = self.hosts.get(&name);
        known.unwrap_or_else(|| panic!("there is no {name} in this world"))
    }

    fn address(&self, name: impl Display) -> IpAddr {
        let known = self.addresses.get(&name.to_string());
        *known.unwrap_or_else(|| panic!("there is no {name} in this world"))
    }

    fn end(&self, name: ServiceName, how: impl Fn(&Machine)) {
        let host = self.host(name);
        host.runs.set(false);
        host.probe.take();
        host.ended.take();
        how(&host.machine);
    }

    /// Has the kernels at both ends of a silent link give up what they would.
    fn keep_silences(&mut self) {
        let now = self.sim.elapsed();
        let machines: BTreeMap<_, _> = self
            .hosts
            .values()
            .map(|host| (host.machine.address(), &host.machine))
            .collect();
        for ((a, b), since) in self.links.silences(now, machines.keys().copied()) {
            for (here, there) in [(a, b), (b, a)] {
                // Clients' machines have no limits.
                let Some(machine) = machines.get(here) else {
                    continue;
                };
                if *since == now {
                    machine.begin_silence(*there);
                }
                for (local, remote) in machine.end_silent(*there, *since, now) {
                    let event = format_args!("{local} gives up {remote}");
                    self.trace.note(now, event);
                    if let Some(other) = machines.get(there) {
                        other.orphan(remote, local);
                    }
                }
            }
        }
    }

    /// Ends the processes that have failed or stopped.
    fn bury(&mut self) {
        let ended = |(name, host): (&ServiceName, &Rc<Host>)| {
            host.ended.take().map(|reason| (*name, reason))
        };
        let ended: Vec<_> = self.hosts.iter().filter_map(ended).collect();
        for (name, reason) in ended {
            self.note(format_args!("{name} has ended: {reason}"));
            self.end(name, Machine::kill);
            self.sim.bounce(name.to_string());
        }
    }

    /// Notes what has changed in the replicas.
    fn observe(&mut self) {
        if self.now() < self.next_look {
            return;
        }
        self.next_look = self.now() + NOTES;
        for (name, host) in &self.hosts {
            let status = host.probe.borrow().as_ref().and_then(Probe::status);
            let Some(status) = status else { continue };
            let now = (status.leadership, status.last_applied);
            let before = self.seen.insert(*name, now).unwrap_or_default();
            let time = self.sim.elapsed();
            if now.0 != before.0 {
                let Leadership { term, leader } = now.0;
                let leader = leader.map_or("none".into(), |leader| leader.to_string());
                let line = format_args!("{name} sees {leader} in term {term}");
                self.trace.note(time, line);
            }
            if now.1 != before.1 {
                let applied = now.1.unwrap_or_default();
                self.trace
                    .note(time, format_args!("{name} applied {applied}"));
            }
        }
    }
}

fn panics() -> std::sync::MutexGuard<'static, Vec<String>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}
