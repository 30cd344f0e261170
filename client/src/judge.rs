//! The judge: holds what this client was told against what Bazaar says afterwards.
//!
//! 1. A trade of unknown outcome is sent again under its key, until it is known: recorded, once, or
//!    not made.
//! 2. Acknowledged trades that took several attempts, and the last one of each session, are sent
//!    again too: they must be answered with the number they have.
//! 3. Every acknowledged order is read back and compared.
//! 4. Where nobody else trades: every number in between must be one of ours, and each item's stock
//!    must be what it was, and what our orders made of it.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;
use bazaar_rpc::OrderNumber;
use bazaar_rpc::http::OrderView;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::api::{Api, Outcome, PAGE};
use crate::history::History;
use crate::judgement::{
    Difference, Doubled, Judgement, MAX_SAMPLES, ReadBack, Unbalanced, Undecided,
};
use crate::load::{Ended, World};
use crate::log::{Acknowledged, Written};
use crate::session::Left;

/// The most connections that orders are read back by.
const MAX_READERS: usize = 4;

/// The most numbers that were not acknowledged to this client and are looked at all the same.
const MAX_FOREIGN: usize = 100_000;

/// How many numbers beyond the highest acknowledged one are looked at. Numbers are consecutive, so
/// the next one would do; the others are for a system that gets even that wrong.
const BEYOND: u64 = 16;

/// Judges `ended`.
pub(crate) async fn judge(ended: Ended) -> anyhow::Result<Judgement> {
    let Ended {
        world,
        left,
        log,
        history,
        ..
    } = ended;
    let mut judgement = Judgement::default();
    if world.config.no_verify {
        judgement.undecided.unknown = left.iter().map(|left| left.undecided.len() as u64).sum();
        return Ok(finish(judgement, &world, &log.close().await?));
    }

    let queue = log.queue();
    let mut tasks: JoinSet<anyhow::Result<_>> = JoinSet::new();
    for session in left {
        tasks.spawn(settle(session, queue.clone()));
    }
    drop(queue);
    let mut apis = Vec::new();
    let mut read_back = ReadBack::default();
    while let Some(settled) = tasks.join_next().await {
        let settled = settled.context("the judge panicked")??;
        judgement.undecided.recorded += settled.undecided.recorded;
        judgement.undecided.not_made += settled.undecided.not_made;
        judgement.undecided.unknown += settled.undecided.unknown;
        read_back.repeated += settled.repeated;
        settled
            .doubled
            .into_iter()
            .for_each(|doubled| judgement.add_doubled(doubled));
        apis.push(settled.api);
    }

    let path = log.path.clone();
    let written = log.close().await?;
    apis.truncate(MAX_READERS);
    read_all(apis, path, &mut read_back).await?;
    if world.config.exclusive {
        let recorder = history.as_ref().map(History::recorder);
        let mut api = Api::new(world.config.urls.clone().into(), 0, &world.config, recorder);
        check_foreign(&mut api, &written, &mut judgement, &mut read_back).await?;
        check_stock(&mut api, &world, &written, &mut read_back).await?;
    }
    judgement.read_back = Some(read_back);
    Ok(finish(judgement, &world, &written))
}

/// Adds what was found while the load ran.
fn finish(mut judgement: Judgement, world: &World, written: &Written) -> Judgement {
    let (shared, samples) = &written.doubled;
    judgement.doubled += shared;
    judgement.doubled_samples.extend(samples.iter().cloned());
    judgement.doubled_samples.truncate(MAX_SAMPLES);
    judgement.acknowledged = written.count;
    judgement.stale = world.stale.count();
    judgement.stale_samples = world.stale.samples();
    judgement.unversioned = world.counters.unversioned.load(Relaxed);
    judgement
}

/// What came of sending one session's trades again.
struct Settled {
    api: Api,
    undecided: Undecided,
    repeated: u64,
    doubled: Vec<Doubled>,
}

/// Sends a session's open and repeatable trades again.
async fn settle(left: Left, log: mpsc::Sender<Acknowledged>) -> anyhow::Result<Settled> {
    let Left {
        mut api,
        mut repeatable,
        undecided,
    } = left;
    let mut settled = Undecided::default();
    for intent in undecided {
        match api.trade(&intent).await {
            Outcome::Done(done) => {
                settled.recorded += 1;
                let order = Acknowledged::new(done.number, intent);
                repeatable.push(order.clone());
                log.send(order)
                    .await
                    .context("the log can no longer be written")?;
            }
            Outcome::Refused(_) | Outcome::Rejected(_) => settled.not_made += 1,
            Outcome::Unknown(_) | Outcome::Unsent(_) => settled.unknown += 1,
        }
    }
    let mut doubled = Vec::new();
    let mut repeated = 0;
    for order in repeatable {
        let second = match api.trade(&order.intent()).await {
            Outcome::Done(done) => Some(done.number),
            Outcome::Refused(_) | Outcome::Rejected(_) => None,
            Outcome::Unknown(why) | Outcome::Unsent(why) => {
                anyhow::bail!("order {} could not be sent again: {why}", order.number)
            }
        };
        repeated += 1;
        if second != Some(order.number) {
            doubled.push(Doubled::TwoNumbers {
                key: order.key,
                first: order.number,
                second,
            });
        }
    }
    Ok(Settled {
        api,
        undecided: settled,
        repeated,
        doubled,
    })
}

/// Reads every order in the log back, page by page, over all of `apis`.
async fn read_all(apis: Vec<Api>, log: PathBuf, read_back: &mut ReadBack) -> anyhow::Result<()> {
    let (sender, pages) = mpsc::channel(MAX_READERS);
    let reader = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut orders = Acknowledged::read(&log)?;
        loop {
            let page = orders.by_ref().take(PAGE).collect::<io::Result<Vec<_>>>()?;
            // Whoever reads them may have failed, and says so.
            if page.is_empty() || sender.blocking_send(page).is_err() {
                return Ok(());
            }
        }
    });
    let pages = Arc::new(Mutex::new(pages));
    let mut tasks = JoinSet::new();
    for mut api in apis {
        let pages = Arc::clone(&pages);
        tasks.spawn(async move {
            let mut found = ReadBack::default();
            loop {
                let page = pages.lock().await.recv().await;
                let Some(page) = page else {
                    return anyhow::Ok(found);
                };
                compare_page(&mut api, page, &mut found).await?;
            }
        });
    }
    drop(pages);
    while let Some(found) = tasks.join_next().await {
        let found = found.context("the judge panicked")??;
        read_back.matching += found.matching;
        read_back.lost += found.lost;
        read_back.wrong += found.wrong;
        read_back.differences.extend(found.differences);
        read_back.differences.truncate(MAX_SAMPLES);
    }
    reader
        .await
        .context("the log's reader panicked")?
        .context("cannot read the log")
}

async fn compare_page(
    api: &mut Api,
    page: Vec<Acknowledged>,
    found: &mut ReadBack,
) -> anyhow::Result<()> {
    let numbers: Vec<_> = page.iter().map(|order| order.number).collect();
    let views = api
        .orders(&numbers)
        .await
        .context("cannot read orders back")?;
    let views: HashMap<_, _> = views.into_iter().map(|view| (view.number, view)).collect();
    for acknowledged in page {
        let number = acknowledged.number;
        let view = match views.get(&number) {
            Some(view) => Some(view.clone()),
            // Nothing is called lost before it was asked for by its own number.
            None => api
                .order(number)
                .await
                .with_context(|| format!("cannot read order {number}"))?
                .map(|standing| standing.order),
        };
        match &view {
            Some(view) if matches(&acknowledged, view) => {
                found.matching += 1;
                continue;
            }
            Some(_) => found.wrong += 1,
            None => found.lost += 1,
        }
        if found.differences.len() < MAX_SAMPLES {
            found.differences.push(Difference {
                acknowledged,
                found: view,
            });
        }
    }
    Ok(())
}

fn matches(acknowledged: &Acknowledged, view: &OrderView) -> bool {
    acknowledged.number == view.number
        && acknowledged.name == view.name
        && acknowledged.side == view.side
        && acknowledged.quantity == view.quantity
}

/// Looks for orders that were not acknowledged to this client, between its own and behind them.
async fn check_foreign(
    api: &mut Api,
    written: &Written,
    judgement: &mut Judgement,
    read_back: &mut ReadBack,
) -> anyhow::Result<()> {
    let Some((least, greatest)) = written.numbers.bounds() else {
        return Ok(());
    };
    let foreign: Vec<_> = (least.0..=greatest.0.saturating_add(BEYOND))
        .map(OrderNumber)
        .filter(|number| !written.numbers.contains(*number))
        .take(MAX_FOREIGN)
        .collect();
    for page in foreign.chunks(PAGE) {
        let views = api.orders(page).await.context("cannot read orders back")?;
        let inside = page.iter().filter(|number| **number < greatest).count();
        let strays = views.iter().filter(|view| view.number < greatest).count();
        read_back.holes += inside.saturating_sub(strays) as u64;
        for view in views {
            judgement.add_doubled(Doubled::Stray {
                number: view.number,
            });
        }
    }
    Ok(())
}

/// Compares each item's stock with what its orders made of it.
async fn check_stock(
    api: &mut Api,
    world: &World,
    written: &Written,
    read_back: &mut ReadBack,
) -> anyhow::Result<()> {
    for item in &world.items {
        let now = api.lookup(&item.name, &item.lookup).await;
        let found = now
            .with_context(|| format!("cannot look `{}` up", item.name))?
            .quantity
            .units();
        let net = written.net.get(&item.name).copied().unwrap_or_default();
        let expected = i128::from(item.before.quantity.units()) + net;
        if i128::from(found) != expected {
            read_back.unbalanced.push(Unbalanced {
                name: item.name.clone(),
                expected,
                found,
            });
        }
    }
    Ok(())
}
