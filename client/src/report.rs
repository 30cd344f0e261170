//! The report of a run: what was asked for, what was measured, what the judge found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bazaar_rpc::{ItemName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::load::World;
use crate::{BaseUrl, Gap, Judgement, Kind, Latency, Probability, Rate, Slice, SloResult};

/// The version of the report's form. It rises when a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form.
    pub version: u32,
    /// Tells this run from every other; its idempotency keys begin with it.
    pub run: String,
    /// When it started, in milliseconds since 1970-01-01 UTC.
    pub started: Timestamp,
    /// What was asked for.
    pub settings: Settings,
    /// How long it took until the last session ended, the warm-up included.
    pub elapsed_ms: u64,
    /// What happened, the warm-up included.
    pub totals: Totals,
    /// How long requests took, by kind, the warm-up not included. In an open loop from the moment
    /// for which they were scheduled, otherwise from the moment when they were sent.
    pub latency: BTreeMap<Kind, Latency>,
    /// How many were answered over time, the warm-up not included.
    pub throughput: Throughput,
    /// The longest time without an accepted trade; none where no trade was accepted.
    pub longest_gap: Option<Gap>,
    /// What the judge found.
    pub judgement: Judgement,
    /// How the run stands to each service level.
    pub slo: Vec<SloResult>,
    /// The file of acknowledged orders.
    pub log: PathBuf,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The frontends.
    pub urls: Vec<BaseUrl>,
    /// The items that were traded.
    pub items: Vec<ItemName>,
    /// How many sessions.
    pub connections: u32,
    /// How long to measure; none where the number of requests decided.
    pub duration_ms: Option<u64>,
    /// After how many requests to end.
    pub requests: Option<u64>,
    /// How long to warm up.
    pub warmup_ms: u64,
    /// The schedule of an open loop, in requests a second; none in a closed loop.
    pub rate: Option<Rate>,
    /// Makes the intended operations repeatable.
    pub seed: u64,
    /// How probably an item was traded.
    pub trade_probability: Probability,
    /// How probably an order was looked up.
    pub query_probability: Probability,
    /// The most units of a trade.
    pub max_quantity: u64,
    /// Whether the frontends were asked not to use their caches.
    pub no_cache: bool,
    /// Whether nobody else traded.
    pub exclusive: bool,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests that were answered; a refused trade counts as a refusal.
    pub answered: BTreeMap<Kind, u64>,
    /// Requests that failed for good: unanswered, answered with an error that a correct client need
    /// not expect, or of unknown outcome.
    pub errors: BTreeMap<Kind, u64>,
    /// Why they failed, and how many for each reason.
    pub reasons: BTreeMap<String, u64>,
    /// Trades whose acknowledgement was marked as given before: an attempt that seemed to have failed
    /// had not.
    pub replayed: u64,
    /// Trades of unknown outcome when the load ended.
    pub undecided: u64,
    /// Attempts beyond the first, of all requests.
    pub retries: u64,
    /// Acknowledgements without the item's version.
    pub unversioned: u64,
    /// Requests of an open loop's schedule that no session was free to send in time.
    pub unstarted: u64,
}

/// How many requests were answered over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// How long was measured.
    pub measured_ms: u64,
    /// Answered requests a second, of every kind.
    pub per_second: BTreeMap<Kind, f64>,
    /// The width of the slices below.
    pub slice_ms: u64,
    /// What was answered, slice by slice, from the end of the warm-up.
    pub timeline: Vec<Slice>,
}

impl Totals {
    /// How many requests of `kind` were answered.
    #[must_use]
    pub fn answered(&self, kind: Kind) -> u64 {
        self.answered.get(&kind).copied().unwrap_or_default()
    }

    /// How many requests of all kinds failed, those that were never sent included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.unstarted
    }

    /// The share of requests that failed, of `kind` or of all; none where there were none.
    pub(crate) fn error_rate(&self, kind: Option<Kind>) -> Option<f64> {
        let of = |counts: &BTreeMap<Kind, u64>| match kind {
            None => counts.values().sum(),
            Some(kind) => counts.get(&kind).copied().unwrap_or_default(),
        };
        let unstarted = if kind.is_none() { self.unstarted } else { 0 };
        let failed: u64 = of(&self.errors) + unstarted;
        let all = failed + of(&self.answered);
        (all > 0).then(|| failed as f64 / all as f64)
    }
}

impl Report {
    pub(crate) fn new(
        world: &World,
        elapsed: Duration,
        judgement: Judgement,
        log: PathBuf,
    ) -> Self {
        let config = &world.config;
        let totals = world.counters.totals(world.pace.unstarted());
        let measured = world.meter.total();
        let kinds = Kind::ALL.into_iter();
        let latency: BTreeMap<_, _> = kinds
            .filter_map(|kind| Some((kind, measured.latency(kind)?)))
            .collect();
        let seconds = elapsed.saturating_sub(config.warmup);
        let rate = |latency: &Latency| latency.count as f64 / seconds.as_secs_f64().max(1e-9);
        Self {
            version: VERSION,
            run: format!("{:016x}", world.run),
            started: world.started,
            settings: Settings::new(world),
            elapsed_ms: milliseconds(elapsed),
            throughput: Throughput {
                measured_ms: milliseconds(seconds),
                per_second: latency
                    .iter()
                    .map(|(kind, latency)| (*kind, rate(latency)))
                    .collect(),
                slice_ms: milliseconds(measured.timeline.width()),
                timeline: measured.timeline.slices().to_vec(),
            },
            latency,
            longest_gap: (totals.answered(Kind::Trade) > 0).then(|| world.gap.longest()),
            slo: config
                .slo
                .iter()
                .map(|slo| slo.judge(&measured, &totals))
                .collect(),
            totals,
            judgement,
            log,
        }
    }

    /// Why the run did not end well, a line each; nothing when it did.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let judgement = &self.judgement;
        let mut failures = Vec::new();
        let mut check = |count: u64, what: &str| {
            if count > 0 {
                failures.push(format!("{count} {what}"));
            }
        };
        check(judgement.doubled, "orders doubled");
        check(judgement.stale, "answers that showed the past");
        check(
            judgement.unversioned,
            "acknowledgements without the item's version",
        );
        if let Some(read_back) = &judgement.read_back {
            check(read_back.lost, "acknowledged orders lost");
            check(
                read_back.wrong,
                "acknowledged orders that say something else",
            );
            check(read_back.holes, "numbers that no order has");
            check(
                read_back.unbalanced.len() as u64,
                "items with another stock than their orders make",
            );
            check(
                judgement.undecided.unknown,
                "trades of which nobody says whether they were made",
            );
        }
        let none_succeeded = |(kind, count): (&Kind, &u64)| {
            let none = *count > 0 && self.totals.answered(*kind) == 0;
            none.then(|| format!("no {kind} succeeded, {count} failed"))
        };
        failures.extend(self.totals.errors.iter().filter_map(none_succeeded));
        let missed = self.slo.iter().filter(|result| !result.met);
        failures.extend(missed.map(|result| format!("service level {result}")));
        failures
    }
}

impl Settings {
    fn new(world: &World) -> Self {
        let config = &world.config;
        Self {
            urls: config.urls.clone(),
            items: world.items.iter().map(|item| item.name.clone()).collect(),
            connections: config.connections,
            duration_ms: config
                .requests
                .is_none()
                .then(|| milliseconds(config.duration)),
            requests: config.requests,
            warmup_ms: milliseconds(config.warmup),
            rate: config.rate,
            seed: world.seed,
            trade_probability: config.trade_probability,
            query_probability: config.query_probability,
            max_quantity: config.max_quantity,
            no_cache: config.no_cache,
            exclusive: config.exclusive,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
