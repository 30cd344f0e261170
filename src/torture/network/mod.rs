//! A network of its own for a cluster, whose links can be cut and impaired while it runs.
//!
//! Each process lives on a host of its own: a network namespace with one TUN device in it. The
//! [`switch::Switch`], a thread of this program, holds the other ends of the devices and carries the
//! packets, so a fault needs nothing of the kernel's (netem is not everywhere), begins and ends
//! between two packets, and touches exactly those packets that it should: a cut is silent, as that
//! of a real network is, and open connections stay open and stall.
//!
//! That takes root, or the root of a user namespace that has a network, mounts and a writable `/run`
//! of its own. A proxy in place of all this could stand before each process but not between two of
//! them: the name server gives every caller the same address.
//!
//! A network is gone when it is dropped. When this program is killed, its devices go with it, and the
//! next network that is made removes its namespaces.

mod error;
mod fault;
mod namespaces;
mod rules;
mod switch;
#[cfg(test)]
mod tests;
mod wiring;

use std::net::Ipv4Addr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use bazaar_rpc::ServiceName;
use tokio::sync::oneshot;

pub(crate) use self::error::NetworkError;
pub(crate) use self::fault::{Fault, Host, Quality, Scope};
use self::rules::Rules;
use self::switch::lock;
use self::wiring::Site;

/// A network. Every host reaches every other one while there are no faults.
#[derive(Debug)]
pub(crate) struct Network {
    sites: Vec<Site>,
    rules: Arc<Mutex<Rules>>,
    /// Dropping it stops the switch.
    stop: Option<oneshot::Sender<()>>,
    switch: Option<JoinHandle<()>>,
}

impl Network {
    /// Whether this machine permits networks: makes one, and removes it.
    ///
    /// # Errors
    /// Why it does not.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a look at what a machine permits")
    )]
    pub(crate) fn probe() -> Result<(), NetworkError> {
        let process = ServiceName::new(bazaar_rpc::ServiceKind::Nameserver, 1);
        Self::create(&[process], 0).map(drop)
    }

    /// Makes a network of the machine itself and a host for each of `processes`. What faults leave
    /// to chance is decided by `seed`.
    ///
    /// Waits for the kernel and for `ip`: some 100 ms, and a minute at the most.
    ///
    /// # Errors
    /// When the machine does not permit it, saying why.
    pub(crate) fn create(processes: &[ServiceName], seed: u64) -> Result<Self, NetworkError> {
        let rules = Arc::new(Mutex::new(Rules::new(seed)));
        let (ready, wired) = sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let (processes, carried) = (processes.to_vec(), rules.clone());
        let switch = thread::Builder::new()
            .name("switch".into())
            .spawn(move || wiring::run(&processes, carried, &ready, stopped))
            .map_err(NetworkError::Thread)?;
        // From here on the drop cleans up.
        let mut network = Self {
            sites: Vec::new(),
            rules,
            stop: Some(stop),
            switch: Some(switch),
        };
        network.sites = wired.recv().unwrap_or(Err(NetworkError::Stopped))?;
        Ok(network)
    }

    /// The address at which a host can be reached, and to which its process is to bind.
    ///
    /// # Errors
    /// When there is no such host.
    pub(crate) fn address(&self, host: impl Into<Host>) -> Result<Ipv4Addr, NetworkError> {
        self.site(host.into()).map(|site| site.address)
    }

    /// What to put before the command line of a process so that it runs on its host: a program and
    /// its first arguments, none for the machine. It becomes the process, whose id it has.
    ///
    /// # Errors
    /// When there is no such host.
    pub(crate) fn prefix(&self, host: impl Into<Host>) -> Result<Vec<String>, NetworkError> {
        let namespace = &self.site(host.into())?.namespace;
        let words = |name: &String| ["ip", "netns", "exec", name].map(str::to_owned).to_vec();
        Ok(namespace.as_ref().map(words).unwrap_or_default())
    }

    /// Begins a fault, with the next packet. A fault that there is already goes on.
    ///
    /// # Errors
    /// When it names a host that is not there, or nothing passes anyway because the switch has
    /// stopped.
    pub(crate) fn inject(&self, fault: Fault) -> Result<(), NetworkError> {
        self.check()?;
        for host in fault.hosts() {
            self.site(host)?;
        }
        lock(&self.rules).inject(fault);
        Ok(())
    }

    /// Ends a fault, with the next packet; returns how many packets it touched since it began, or
    /// none where there was no such fault. Connections that it stalled go on when they next try.
    ///
    /// # Errors
    /// When the switch has stopped.
    pub(crate) fn heal(&self, fault: &Fault) -> Result<Option<u64>, NetworkError> {
        self.check()?;
        Ok(lock(&self.rules).heal(fault))
    }

    /// Ends every fault.
    ///
    /// # Errors
    /// When the switch has stopped.
    pub(crate) fn heal_all(&self) -> Result<(), NetworkError> {
        self.check()?;
        lock(&self.rules).heal_all();
        Ok(())
    }

    /// Whether the switch carries packets.
    fn check(&self) -> Result<(), NetworkError> {
        match &self.switch {
            Some(switch) if !switch.is_finished() => Ok(()),
            _ => Err(NetworkError::Stopped),
        }
    }

    fn site(&self, host: Host) -> Result<&Site, NetworkError> {
        let found = self.sites.iter().find(|site| site.host == host);
        found.ok_or(NetworkError::UnknownHost(host))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop = None;
        // Every wait in that thread has a bound. A panic in it has been printed.
        self.switch.take().map(JoinHandle::join);
    }
}
