//! A torture of one cluster, from its beginning to its report.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bazaar_client::{Config as LoadConfig, Load, Probability};
use bazaar_history::{Evidence, clock, suite};
use bazaar_rpc::{ServiceKind, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::torture::arena::{self, Arena};
use crate::torture::clients::{self, Account, Clients, Recorder};
use crate::torture::equipment::Equipment;
use crate::torture::fault::Fault;
use crate::torture::journal::Journal;
use crate::torture::report::{Found, Report};
use crate::torture::schedule::Planned;
use crate::torture::strike::World;
use crate::torture::watcher::{Forgetful, Watcher};
use crate::torture::{Config, director, evidence, page, schedule};

/// Longer than any torture: the load ends when it is told to.
const FOR_EVER: Duration = Duration::from_secs(100 * 24 * 3600);

/// How probably an item that was looked up is then traded.
const TRADE_PROBABILITY: f64 = 0.6;

/// How probably an acknowledged order is then looked up.
const QUERY_PROBABILITY: f64 = 0.05;

/// How long the cluster may take to be whole, and its replicas to be equal, after the last fault.
const WHOLE_LIMIT: Duration = Duration::from_secs(30);

/// How long the load goes on after the last fault: long enough to see whether it recovers.
const LEAD_OUT: Duration = Duration::from_secs(12);

/// Runs a torture with one cluster, and writes its report.
///
/// # Errors
/// When it could not be run to its end: that says nothing about the cluster.
pub(crate) async fn run(
    config: &Config,
    seed: u64,
    faults: &BTreeSet<Fault>,
    required: BTreeSet<Fault>,
) -> anyhow::Result<Report> {
    let schedule = if config.each {
        schedule::each(seed, faults, config.each_for)
    } else {
        schedule::draw(seed, faults, config.duration)
    };
    ensure!(!schedule.is_empty(), "there is no time for any fault");
    announce(config, seed, &schedule);
    let scratch = Scratch::new(config.keep.as_deref())?;
    let outcome = torture(config, seed, schedule, (faults, required), scratch.path()).await;
    let mut report = match outcome {
        Ok(report) => report,
        Err(failure) => {
            let kept = scratch.keep();
            return Err(failure.context(format!("everything is kept in {}", kept.display())));
        }
    };
    if !report.failures.is_empty() || config.keep.is_some() {
        report.kept = Some(scratch.keep());
    }
    if let Some(dir) = &config.report {
        write_report(&report, dir)?;
    }
    Ok(report)
}

/// Says what is going to happen.
fn announce(config: &Config, seed: u64, schedule: &[Planned]) {
    eprintln!("{}", config.command_line(seed));
    for planned in schedule {
        let (at, lasts) = (planned.at.as_secs_f64(), planned.lasts.as_secs_f64());
        eprintln!("{at:7.1}s  {} for {lasts:.1}s is planned", planned.fault);
    }
}

/// The directory under which a torture keeps what it writes.
enum Scratch {
    /// Removed when it is dropped.
    Temporary(TempDir),
    /// Asked for.
    Kept(PathBuf),
}

impl Scratch {
    fn new(kept: Option<&Path>) -> anyhow::Result<Self> {
        let Some(kept) = kept else {
            let dir = tempfile::Builder::new()
                .prefix("bazaar-torture-")
                .tempdir()?;
            return Ok(Self::Temporary(dir));
        };
        let kept = std::path::absolute(kept)?;
        if let Some(parent) = kept.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::create_dir(&kept).with_context(|| format!("--keep {}", kept.display()))?;
        Ok(Self::Kept(kept))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Temporary(dir) => dir.keep(),
            Self::Kept(dir) => dir,
        }
    }
}

async fn torture(
    config: &Config,
    seed: u64,
    schedule: Vec<Planned>,
    (faults, required): (&BTreeSet<Fault>, BTreeSet<Fault>),
    dir: &Path,
) -> anyhow::Result<Report> {
    let started = Timestamp::now();
    let names = arena::processes(config);
    let equipment = Equipment::set_up(faults, &names, dir, seed);
    for fault in faults {
        if let Err(why) = equipment.permits(*fault) {
            eprintln!("{fault} will be skipped: {why}");
        }
    }
    eprintln!("starting a cluster: {} processes …", names.len());
    let arena = Arena::start(config, dir, equipment.placements(&names)?).await?;

    let histories = dir.join("histories");
    let cluster = arena.directory().cluster().to_string();
    let frontend = arena.urls().first().context("there is no frontend")?;
    let items = clients::items(frontend).await?;
    let account = Account::open(frontend).await?;
    let recorder = Recorder::create(&histories.join("clients.ndjson"), cluster.clone())?;
    let clients = Clients::new(arena.urls(), items, account, recorder);
    let forgetful = Forgetful::default();
    let mut watcher = Watcher::create(
        &histories.join("consensus.ndjson"),
        cluster.clone(),
        forgetful.clone(),
    )?;
    let load = Load::start(load(config, seed, &arena, &histories)?).await?;
    let handle = load.handle();
    let world = Arc::new(World {
        journal: Journal::create(&histories.join("faults.ndjson"), cluster)?,
        arena,
        clients,
        equipment,
        forgetful,
        dir: dir.into(),
    });

    let (end, ended) = watch::channel(false);
    let faults_and_after = async {
        if config.each {
            director::one_by_one(Arc::clone(&world), schedule.clone()).await?;
        } else {
            director::overlapping(Arc::clone(&world), schedule.clone()).await?;
        }
        let not_whole = recover(&world).await?;
        tokio::time::sleep(LEAD_OUT).await;
        handle.stop();
        end.send_replace(true);
        anyhow::Ok(not_whole)
    };
    let changes = clients::changes(&world.clients, seed, &ended);
    let (ended, mut not_whole) = tokio::select! {
        all = async { tokio::join!(load.ended(), faults_and_after, changes) } => {
            all.2?;
            (all.0, all.1?)
        }
        seen = watcher.watch(&world.arena) => return Err(seen.err().context("the watch ended")?),
        () = world.clients.account.keep(&world.clients.urls) => unreachable!("it is kept for ever"),
    };
    let finished = clock::now();
    world.journal.say("reading every acknowledged order back …");
    let client_failures = match ended {
        Ok(ended) => match ended.judge().await {
            Ok(report) => report.failures(),
            Err(failure) => vec![format!("{failure:#}")],
        },
        Err(failure) => vec![format!("{failure:#}")],
    };
    world.clients.recorder.finish()?;
    watcher.finish()?;
    if world.arena.converged(WHOLE_LIMIT).await?.is_none() {
        not_whole.push(format!(
            "the replicas are not equal {WHOLE_LIMIT:?} after the load"
        ));
    }
    world.journal.say("reading what every replica holds …");
    evidence::export_logs(&world.arena, &histories).await?;

    let World {
        arena,
        journal,
        equipment,
        ..
    } = Arc::into_inner(world).context("a fault has not ended")?;
    let catalogs = arena.members(ServiceKind::Catalog).into_iter();
    let catalogs: Vec<_> = catalogs.map(|name| (name, arena.data_dir(name))).collect();
    arena.stop().await?;
    evidence::export_stocks(&catalogs, &histories)?;
    drop(equipment);
    let began = journal.began();
    journal.say("checking …");
    let records = journal.finish()?;
    let (evidence, say) = check(&histories).await?;
    let found = Found {
        records,
        required,
        began,
        ended: finished,
        client_failures,
        not_whole,
    };
    Ok(Report::new(
        config,
        seed,
        started,
        (schedule, faults),
        found,
        &evidence,
        &say,
    ))
}

/// The load: nothing of it is so fast that a history of an hour cannot be checked.
fn load(config: &Config, seed: u64, arena: &Arena, dir: &Path) -> anyhow::Result<LoadConfig> {
    Ok(LoadConfig {
        urls: arena.urls().to_vec(),
        connections: config.connections,
        rate: Some(config.rate),
        duration: FOR_EVER,
        seed: Some(seed),
        trade_probability: Probability::new(TRADE_PROBABILITY)?,
        query_probability: Probability::new(QUERY_PROBABILITY)?,
        log: Some(dir.with_file_name("acknowledged.ndjson")),
        history: Some(dir.join("load.ndjson")),
        ..LoadConfig::default()
    })
}

/// Ends whatever may still be wrong, and waits until the cluster is whole; returns what is not.
async fn recover(world: &World) -> anyhow::Result<Vec<String>> {
    world.journal.say("the faults are over …");
    if let Some(network) = world.equipment.network() {
        network.heal_all()?;
    }
    match world.arena.whole(WHOLE_LIMIT).await? {
        Some(took) => {
            world.journal.say(format_args!("whole after {took:.1?}"));
            Ok(Vec::new())
        }
        None => {
            let status = world.arena.status().await?;
            let unwell = status.processes.iter().map(|process| {
                let (name, state) = (process.name, process.state);
                format!("{name}: {state:?}, lag {:?}", process.lag)
            });
            let unwell: Vec<_> = unwell.collect();
            let what = format!("not whole within {WHOLE_LIMIT:?}: {}", unwell.join("; "));
            Ok(vec![what])
        }
    }
}

/// Runs all checkers over the histories in `dir`.
async fn check(dir: &Path) -> anyhow::Result<(Evidence, suite::Report)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        files.push(entry?.path());
    }
    files.sort();
    let checked = tokio::task::spawn_blocking(move || {
        let evidence = Evidence::read(&files)?;
        // Every client has a history, so an order of somebody else is an order too many.
        let options = suite::Options {
            is_complete: true,
            ..suite::Options::default()
        };
        let report = suite::check(&evidence, &options);
        anyhow::Ok((evidence, report))
    });
    checked.await.context("the checkers panicked")?
}

/// Writes `report` into `dir`, which is made where it is missing.
pub(crate) fn write_report(report: &Report, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    for (name, content) in [
        ("report.json", json),
        ("report.html", page::render(report).into()),
    ] {
        let path = dir.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bazaar_history::{
        Answer, Call, ClientEvent, End, Event, OrderRecord, OrdersLine, Origin, TradeRecord, Writer,
    };
    use bazaar_rpc::{
        ItemName, ItemNumber, OrderNumber, Quantity, RequestId, Side, TradeSequence, Version,
    };
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    /// Histories of one client with one acknowledged trade, and of three replicas, of which
    /// `forgetful` have lost it.
    fn histories(forgetful: &[u64]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let item = ItemName::new("GameStart").unwrap();
        let quantity = Quantity::new(3).unwrap();
        let origin = Origin {
            source: "test".into(),
            cluster: None,
            clock: Some(Origin::SIMULATED.into()),
        };
        let mut client = Writer::create(&dir.path().join("client.ndjson"), &origin).unwrap();
        let call = Call::Trade {
            item: item.clone(),
            side: Side::Buy,
            quantity,
            key: "k".into(),
            user: None,
        };
        let frontend = String::from("127.0.0.1:8080");
        let answer = Answer::Traded {
            number: OrderNumber(0),
            version: Some(Version(2)),
            replayed: false,
        };
        let events = [
            (
                1,
                Event::Invoke {
                    frontend: frontend.clone(),
                    call,
                },
            ),
            (2, Event::Ok { frontend, answer }),
        ];
        for (at, event) in events {
            client
                .write(&ClientEvent {
                    at,
                    process: 0,
                    op: 1,
                    event,
                })
                .unwrap();
        }
        client.finish().unwrap();
        for id in 1..=3 {
            let origin = Origin::timeless(format!("order/{id}"), None);
            let file = dir.path().join(format!("order-{id}.ndjson"));
            let mut log = Writer::create(&file, &origin).unwrap();
            let has_it = !forgetful.contains(&id);
            if has_it {
                let trade = TradeRecord {
                    sequence: TradeSequence(0),
                    request: RequestId::from_key(None, "k"),
                    item: item.clone(),
                    item_number: ItemNumber(1),
                    side: Side::Buy,
                    quantity,
                    version: Version(2),
                    amends: None,
                };
                let number = OrderNumber(0);
                log.write(&OrdersLine::Order(OrderRecord { number, trade }))
                    .unwrap();
            }
            let applied = TradeSequence(u64::from(has_it));
            log.write(&OrdersLine::End(End { applied })).unwrap();
            log.finish().unwrap();
        }
        dir
    }

    /// The verdict on a check, and whether the report has it among its failures.
    async fn verdict(histories: &TempDir, check_name: &str) -> (&'static str, bool) {
        let (evidence, say) = check(histories.path()).await.unwrap();
        let config = Cli::parse_from(["torture"]).config;
        let found = Found {
            records: Vec::new(),
            required: BTreeSet::new(),
            began: 0,
            ended: 10,
            client_failures: Vec::new(),
            not_whole: Vec::new(),
        };
        let plan = (Vec::new(), &BTreeSet::new());
        let report = Report::new(&config, 1, Timestamp(0), plan, found, &evidence, &say);
        let judged = report
            .verdicts
            .iter()
            .find(|judged| judged.check == check_name);
        let is_failure = report
            .failures
            .iter()
            .any(|line| line.starts_with(check_name));
        (judged.unwrap().verdict, is_failure)
    }

    #[tokio::test]
    async fn a_required_fault_that_was_not_injected_raises_the_alarm() {
        let histories = histories(&[]);
        let (evidence, say) = check(histories.path()).await.unwrap();
        let kill = BTreeSet::from([Fault::Kill]);
        let failures = |required: BTreeSet<Fault>| {
            let found = Found {
                records: Vec::new(),
                required,
                began: 0,
                ended: 10,
                client_failures: Vec::new(),
                not_whole: Vec::new(),
            };
            let config = Cli::parse_from(["torture"]).config;
            let plan = (Vec::new(), &kill);
            let report = Report::new(&config, 1, Timestamp(0), plan, found, &evidence, &say);
            report.failures.join("\n")
        };
        assert!(!failures(BTreeSet::new()).contains("kill"));
        assert!(failures(kill.clone()).contains("kill: required"));
    }

    #[tokio::test]
    async fn an_acknowledged_order_that_a_replica_has_lost_raises_the_alarm() {
        assert_eq!(verdict(&histories(&[]), "set").await, ("ok", false));
        assert_eq!(verdict(&histories(&[2]), "set").await, ("violation", true));
        assert_eq!(
            verdict(&histories(&[1, 2, 3]), "set").await,
            ("violation", true)
        );
    }

    #[tokio::test]
    async fn what_could_not_be_checked_is_no_success() {
        assert_eq!(verdict(&histories(&[]), "bank").await, ("not run", true));
        assert_eq!(
            verdict(&histories(&[]), "liveness").await,
            ("not run", true)
        );
    }
}
