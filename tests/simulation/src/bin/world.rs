//! Runs one seed of a small plan, which tests the world itself: `world SEED [SECONDS] [--trace]`.
//!
//! Four clients buy and sell while every second something else goes wrong; at the end all is mended,
//! and every acknowledged order is to be found once in every replica. Prints the digest of what
//! happened.

#[cfg(feature = "simulate")]
fn main() -> anyhow::Result<()> {
    plan::main()
}

#[cfg(not(feature = "simulate"))]
fn main() {}

#[cfg(feature = "simulate")]
mod plan {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::time::Duration;

    use anyhow::{Context as _, ensure};
    use bazaar_rpc::{OrderNumber, ServiceKind, ServiceName};
    use bazaar_simulation::http::Connection;
    use bazaar_simulation::{Fsync, Probe, Settings, Trace, World};
    use hyper::{Method, StatusCode};
    use rand::rngs::SmallRng;
    use rand::seq::IndexedRandom as _;
    use rand::{RngExt as _, SeedableRng};
    use tokio::time::{Instant, sleep, sleep_until, timeout};

    /// How long a client waits for an answer.
    const PATIENCE: Duration = Duration::from_secs(3);

    /// How long after the last fault the cluster may take to agree.
    const CONVERGENCE: Duration = Duration::from_secs(20);

    /// The order numbers that clients were told.
    type Acknowledged = Rc<RefCell<BTreeMap<u64, String>>>;

    pub(super) fn main() -> anyhow::Result<()> {
        let mut arguments = std::env::args().skip(1);
        let seed: u64 = arguments.next().context("which seed?")?.parse()?;
        let seconds: u64 = arguments.next().as_deref().unwrap_or("10").parse()?;
        let shows_trace = arguments.next().is_some();
        if let Ok(filter) = std::env::var("BAZAAR_LOG") {
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .without_time()
                .with_ansi(false)
                .init();
        }
        let outcome = World::isolated(seed, || {
            let mut world = World::new(&Settings::from_seed(seed));
            let outcome = run(&mut world, seed, Duration::from_secs(seconds));
            Ok((world.trace().lines(), world.trace().digest(), outcome))
        });
        let (lines, digest, outcome) = outcome?;
        let mut out = std::io::stdout().lock();
        if shows_trace {
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        let orders = outcome.with_context(|| format!("seed {seed}"))?;
        writeln!(out, "seed {seed} orders {orders} digest {digest:016x}")?;
        Ok(())
    }

    /// Returns how many orders were acknowledged.
    fn run(world: &mut World, seed: u64, time: Duration) -> anyhow::Result<usize> {
        let acknowledged = Acknowledged::default();
        let frontends = [world.http(1), world.http(2)];
        for client in 0..4 {
            let rng = SmallRng::seed_from_u64(seed * 100 + client);
            let trace = world.trace().clone();
            let work = trade(client, rng, frontends, time, acknowledged.clone(), trace);
            world.client(&format!("client-{client}"), work);
        }
        world.run_until(CONVERGENCE, "leaders", |world| {
            world.leader(ServiceKind::Order).is_some()
                && world.leader(ServiceKind::Catalog).is_some()
        })?;
        let mut rng = SmallRng::seed_from_u64(seed);
        while world.now() + Duration::from_secs(1) < time {
            fault(world, &mut rng)?;
            world.run_for(Duration::from_millis(rng.random_range(0..500)))?;
        }
        let end = time.max(world.now()) + PATIENCE + CONVERGENCE;
        while !(world.clients_are_done() && has_converged(world)) {
            ensure!(world.now() < end, "no convergence");
            // Who was stopping in good order may have ended only now.
            mend(world);
            world.step()?;
        }
        let acknowledged = acknowledged.borrow();
        check(world, &acknowledged)?;
        Ok(acknowledged.len())
    }

    /// One client: buys and sells, one order after the other.
    async fn trade(
        client: u64,
        mut rng: SmallRng,
        frontends: [SocketAddr; 2],
        time: Duration,
        acknowledged: Acknowledged,
        trace: Trace,
    ) {
        let end = Instant::now() + time;
        let mut connection = None;
        let mut number = 0;
        while Instant::now() < end {
            let frontend = *frontends.choose(&mut rng).expect("there are two");
            let mut open = match connection.take() {
                Some(open) => open,
                None => match timeout(PATIENCE, Connection::open(frontend)).await {
                    Ok(Ok(open)) => open,
                    Ok(Err(_)) | Err(_) => {
                        sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            number += 1;
            let key = format!("{client}-{number}");
            let side = if rng.random_bool(0.5) { "buy" } else { "sell" };
            let body = format!(r#"{{"name":"GameStart","quantity":1,"type":"{side}"}}"#);
            let sent = open.request(Method::POST, "/orders", Some(&key), body);
            match timeout(PATIENCE, sent).await {
                Ok(Ok((status, answer))) => {
                    let answer = String::from_utf8_lossy(&answer).into_owned();
                    trace.note_now(format_args!("{key} {side}: {status} {answer}"));
                    if status == StatusCode::OK {
                        let value: serde_json::Value =
                            serde_json::from_str(&answer).expect("it is JSON");
                        let number = value["data"]["transaction_number"].as_u64();
                        let number = number.expect("an order has a number");
                        let before = acknowledged.borrow_mut().insert(number, key);
                        assert_eq!(before, None, "order {number} was given twice");
                    }
                    if !open.is_closed() {
                        connection = Some(open);
                    }
                }
                Ok(Err(error)) => trace.note_now(format_args!("{key} {side}: {error}")),
                Err(_) => trace.note_now(format_args!("{key} {side}: no answer")),
            }
            let pause = Duration::from_millis(rng.random_range(1..30));
            sleep_until((Instant::now() + pause).min(end)).await;
        }
    }

    /// Lets something go wrong for a while.
    fn fault(world: &mut World, rng: &mut SmallRng) -> anyhow::Result<()> {
        let names: Vec<ServiceName> = world.names().collect();
        let victim = *names.choose(rng).expect("there are processes");
        let other = *names.choose(rng).expect("there are processes");
        let time = Duration::from_millis(rng.random_range(5..800));
        match rng.random_range(0..8) {
            0 => {
                world.kill(victim);
                world.run_for(time)?;
                world.start(victim);
            }
            1 => {
                world.cut_power(victim);
                world.run_for(time)?;
                world.start(victim);
            }
            2 => {
                world.pause(victim);
                world.run_for(time)?;
                world.resume(victim);
            }
            3 => {
                world.isolate(victim);
                world.run_for(time)?;
                world.mend_all();
            }
            4 if victim != other => {
                world.cut_one_way(victim, other);
                world.run_for(time)?;
                world.mend_all();
            }
            5 if victim != other => {
                world.lose(victim, other, 0.5);
                world.run_for(time)?;
                world.mend_all();
            }
            6 => {
                world.stop(victim);
                world.run_for(time)?;
                world.start(victim);
            }
            _ => {
                world.machine(victim).disk().set_fsync(Fsync::Fails);
                world.run_for(time)?;
                world.machine(victim).disk().set_fsync(Fsync::Works);
            }
        }
        mend(world);
        Ok(())
    }

    /// Has everything run.
    fn mend(world: &mut World) {
        let names: Vec<ServiceName> = world.names().collect();
        for name in names {
            world.start(name);
        }
    }

    /// Whether the replicas of each group are all there and equally far.
    fn has_converged(world: &World) -> bool {
        [ServiceKind::Catalog, ServiceKind::Order]
            .iter()
            .all(|kind| {
                let replicas = world.replicas(*kind);
                let is_even = replicas.windows(2).all(|two| {
                    two[0].last_applied == two[1].last_applied
                        && two[0].leadership == two[1].leadership
                });
                replicas.len() == 3 && is_even && replicas[0].leadership.leader.is_some()
            })
    }

    /// Every acknowledged order is in every replica, and the replicas are equal.
    fn check(world: &World, acknowledged: &BTreeMap<u64, String>) -> anyhow::Result<()> {
        let mut logs = Vec::new();
        for id in 1..=3 {
            let name = ServiceName::new(ServiceKind::Order, id);
            if let Some(Probe::Order(order)) = world.probe(name) {
                logs.push(order.orders(OrderNumber(0), usize::MAX)?);
            }
        }
        ensure!(logs.len() == 3, "an order replica is missing");
        ensure!(logs[0] == logs[1] && logs[1] == logs[2], "the logs differ");
        for (number, key) in acknowledged {
            let order = logs[0].iter().find(|order| order.number.0 == *number);
            ensure!(order.is_some(), "order {number} of {key} is lost");
        }
        for id in 1..=3 {
            let name = ServiceName::new(ServiceKind::Catalog, id);
            let Some(Probe::Catalog(catalog)) = world.probe(name) else {
                anyhow::bail!("{name} is missing");
            };
            for stocked in catalog.stocks() {
                let item = &stocked.item;
                ensure!(
                    stocked.initial + stocked.sold - stocked.bought == item.quantity.units(),
                    "{}: {stocked:?}",
                    item.name
                );
            }
        }
        Ok(())
    }
}
