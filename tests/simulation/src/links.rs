//! What is wrong with the network between two machines.
//!
//! turmoil's TCP sends nothing twice, so a message that it drops leaves a hole in its stream for
//! ever. TCP's do not: what is lost is sent again. So here nothing is dropped. A link that is cut
//! holds its messages back until it is mended, as if the retransmission after that had brought them,
//! and a message lost on the way is one that arrives later.
//!
//! Between two hosts of which one cannot send to the other nothing is acknowledged either: there is
//! silence, which connections do not survive for long (see `World::step`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use turmoil::Sim;

/// What is wrong with one direction of a link.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Fault {
    pub(crate) is_cut: bool,
    /// The share of messages that has to be sent again, each time that it is sent.
    pub(crate) loss: f64,
}

/// The links with which something is wrong.
pub(crate) struct Links {
    /// By the sender and the receiver.
    faults: BTreeMap<(IpAddr, IpAddr), Fault>,
    /// Since when a host is without power.
    dark: BTreeMap<IpAddr, Duration>,
    /// The pairs of hosts between which there is silence, the lower address first, and since when.
    silences: BTreeMap<(IpAddr, IpAddr), Duration>,
    rng: SmallRng,
}

impl Links {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            faults: BTreeMap::new(),
            dark: BTreeMap::new(),
            silences: BTreeMap::new(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Changes what is wrong from `from` to `to`.
    pub(crate) fn set(&mut self, sim: &Sim, from: IpAddr, to: IpAddr, change: impl Fn(&mut Fault)) {
        let was_healthy = self.is_healthy(from, to);
        let fault = self.faults.entry((from, to)).or_default();
        change(fault);
        if *fault == Fault::default() {
            self.faults.remove(&(from, to));
        }
        match (was_healthy, self.is_healthy(from, to)) {
            (true, false) => sim.hold(from, to),
            (false, true) => sim.release(from, to),
            _ => {}
        }
    }

    /// Mends every link.
    pub(crate) fn heal(&mut self, sim: &Sim) {
        for (from, to) in std::mem::take(&mut self.faults).into_keys() {
            sim.release(from, to);
        }
    }

    /// Loses whatever is under way to and from `host`, and what it sends in `work`.
    pub(crate) fn silence(&self, sim: &Sim, host: IpAddr, others: &[IpAddr]) {
        for other in others.iter().filter(|other| **other != host) {
            sim.partition(host, *other);
        }
    }

    /// Ends [`Links::silence`].
    pub(crate) fn end_silence(&self, sim: &Sim, host: IpAddr, others: &[IpAddr]) {
        for other in others.iter().filter(|other| **other != host) {
            sim.repair(host, *other);
            if !self.is_healthy(host, *other) {
                sim.hold(host, *other);
            }
        }
    }

    /// Notes that `host` is without power, or has it again.
    pub(crate) fn set_dark(&mut self, host: IpAddr, since: Option<Duration>) {
        match since {
            Some(since) => drop(self.dark.insert(host, since)),
            None => drop(self.dark.remove(&host)),
        }
    }

    /// The pairs of hosts between which there is silence now, and since when. `hosts` are all.
    pub(crate) fn silences(
        &mut self,
        now: Duration,
        hosts: impl Iterator<Item = IpAddr> + Clone,
    ) -> &BTreeMap<(IpAddr, IpAddr), Duration> {
        let cut = self.faults.iter().filter(|(_, fault)| fault.is_cut);
        let cut = cut.map(|((a, b), _)| (*a, *b));
        let dark = self.dark.keys();
        let dark = dark.flat_map(|dark| hosts.clone().map(move |host| (*dark, host)));
        let ordered = |(a, b): (IpAddr, IpAddr)| (a.min(b), a.max(b));
        let before = std::mem::take(&mut self.silences);
        let pairs = cut.chain(dark).filter(|(a, b)| a != b).map(ordered);
        self.silences = pairs
            .map(|pair| (pair, before.get(&pair).copied().unwrap_or(now)))
            .collect();
        &self.silences
    }

    /// Lets the messages pass that faulty links let pass in this step.
    pub(crate) fn step(&mut self, sim: &Sim) {
        let Self { faults, rng, .. } = self;
        if faults.is_empty() {
            return;
        }
        sim.links(|links| {
            for link in links {
                let (a, b) = link.pair();
                let there = faults.get(&(a, b)).copied();
                let back = faults.get(&(b, a)).copied();
                if there.is_none() && back.is_none() {
                    continue;
                }
                for message in link {
                    let (from, _) = message.pair();
                    let fault = if from.ip() == a { there } else { back };
                    let Fault { is_cut, loss } = fault.unwrap_or_default();
                    if !is_cut && (loss == 0.0 || !rng.random_bool(loss)) {
                        message.deliver();
                    }
                }
            }
        });
    }

    fn is_healthy(&self, a: IpAddr, b: IpAddr) -> bool {
        !self.faults.contains_key(&(a, b)) && !self.faults.contains_key(&(b, a))
    }
}
