//! A running load: sessions, their pace, and what is counted and watched meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bazaar_rpc::http::Stock;
use bazaar_rpc::{ItemName, Timestamp};
use tokio::task::JoinSet;

use crate::api::{self, Api};
use crate::connection::Call;
use crate::counters::Counters;
use crate::gap::GapMeter;
use crate::history::History;
use crate::log::Log;
use crate::meter::Meter;
use crate::pace::Pace;
use crate::plan::Mix;
use crate::session::{Left, Session};
use crate::watch::{StaleAnswers, Watched};
use crate::{BaseUrl, Config, Progress, Report};

/// The shop whose items are traded where none are named.
const SHOP: &str = "stocks";

/// The most items that are traded.
const MAX_ITEMS: usize = 10_000;

/// How often [`Handle::until`] looks.
const POLL: Duration = Duration::from_millis(2);

/// An item that is traded.
#[derive(Debug)]
pub(crate) struct TradedItem {
    pub(crate) name: ItemName,
    /// The request that looks it up.
    pub(crate) lookup: Call,
    pub(crate) watched: Watched,
    /// As it was before the load.
    pub(crate) before: Stock,
}

/// What all sessions of a load share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    /// Tells this run's idempotency keys from every other's. Not of the seed: the same seed makes
    /// the same trades again, and they must be other orders.
    pub(crate) run: u64,
    pub(crate) seed: u64,
    pub(crate) started: Timestamp,
    pub(crate) items: Vec<TradedItem>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) meter: Meter,
    pub(crate) gap: GapMeter,
    pub(crate) counters: Counters,
    pub(crate) stale: StaleAnswers,
}

impl World {
    pub(crate) fn mix(&self) -> Mix {
        Mix {
            items: self.items.len(),
            trade_probability: self.config.trade_probability.get(),
            query_probability: self.config.query_probability.get(),
            max_quantity: self.config.max_quantity,
        }
    }
}

/// A running load. Dropped, it ends at once, unjudged.
#[derive(Debug)]
pub struct Load {
    handle: Handle,
    sessions: JoinSet<anyhow::Result<Left>>,
    log: Log,
    history: Option<History>,
    _stop: StopOnDrop,
}

/// Stops the pace, whose thread would otherwise go on to the end of its schedule.
#[derive(Debug)]
struct StopOnDrop(Arc<Pace>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Watches a load and ends it. Clones belong to the same load.
#[derive(Clone, Debug)]
pub struct Handle(Arc<World>);

/// A load that has ended, to be judged.
#[derive(Debug)]
pub struct Ended {
    pub(crate) world: Arc<World>,
    pub(crate) left: Vec<Left>,
    pub(crate) log: Log,
    pub(crate) history: Option<History>,
    /// How long sessions ran, the warm-up included.
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Finds the items and starts the sessions. They run until the load has lasted as long as
    /// `config` says, or until [`Handle::stop`].
    ///
    /// # Errors
    /// When no frontend answers within `config.retry_for`, an item does not exist, or the log or the
    /// history cannot be created.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let targets: Arc<[BaseUrl]> = config.urls.clone().into();
        let run = rand::random();
        let history = match &config.history {
            Some(path) => Some(History::create(path, run)?),
            None => None,
        };
        let session = |number| {
            let recorder = history.as_ref().map(History::recorder);
            Api::new(Arc::clone(&targets), number, &config, recorder)
        };
        let items = find_items(&mut session(0), &config).await?;

        let default_log = || PathBuf::from(format!("var/client/orders-{run:016x}.ndjson"));
        let log = Log::create(config.log.clone().unwrap_or_else(default_log))?;
        let sessions: Vec<_> = (0..config.connections).map(session).collect();
        let pace = Pace::start(&config);
        let world = Arc::new(World {
            run,
            seed: config.seed.unwrap_or_else(rand::random),
            started: Timestamp::now(),
            items,
            meter: Meter::new(pace.began() + config.warmup),
            gap: GapMeter::new(pace.began()),
            pace,
            counters: Counters::default(),
            stale: StaleAnswers::default(),
            config,
        });
        let sessions = (0..)
            .zip(sessions)
            .map(|(number, api)| Session::new(Arc::clone(&world), log.queue(), number, api).run());
        Ok(Self {
            sessions: sessions.collect(),
            _stop: StopOnDrop(Arc::clone(&world.pace)),
            handle: Handle(world),
            log,
            history,
        })
    }

    /// A handle to watch and end it by.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until every session has ended.
    ///
    /// # Errors
    /// When a session could not go on; the others are ended then.
    pub async fn ended(mut self) -> anyhow::Result<Ended> {
        let world = Arc::clone(&self.handle.0);
        let mut left = Vec::new();
        while let Some(session) = self.sessions.join_next().await {
            match session.context("a session panicked")? {
                Ok(session) => left.push(session),
                Err(error) => {
                    self.handle.stop();
                    self.sessions.shutdown().await;
                    // Where a writer has failed, it knows better why.
                    let Self {
                        log,
                        history,
                        sessions,
                        ..
                    } = self;
                    drop((sessions, left));
                    log.close().await?;
                    if let Some(history) = history {
                        history.close().await?;
                    }
                    return Err(error);
                }
            }
        }
        let now = Instant::now();
        world.gap.close(now);
        Ok(Ended {
            elapsed: now - world.pace.began(),
            world,
            left,
            log: self.log,
            history: self.history,
        })
    }
}

impl Handle {
    /// How the load stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            elapsed: self.0.pace.began().elapsed(),
            totals: self.0.counters.totals(0),
            stale: self.0.stale.count(),
            longest_gap: self.0.gap.longest(),
        }
    }

    /// Waits until the load stands as `is_enough` asks.
    ///
    /// # Errors
    /// When it does not `within` that time.
    pub async fn until(
        &self,
        is_enough: impl Fn(&Progress) -> bool,
        within: Duration,
    ) -> anyhow::Result<Progress> {
        let deadline = Instant::now() + within;
        loop {
            let progress = self.progress();
            if is_enough(&progress) {
                return Ok(progress);
            }
            if Instant::now() >= deadline {
                bail!("the load did not come far enough within {within:?}: {progress:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Forgets the longest gap: from now on it is the longest of those that end later.
    pub fn forget_gap(&self) {
        self.0.gap.forget();
    }

    /// Ends the load: sessions finish the request they are at.
    pub fn stop(&self) {
        self.0.pace.stop();
    }
}

impl Ended {
    /// Judges what the load was told, as far as `config.no_verify` does not forbid it, and reports.
    ///
    /// # Errors
    /// When orders cannot be read back because nobody answers, the log cannot be written or read, or
    /// the history cannot be written.
    pub async fn judge(self) -> anyhow::Result<Report> {
        let path = self.log.path.clone();
        let (world, elapsed) = (Arc::clone(&self.world), self.elapsed);
        let history = self.history.clone();
        let judgement = crate::judge::judge(self).await;
        if let Some(history) = history {
            history.close().await?;
        }
        let judgement = judgement?;
        Ok(Report::new(&world, elapsed, judgement, path))
    }
}

async fn find_items(api: &mut Api, config: &Config) -> anyhow::Result<Vec<TradedItem>> {
    let mut names = config.items.clone();
    if names.is_empty() {
        let found = api.items(SHOP, MAX_ITEMS).await;
        names = found.with_context(|| format!("cannot list the items of the shop `{SHOP}`"))?;
    }
    if names.is_empty() || names.len() > MAX_ITEMS {
        bail!(
            "there are {} items to trade; there must be 1 to {MAX_ITEMS}",
            names.len()
        );
    }
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let lookup = Api::lookup_call(&name, config.no_cache);
        let before: Result<Stock, api::Error> = api.lookup(&name, &lookup).await;
        items.push(TradedItem {
            before: before.with_context(|| format!("cannot look `{name}` up"))?,
            watched: Watched::new(name.clone()),
            lookup,
            name,
        });
    }
    Ok(items)
}
