//! Watches every replica while a world runs: invariants that hold at every moment, not only at the
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use bazaar_history::{Observation, OrderLog, OrderRecord, StockRecord, StockReport, TradeRecord};
use bazaar_rpc::replica::ReplicaStatus;
use bazaar_rpc::{Order, OrderNumber, Quantity, ServiceName, Term};

use crate::faults::Injector;
use crate::{CatalogProbe, OrderProbe, Probe, World};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// The most broken invariants that are kept.
const MAX_PROBLEMS: usize = 20;

/// The most orders that are read at once.
const PAGE: usize = 100_000;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Observer {
    next: Duration,
    /// The orders, as the first replica had them that had them.
    orders: Vec<OrderRecord>,
    /// Up to where each replica's orders have been read.
    read: BTreeMap<ServiceName, OrderNumber>,
    running: BTreeSet<ServiceName>,
    /// The highest term in which each replica was seen.
    terms: BTreeMap<ServiceName, Term>,
    pub(crate) observations: Vec<Observation>,
    pub(crate) invariants: Vec<String>,
    pub(crate) ends: Vec<String>,
}

impl Observer {
    /// Looks, where it is time to.
    pub(crate) fn step(&mut self, world: &World, injector: Option<&Injector>) {
        self.watch_processes(world, injector);
        let now = world.now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let names: Vec<_> = world.names().collect();
        for name in names {
            match world.probe(name) {
                Some(Probe::Catalog(catalog)) => self.look_at_stock(world, injector, &catalog),
                Some(Probe::Order(order)) => self.look_at_log(world, injector, &order),
                Some(Probe::Other) | None => {}
            }
        }
    }

    /// Notes who has ended without a reason.
    fn watch_processes(&mut self, world: &World, injector: Option<&Injector>) {
        for name in world.names() {
            let runs = world.is_running(name);
            if runs {
                self.running.insert(name);
            } else if self.running.remove(&name)
                && !injector.is_some_and(|injector| injector.excuses(name))
            {
                let reason = end_of(world, name);
                if !reason.contains("has ended: stopped,") {
                    self.ends.push(reason);
                }
            }
        }
    }

    fn look_at_stock(
        &mut self,
        world: &World,
        injector: Option<&Injector>,
        catalog: &CatalogProbe,
    ) {
        let status = catalog.status();
        let mut digest = DefaultHasher::new();
        for stocked in catalog.stocks() {
            let item = &stocked.item;
            let (bought, sold) = (stocked.bought, stocked.sold);
            let came = [stocked.initial, stocked.restocked, sold];
            let went = [item.quantity.units(), stocked.written_off, bought];
            let sum = |units: [u64; 3]| units.map(u128::from).iter().sum::<u128>();
            if sum(came) != sum(went) || item.volume != bought + sold {
                let name = status.name;
                self.report(
                    world,
                    format_args!("{name}: the stock does not add up: {stocked:?}"),
                );
            }
            let shown = (
                item.number,
                item.version,
                item.price.cents(),
                stocked.removed,
            );
            (shown, came, went).hash(&mut digest);
        }
        // The stock is what trades and edits made it, whatever else the log holds.
        let changes = catalog.outbox().end.0 + catalog.edits();
        let digest = Some(format!("{:016x}", digest.finish()));
        self.observe(world, injector, status, changes, digest);
    }

    fn look_at_log(&mut self, world: &World, injector: Option<&Injector>, order: &OrderProbe) {
        let status = order.status();
        let name = status.name;
        let (end, sequence) = order.head();
        if end.0 != sequence.0 {
            let what = format_args!("{name}: {end} orders of {sequence} trades");
            self.report(world, what);
        }
        // A store that lost what was not synced is filled again from the log.
        let from = self.read.get(&name).copied().unwrap_or_default().min(end);
        let orders = match order.orders(from, PAGE) {
            Ok(orders) => orders,
            Err(error) => {
                self.report(world, format_args!("{name}: {error}"));
                return;
            }
        };
        for order in &orders {
            self.compare(world, name, order);
        }
        self.read.insert(name, end);
        let last = end
            .0
            .checked_sub(1)
            .and_then(|last| usize::try_from(last).ok());
        let last = last.and_then(|last| self.orders.get(last));
        let digest = last.map(ToString::to_string);
        self.observe(world, injector, status, end.0, digest);
    }

    /// Holds an order of `name` against what other replicas had under its number.
    fn compare(&mut self, world: &World, name: ServiceName, order: &Order) {
        let record = OrderRecord::from(order);
        let number = usize::try_from(record.number.0).unwrap_or(usize::MAX);
        match self.orders.get(number) {
            Some(known) if *known == record => {}
            Some(known) => {
                let what = format!("{name} has {record}, and another replica had {known}");
                self.report(world, what);
            }
            None if number == self.orders.len() => self.orders.push(record),
            None => self.report(world, format_args!("{name}: a gap before {record}")),
        }
    }

    fn observe(
        &mut self,
        world: &World,
        injector: Option<&Injector>,
        status: ReplicaStatus,
        applied: u64,
        digest: Option<String>,
    ) {
        let term = status.leadership.term;
        let highest = self.terms.entry(status.name).or_default();
        if term < *highest && injector.is_some_and(|it| it.may_forget(status.name)) {
            // It has lost what its disk said it had.
            return;
        }
        *highest = term.max(*highest);
        self.observations.push(Observation {
            at: u64::try_from(world.now().as_nanos()).unwrap_or(u64::MAX),
            replica: status.name,
            term,
            leader: status.leadership.leader,
            applied: Some(applied),
            digest,
        });
    }

    fn report(&mut self, world: &World, what: impl std::fmt::Display) {
        if self.invariants.len() < MAX_PROBLEMS {
            let at = world.now().as_secs_f64();
            self.invariants.push(format!("{at:.3} s: {what}"));
        }
    }
}

/// What was noted of the end of `name`.
fn end_of(world: &World, name: ServiceName) -> String {
    let lines = world.trace().lines();
    let of = format!("{name} has ended: ");
    let last = lines.into_iter().rfind(|line| line.contains(&of));
    last.unwrap_or_else(|| format!("{name} has ended"))
}

/// What every replica holds that runs.
pub(crate) fn holdings(world: &World) -> (Vec<OrderLog>, Vec<StockReport>) {
    let (mut logs, mut stocks) = (Vec::new(), Vec::new());
    for name in world.names() {
        match world.probe(name) {
            Some(Probe::Order(order)) => logs.push(log(name, &order)),
            Some(Probe::Catalog(catalog)) => stocks.push(stock(name, &catalog)),
            Some(Probe::Other) | None => {}
        }
    }
    (logs, stocks)
}

fn log(name: ServiceName, order: &OrderProbe) -> OrderLog {
    // An unreadable order was reported when it was looked at.
    let orders = order.orders(OrderNumber(0), usize::MAX).unwrap_or_default();
    OrderLog {
        source: name.to_string(),
        orders: orders.iter().map(OrderRecord::from).collect(),
        applied: order.head().1,
    }
}

fn stock(name: ServiceName, catalog: &CatalogProbe) -> StockReport {
    let items = catalog.stocks().into_iter().map(|stocked| StockRecord {
        number: stocked.item.number,
        item: stocked.item.name,
        initial: Quantity::new(stocked.initial).expect("it was a quantity"),
        quantity: stocked.item.quantity,
        volume: stocked.item.volume,
        restocked: stocked.restocked,
        written_off: stocked.written_off,
        version: stocked.item.version,
        edits: stocked.edits,
        removed: stocked.removed,
    });
    StockReport {
        source: name.to_string(),
        items: items.collect(),
        outbox: catalog.trades().iter().map(TradeRecord::from).collect(),
        applied: catalog.outbox().end,
        edits: catalog.edits(),
    }
}

/// How often the groups' leaders changed.
pub(crate) fn elections(observations: &[Observation]) -> u64 {
    let led = observations.iter().filter(|seen| seen.leader.is_some());
    let reigns: BTreeSet<_> = led.map(|seen| (seen.replica.kind, seen.term)).collect();
    reigns.len() as u64
}
