//! The switch: carries packets between hosts, as far as the rules let them.
//!
//! Each host's network device is a TUN device whose other end is held here, so every packet of every
//! link passes through this code and nothing else decides about it. The devices end with this
//! process, however it ends.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep_until;
use tokio_tun::Tun;

use super::fault::Host;
use super::rules::{Passage, Rules};

/// The largest packet, in bytes: that of an Ethernet. The loopback's is 40 times that, and would
/// hide what loss does.
pub(super) const MTU: usize = 1500;

/// The most packets that are under way at once; more are lost.
const MOST_UNDER_WAY: usize = 50_000;

/// A host, where it is plugged in.
pub(super) struct Port {
    pub(super) host: Host,
    pub(super) address: Ipv4Addr,
    pub(super) tun: Tun,
}

/// Carries packets.
pub(super) struct Switch {
    ports: Vec<Port>,
    rules: Arc<Mutex<Rules>>,
    /// Packets that are to arrive later.
    under_way: RefCell<BinaryHeap<Reverse<Packet>>>,
    /// Tells that a packet is to arrive sooner than all others.
    sooner: Notify,
    /// Numbers the packets, so that those that arrive at the same time keep their order.
    sent: Cell<u64>,
}

/// A packet under way; the first to arrive is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    /// The indices of the ports.
    from: usize,
    to: usize,
    bytes: Box<[u8]>,
}

impl Switch {
    /// A switch with these ports.
    pub(super) fn new(ports: Vec<Port>, rules: Arc<Mutex<Rules>>) -> Self {
        Self {
            ports,
            rules,
            under_way: RefCell::default(),
            sooner: Notify::new(),
            sent: Cell::new(0),
        }
    }

    /// Carries packets until a device fails.
    ///
    /// # Errors
    /// What the device said.
    pub(super) async fn run(self) -> io::Result<()> {
        let switch = Rc::new(self);
        let carry = async {
            let mut tasks = JoinSet::new();
            for port in 0..switch.ports.len() {
                let switch = switch.clone();
                tasks.spawn_local(async move { switch.receive(port).await });
            }
            let clock = switch.clone();
            tasks.spawn_local(async move { clock.deliver().await });
            match tasks.join_next().await {
                Some(Ok(ended)) => ended,
                Some(Err(panic)) => Err(io::Error::other(panic)),
                None => Ok(()),
            }
        };
        LocalSet::new().run_until(carry).await
    }

    /// Takes what a host sends.
    async fn receive(&self, from: usize) -> io::Result<()> {
        let mut buffer = [0; MTU];
        loop {
            let length = self.ports[from].tun.recv(&mut buffer).await?;
            let bytes = &buffer[..length];
            let to = destination(bytes)
                .and_then(|address| self.ports.iter().position(|port| port.address == address));
            // Multicasts, and what is not IPv4, are nobody's.
            if let Some(to) = to {
                self.carry(from, to, bytes);
            }
        }
    }

    fn carry(&self, from: usize, to: usize, bytes: &[u8]) {
        let now = Instant::now();
        let (source, sink) = (self.ports[from].host, self.ports[to].host);
        let passage = lock(&self.rules).pass(source, sink, bytes.len(), now);
        let Some(Passage { due, copies }) = passage else {
            return;
        };
        for _copy in 0..copies {
            if due <= now {
                self.hand_over(to, bytes);
                continue;
            }
            let mut under_way = self.under_way.borrow_mut();
            if under_way.len() >= MOST_UNDER_WAY {
                return;
            }
            let number = self.sent.replace(self.sent.get() + 1);
            let first = under_way.peek().map(|Reverse(first)| first.due);
            under_way.push(Reverse(Packet {
                due,
                number,
                from,
                to,
                bytes: bytes.into(),
            }));
            if first.is_none_or(|first| due < first) {
                self.sooner.notify_one();
            }
        }
    }

    /// Hands over the packets under way as they arrive.
    async fn deliver(&self) -> io::Result<()> {
        loop {
            let first = self
                .under_way
                .borrow()
                .peek()
                .map(|Reverse(first)| first.due);
            match first {
                None => self.sooner.notified().await,
                Some(due) => tokio::select! {
                    () = sleep_until(due.into()) => {}
                    () = self.sooner.notified() => continue,
                },
            }
            let now = Instant::now();
            while let Some(packet) = self.next_arrival(now) {
                let (source, sink) = (self.ports[packet.from].host, self.ports[packet.to].host);
                if !lock(&self.rules).is_cut(source, sink) {
                    self.hand_over(packet.to, &packet.bytes);
                }
            }
        }
    }

    /// Takes the packet that is the first to have arrived by `now`.
    fn next_arrival(&self, now: Instant) -> Option<Packet> {
        let mut under_way = self.under_way.borrow_mut();
        let Reverse(first) = under_way.peek()?;
        if first.due > now {
            return None;
        }
        under_way.pop().map(|Reverse(packet)| packet)
    }

    fn hand_over(&self, to: usize, bytes: &[u8]) {
        // A host that cannot take it loses it, as it would on any network.
        self.ports[to].tun.try_send(bytes).ok();
    }
}

/// Locks a plain value; a panic elsewhere cannot have left it half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where an IPv4 packet goes.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_v4 = packet.first()? >> 4 == 4;
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_v4.then(|| address.into())
}
