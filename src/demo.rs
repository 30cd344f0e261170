//! `bazaar demo`: a cluster under load loses its order leader, and is then held to its promises.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bazaar_client::{Config as LoadConfig, Load, Probability, Report};
use bazaar_rpc::catalog::{CatalogClient, ListQuery, MAX_PAGE as MAX_ITEMS};
use bazaar_rpc::connect::{Directory, call, client_config, client_transport};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::orders::{MAX_PAGE as MAX_ORDERS, OrdersClient};
use bazaar_rpc::replica::Role;
use bazaar_rpc::{Item, Order, OrderNumber, ServiceKind, ServiceName};
use futures::future::try_join_all;
use tokio::signal::ctrl_c;

use crate::audit::Audit;
use crate::control::{self, ControlClient, Verb};
use crate::demo_report::{DemoReport, Failover};
use crate::observer::ClusterStatus;
use crate::throwaway::Throwaway;

/// How long each part of the load lasts.
const LOOKUPS: Duration = Duration::from_secs(2);
const TRADES: Duration = Duration::from_secs(4);
const FAILOVER: Duration = Duration::from_secs(8);

/// When, in the last part, the leader is killed, and how long it stays down.
const KILL_AFTER: Duration = Duration::from_secs(2);
const DOWN_FOR: Duration = Duration::from_secs(3);

/// Not measured at the beginning of each part.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long the returned replica may take to catch up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);

/// How often to look whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How to demonstrate.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// How many sessions drive the load, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,

    /// Makes the intended operations repeatable; random by default.
    #[arg(long)]
    seed: Option<u64>,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration; the exit code says whether every promise was kept.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    say("starting a cluster: a name server, a catalog, three order replicas, a frontend");
    let cluster = Throwaway::start(&[]).await?;
    let outcome = tokio::select! {
        outcome = demonstrate(&config, &cluster) => outcome,
        _ = ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    cluster.stop().await?;
    let report = outcome?;
    let text = if config.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        report.to_string()
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn demonstrate(config: &Config, cluster: &Throwaway) -> anyhow::Result<DemoReport> {
    let began = Instant::now();
    let control = control::connect(cluster.dir()).await?;
    let directory = control::directory(cluster.dir())?;
    let before = items(&directory).await?;

    say("looking items up, cached");
    let lookups = load(config, cluster, "lookups", 0.0, LOOKUPS)?;
    let lookups = Load::start(lookups).await?.ended().await?.judge().await?;
    say("trading");
    let trades = load(config, cluster, "trades", 1.0, TRADES)?;
    let trades = Load::start(trades).await?.ended().await?.judge().await?;
    say("looking items up and trading");
    let mixed = load(config, cluster, "failover", 0.5, FAILOVER)?;
    let (mixed, failover) = lose_leader(mixed, &control).await?;

    wait_for_equal_progress(&control).await?;
    say("reading the log of every replica");
    let mut audit = Audit::new(&before);
    let logs_equal = compare_logs(&control, &directory, |order| audit.read(order)).await?;
    let findings = audit.finish(&items(&directory).await?);
    Ok(DemoReport::new(
        [lookups, trades, mixed],
        failover,
        findings,
        logs_equal,
        began.elapsed(),
    ))
}

/// The load of one part. Nobody else trades, so the judge may look for orders that nobody made.
fn load(
    config: &Config,
    cluster: &Throwaway,
    part: &str,
    trade_probability: f64,
    duration: Duration,
) -> anyhow::Result<LoadConfig> {
    Ok(LoadConfig {
        urls: cluster.urls().to_vec(),
        connections: config.connections,
        seed: config.seed,
        trade_probability: Probability::new(trade_probability)?,
        duration,
        warmup: WARM_UP,
        exclusive: true,
        log: Some(cluster.dir().join(format!("{part}.ndjson"))),
        ..LoadConfig::default()
    })
}

/// Runs `load`, kills the order leader in the midst of it, and starts it again.
async fn lose_leader(
    load: LoadConfig,
    control: &ControlClient,
) -> anyhow::Result<(Report, Failover)> {
    let load = Load::start(load).await?;
    let handle = load.handle();
    let faults = async {
        handle
            .until(|progress| progress.elapsed >= KILL_AFTER, FAILOVER)
            .await?;
        let leader = order_leader(control).await?;
        say(format_args!("killing {leader}, the order leader"));
        control::command(control, Verb::Kill, leader).await?;
        handle
            .until(
                |progress| progress.elapsed >= KILL_AFTER + DOWN_FOR,
                FAILOVER,
            )
            .await?;
        let successor = order_leader(control).await?;
        say(format_args!(
            "{successor} leads now; starting {leader} again"
        ));
        control::command(control, Verb::Start, leader).await?;
        anyhow::Ok(Failover {
            killed: leader,
            successor,
        })
    };
    let (ended, failover) = tokio::try_join!(load.ended(), faults)?;
    say("reading every acknowledged order back");
    Ok((ended.judge().await?, failover))
}

async fn status(control: &ControlClient) -> anyhow::Result<ClusterStatus> {
    call(ANSWER_LIMIT, |context| control.status(context))
        .await
        .context("the supervisor did not answer")
}

async fn order_leader(control: &ControlClient) -> anyhow::Result<ServiceName> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        let processes = status(control).await?.processes.into_iter();
        let leader = processes
            .filter(|process| process.name.kind == ServiceKind::Order)
            .filter(|process| process.role == Some(Role::Leader))
            .max_by_key(|process| process.term);
        match leader {
            Some(leader) => return Ok(leader.name),
            None if Instant::now() > deadline => bail!("the order group has no leader"),
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// Waits until every order replica has applied as much as every other.
async fn wait_for_equal_progress(control: &ControlClient) -> anyhow::Result<()> {
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    loop {
        let status = status(control).await?;
        let replicas = status
            .processes
            .iter()
            .filter(|it| it.name.kind == ServiceKind::Order);
        let mut progress: Vec<_> = replicas.map(|it| it.last_applied).collect();
        progress.dedup();
        if matches!(progress[..], [Some(_)]) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the order replicas are apart: {progress:?}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Every item, as the catalog has it.
async fn items(directory: &Directory) -> anyhow::Result<Vec<Item>> {
    let name = ServiceName::new(ServiceKind::Catalog, 1);
    let stream = directory.connect(name, Protocol::Catalog).await?;
    let catalog = CatalogClient::new(client_config(), client_transport(stream)).spawn();
    let limit = u32::try_from(MAX_ITEMS)?;
    let mut items: Vec<Item> = Vec::new();
    loop {
        let after = items.last().map(|item| item.number);
        let query = ListQuery {
            after,
            limit,
            ..ListQuery::default()
        };
        let page = call(ANSWER_LIMIT, |context| catalog.list(context, query)).await??;
        if page.is_empty() {
            return Ok(items);
        }
        items.extend(page);
    }
}

/// Reads the logs of all order replicas, page by page; returns whether they are equal.
async fn compare_logs(
    control: &ControlClient,
    directory: &Directory,
    mut read: impl FnMut(&Order),
) -> anyhow::Result<bool> {
    let processes = status(control).await?.processes.into_iter();
    let names = processes.map(|process| process.name);
    let replicas = names
        .filter(|name| name.kind == ServiceKind::Order)
        .map(async |name| {
            let stream = directory.connect(name, Protocol::Orders).await?;
            anyhow::Ok(OrdersClient::new(client_config(), client_transport(stream)).spawn())
        });
    let replicas = try_join_all(replicas).await?;
    let limit = u32::try_from(MAX_ORDERS)?;
    let mut from = OrderNumber(0);
    loop {
        let page = async |replica: &OrdersClient| {
            anyhow::Ok(call(ANSWER_LIMIT, |context| replica.export(context, from, limit)).await??)
        };
        let pages = try_join_all(replicas.iter().map(page)).await?;
        let (first, others) = pages.split_first().context("there are no order replicas")?;
        if others.iter().any(|page| page != first) {
            return Ok(false);
        }
        first.iter().for_each(&mut read);
        match first.last() {
            Some(last) => from = last.number.next(),
            None => return Ok(true),
        }
    }
}

/// Tells whoever watches what happens.
fn say(what: impl Display) {
    eprintln!("{what} …");
}
