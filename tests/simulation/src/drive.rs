//! One run: a world, its faults, its load, and what the checks say of it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bazaar_daemon::planted::plant;
use bazaar_history::ClientEvent;
use bazaar_rpc::ServiceKind;

use crate::accounts::Tokens;
use crate::cli::One;
use crate::faults::{Injector, Schedule};
use crate::observer::{Observer, elections, holdings};
use crate::report::{Finding, Report};
use crate::verify::{Seen, verify};
use crate::workload::{Frontend, Recorder, Shared, Workload};
use crate::{Probe, World, clock};

/// How long the cluster may take until it serves for the first time.
const BOOT: Duration = Duration::from_secs(30);

/// How long replicas may take to become equal when nothing happens any more.
const SETTLING: Duration = Duration::from_secs(10);

/// Runs one seed.
///
/// A run that breaks off, because something panicked or the cluster never served, has failed the
/// check of that name.
#[must_use]
pub fn run(one: &One) -> Report {
    plant(one.bug);
    let begun = clock::wall();
    let outcome = World::isolated(one.seed, || simulate(one));
    let mut report = outcome.unwrap_or_else(|error| Report {
        seed: one.seed,
        profile: one.profile().to_string(),
        bug: one.bug.map(|bug| bug.to_string()),
        checks: [("run".into(), Finding::of(vec![format!("{error:#}")]))].into(),
        ..Report::default()
    });
    report.wall = clock::wall() - begun;
    report
}

fn simulate(one: &One) -> anyhow::Result<Report> {
    let profile = one.profile();
    let settings = profile.settings(one.seed);
    let mut world = World::new(&settings);
    let mut observer = Observer::default();
    world.run_until(BOOT, "the cluster serves", |world| {
        let leads = |kind| world.leader(kind).is_some();
        leads(ServiceKind::Catalog) && leads(ServiceKind::Order)
    })?;
    let start = world.now();
    let mut schedule = Schedule::draw(profile, one.seed, one.duration);
    schedule.leave_out(&one.without);
    for (number, step) in schedule.steps.iter().enumerate() {
        world.note(format_args!("step {number}: {step}"));
    }
    let mut injector = Injector::new(&schedule, &settings, start);

    let frontends = (1..=settings.frontends).map(|id| Frontend {
        name: format!("frontend/{id}"),
        address: world.http(id),
    });
    let (recorder, shared) = (Recorder::default(), Arc::new(Shared::default()));
    let workload = Workload {
        frontends: frontends.collect(),
        tokens: Arc::new(Tokens::new()),
        seed: one.seed,
        ends: start + one.duration,
        calm: start + schedule.end(),
        waiting: profile.waiting(),
        recorder: recorder.clone(),
        shared: shared.clone(),
    };
    world.client("clients", workload.run());
    while !world.clients_are_done() {
        world.step()?;
        injector.step(&mut world);
        observer.step(&world, Some(&injector));
    }
    let end = world.now() + SETTLING;
    while world.now() < end && !is_settled(&world) {
        world.step()?;
        injector.step(&mut world);
        observer.step(&world, Some(&injector));
    }
    for name in world.names() {
        if world.probe(name).is_none() && !injector.lied().contains(&name) {
            observer
                .ends
                .push(format!("{name} does not serve at the end"));
        }
    }
    world.note("the end");

    let events = recorder.take();
    if let Some(path) = &one.trace {
        write_trace(path, &world, &events).with_context(|| path.display().to_string())?;
    }
    let (orders, stocks) = holdings(&world);
    let reigns = elections(&observer.observations);
    let seen = Seen {
        events,
        orders,
        stocks,
        faults: std::mem::take(&mut injector.events),
        observations: observer.observations,
        broken: shared.broken(),
        invariants: observer.invariants,
        ends: observer.ends,
    };
    let (checks, mut work) = verify(seen)?;
    work.elections = reigns;
    Ok(Report {
        seed: one.seed,
        profile: profile.to_string(),
        bug: one.bug.map(|bug| bug.to_string()),
        simulated: world.now(),
        wall: Duration::ZERO,
        work,
        faults: injector.counts,
        checks,
        digest: format!("{:016x}", world.trace().digest()),
    })
}

/// Whether all replicas serve and have got to the same place.
fn is_settled(world: &World) -> bool {
    let (mut orders, mut trades) = (Vec::new(), Vec::new());
    for name in world.names() {
        match world.probe(name) {
            Some(Probe::Order(order)) => orders.push(order.head().1),
            Some(Probe::Catalog(catalog)) => trades.push(catalog.outbox().end),
            Some(Probe::Other) => {}
            None => return false,
        }
    }
    let mut ends = orders.iter().chain(&trades);
    let first = ends.next();
    ends.all(|end| Some(end) == first)
}

/// Writes down what happened: the world's trace, then what clients did and were told.
fn write_trace(path: &Path, world: &World, events: &[ClientEvent]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for line in world.trace().lines() {
        writeln!(out, "{line}")?;
    }
    for event in events {
        writeln!(out, "{}", serde_json::to_string(event)?)?;
    }
    Ok(out.flush()?)
}
