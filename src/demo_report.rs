//! What a demonstration showed.

use std::fmt;
use std::time::Duration;

use bazaar_client::{Gap, Judgement, Kind, Latency, Report};
use bazaar_rpc::ServiceName;
use serde::Serialize;

use crate::audit::Findings;

/// What a demonstration showed. Every promise was kept where there are no failures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DemoReport {
    /// Trades that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged trades that are not there, or not as they were acknowledged.
    pub(crate) lost: u64,
    /// Trades that are there more than once.
    pub(crate) doubled: u64,
    /// Trades of what was not in stock, and items whose stock is not what the trades make it.
    pub(crate) oversold: u64,
    /// Lookups that showed the time before something acknowledged.
    pub(crate) stale: u64,
    /// Orders on every replica.
    pub(crate) orders: u64,
    /// Whether the logs of all replicas are equal.
    pub(crate) logs_equal: bool,
    pub(crate) failover: Failover,
    /// The longest time without an accepted trade while the leader was killed and came back.
    pub(crate) longest_gap_ms: f64,
    /// Accepted trades a second, without a fault.
    pub(crate) trades_per_second: f64,
    /// Lookups a second out of the cache, without trades.
    pub(crate) cached_lookups_per_second: f64,
    /// Of cached lookups.
    pub(crate) lookup_latency: Option<Latency>,
    /// Of trades without a fault.
    pub(crate) trade_latency: Option<Latency>,
    /// Of trades while the leader was killed and came back.
    pub(crate) failover_trade_latency: Option<Latency>,
    /// What it took, in milliseconds.
    pub(crate) took_ms: u128,
    /// What was found wanting, a line each.
    pub(crate) failures: Vec<String>,
}

/// Who was killed, and who led then.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Failover {
    pub(crate) killed: ServiceName,
    pub(crate) successor: ServiceName,
}

impl DemoReport {
    /// Of the three parts: lookups, trades, and both while the leader was lost.
    pub(crate) fn new(
        parts: [Report; 3],
        failover: Failover,
        findings: Findings,
        logs_equal: bool,
        took: Duration,
    ) -> Self {
        let sum = |count: fn(&Judgement) -> u64| -> u64 {
            parts.iter().map(|part| count(&part.judgement)).sum()
        };
        let acknowledged = sum(|judgement| judgement.acknowledged);
        let lost = sum(|judgement| {
            judgement
                .read_back
                .as_ref()
                .map_or(0, |found| found.lost + found.wrong)
        });
        let doubled = sum(|judgement| judgement.doubled) + findings.doubled;
        let stale = sum(|judgement| judgement.stale);
        let [lookups, trades, mixed] = &parts;
        let latency = |part: &Report, kind| part.latency.get(&kind).copied();
        let rate = |part: &Report, kind| {
            part.throughput
                .per_second
                .get(&kind)
                .copied()
                .unwrap_or_default()
        };
        Self {
            acknowledged,
            lost,
            doubled,
            oversold: findings.oversold + findings.unbalanced,
            stale,
            orders: findings.orders,
            logs_equal,
            failover,
            longest_gap_ms: mixed
                .longest_gap
                .as_ref()
                .map(Gap::length)
                .unwrap_or_default()
                .as_secs_f64()
                * 1e3,
            trades_per_second: rate(trades, Kind::Trade),
            cached_lookups_per_second: rate(lookups, Kind::Lookup),
            lookup_latency: latency(lookups, Kind::Lookup),
            trade_latency: latency(trades, Kind::Trade),
            failover_trade_latency: latency(mixed, Kind::Trade),
            took_ms: took.as_millis(),
            failures: failures(&parts, findings, logs_equal, acknowledged),
        }
    }
}

fn failures(
    parts: &[Report],
    findings: Findings,
    logs_equal: bool,
    acknowledged: u64,
) -> Vec<String> {
    let mut failures: Vec<_> = parts.iter().flat_map(Report::failures).collect();
    let mut check = |count: u64, what: &str| {
        if count > 0 {
            failures.push(format!("{count} {what}"));
        }
    };
    check(
        findings.misnumbered,
        "orders without the number that follows",
    );
    check(findings.doubled, "orders of a request that had one");
    check(findings.oversold, "orders for more than was in stock");
    check(
        findings.unbalanced,
        "items with another stock than their orders make",
    );
    check(
        parts.iter().map(|part| part.totals.failed()).sum(),
        "requests failed for good",
    );
    check(u64::from(!logs_equal), "or more replicas with another log");
    // Nobody else trades, so nothing else may be there.
    check(
        findings.orders.abs_diff(acknowledged) * u64::from(logs_equal),
        "orders too many or too few",
    );
    check(
        u64::from(acknowledged == 0),
        "demonstration without a trade",
    );
    failures
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: String| writeln!(f, "{what:<34}{value:>12}");
        line("trades acknowledged", self.acknowledged.to_string())?;
        line("  lost", self.lost.to_string())?;
        line("  doubled", self.doubled.to_string())?;
        line("  oversold", self.oversold.to_string())?;
        line("stale reads", self.stale.to_string())?;
        line(
            "logs of the replicas",
            if self.logs_equal {
                "equal"
            } else {
                "DIFFERENT"
            }
            .into(),
        )?;
        line(
            "longest gap without a trade",
            format!("{:.0} ms", self.longest_gap_ms),
        )?;
        line("trades/s", format!("{:.0}", self.trades_per_second))?;
        line(
            "cached lookups/s",
            format!("{:.0}", self.cached_lookups_per_second),
        )?;
        let Failover { killed, successor } = self.failover;
        writeln!(
            f,
            "\n{killed} was killed under load, {successor} took over\n"
        )?;
        writeln!(
            f,
            "{:<24}{:>10}{:>10}{:>10}{:>10}",
            "latency", "p50", "p90", "p99", "max"
        )?;
        for (what, latency) in [
            ("cached lookup", self.lookup_latency),
            ("trade", self.trade_latency),
            ("trade, over the failover", self.failover_trade_latency),
        ] {
            let Some(Latency {
                p50_us,
                p90_us,
                p99_us,
                max_us,
                ..
            }) = latency
            else {
                continue;
            };
            let ms = |us: u64| format!("{:.2} ms", Duration::from_micros(us).as_secs_f64() * 1e3);
            let [p50, p90, p99, max] = [p50_us, p90_us, p99_us, max_us].map(ms);
            writeln!(f, "{what:<24}{p50:>10}{p90:>10}{p99:>10}{max:>10}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}
