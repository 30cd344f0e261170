//! The sweep: latency against trade probability, with cache and without, as in the evaluation of
//! the original system.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::chart::{Chart, Line, Panel};
use crate::text::latency;
use crate::{BaseUrl, Config, Kind, Latency, Probability};

/// The trade probabilities of the original evaluation.
const PROBABILITIES: [f64; 5] = [0.0, 0.2, 0.4, 0.6, 0.8];

/// What a sweep measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// How many sessions each step had.
    pub connections: u32,
    /// The seed of every step.
    pub seed: u64,
    /// The steps, in the order in which they were run.
    pub points: Vec<Point>,
    /// What the judge and the service levels found wanting, a line each.
    pub failures: Vec<String>,
}

/// One step of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How probably an item was traded.
    pub trade_probability: Probability,
    /// Whether lookups were answered from the cache.
    pub cached: bool,
    /// How long lookups took.
    pub lookup: Option<Latency>,
    /// How long accepted trades took; none at probability 0.
    pub trade: Option<Latency>,
    /// Answered requests a second, of every kind.
    pub per_second: f64,
}

/// Runs the load of `config` at trade probabilities 0 to 0.8, on the frontends `cached` and on those
/// `uncached`. Where there are none of the latter, the cached ones are asked not to use their
/// caches. Every step is judged as any run is.
///
/// # Errors
/// When a step could not be run or judged.
pub async fn sweep(
    config: &Config,
    cached: Vec<BaseUrl>,
    uncached: Vec<BaseUrl>,
) -> anyhow::Result<Sweep> {
    let seed = config.seed.unwrap_or_else(rand::random);
    let mut sweep = Sweep {
        connections: config.connections,
        seed,
        points: Vec::new(),
        failures: Vec::new(),
    };
    for probability in PROBABILITIES {
        for with_cache in [true, false] {
            let urls = if with_cache || uncached.is_empty() {
                &cached
            } else {
                &uncached
            };
            let trade_probability = Probability::new(probability)?;
            let cache = if with_cache { "with" } else { "without" };
            let log = |log: &PathBuf| log.with_extension(format!("{probability}-{cache}.ndjson"));
            let step = Config {
                log: config.log.as_ref().map(log),
                urls: urls.clone(),
                no_cache: !with_cache,
                seed: Some(seed),
                trade_probability,
                ..config.clone()
            };
            let report = crate::run(step).await?;
            let step = |failure| format!("at probability {probability} {cache} cache: {failure}");
            sweep
                .failures
                .extend(report.failures().into_iter().map(step));
            sweep.points.push(Point {
                trade_probability,
                cached: with_cache,
                lookup: report.latency.get(&Kind::Lookup).copied(),
                trade: report.latency.get(&Kind::Trade).copied(),
                per_second: report.throughput.per_second.values().sum(),
            });
        }
    }
    Ok(sweep)
}

impl Sweep {
    /// The plot: mean and 99th percentile of lookups and trades, with cache and without.
    #[must_use]
    pub fn svg(&self) -> String {
        let panel = |title: &str, figure: fn(&Latency) -> f64| Panel {
            title: title.into(),
            lines: vec![
                self.line(
                    "lookup, cached",
                    "#0072b2",
                    true,
                    |point| point.lookup,
                    figure,
                ),
                self.line(
                    "lookup, not cached",
                    "#0072b2",
                    false,
                    |point| point.lookup,
                    figure,
                ),
                self.line(
                    "trade, cached",
                    "#d55e00",
                    true,
                    |point| point.trade,
                    figure,
                ),
                self.line(
                    "trade, not cached",
                    "#d55e00",
                    false,
                    |point| point.trade,
                    figure,
                ),
            ],
        };
        Chart {
            title: format!(
                "Latency against trade probability, {} sessions",
                self.connections
            ),
            x_label: "probability that a lookup is followed by a trade".into(),
            y_label: "latency (logarithmic)".into(),
            panels: vec![
                panel("mean", |latency| latency.mean_us),
                panel("99th percentile", |latency| latency.p99_us as f64),
            ],
        }
        .svg()
    }

    fn line(
        &self,
        label: &str,
        colour: &'static str,
        cached: bool,
        kind: fn(&Point) -> Option<Latency>,
        figure: fn(&Latency) -> f64,
    ) -> Line {
        let points = self.points.iter().filter(|point| point.cached == cached);
        Line {
            label: label.into(),
            colour,
            dashed: !cached,
            points: points
                .filter_map(|point| Some((point.trade_probability.get(), figure(&kind(point)?))))
                .collect(),
        }
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections, seed {}", self.connections, self.seed)?;
        writeln!(
            f,
            "{:<6}{:<7}{:>12}{:>12}{:>12}{:>12}{:>14}",
            "p", "cache", "lookup mean", "p99", "trade mean", "p99", "requests/s"
        )?;
        for point in &self.points {
            let cell = |latency_of: Option<f64>| latency_of.map_or_else(|| "-".into(), latency);
            writeln!(
                f,
                "{:<6}{:<7}{:>12}{:>12}{:>12}{:>12}{:>14}",
                point.trade_probability.to_string(),
                if point.cached { "on" } else { "off" },
                cell(point.lookup.map(|lookup| lookup.mean_us)),
                cell(point.lookup.map(|lookup| lookup.p99_us as f64)),
                cell(point.trade.map(|trade| trade.mean_us)),
                cell(point.trade.map(|trade| trade.p99_us as f64)),
                crate::text::grouped(point.per_second.round() as u64),
            )?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        Ok(())
    }
}
