//! What all checks say of one run.

use std::collections::BTreeMap;

use bazaar_history::suite::{self, Options};
use bazaar_history::{
    Answer, ClientEvent, Evidence, FaultEvent, Faults, Kind, Observation, Operation, Operations,
    OrderLog, Outcome, StockReport,
};

use crate::report::{Finding, Work};

/// Everything that was seen of one run.
#[derive(Default)]
pub(crate) struct Seen {
    /// What clients did and were told.
    pub(crate) events: Vec<ClientEvent>,
    /// What the order replicas hold at the end.
    pub(crate) orders: Vec<OrderLog>,
    /// What the catalog replicas hold at the end.
    pub(crate) stocks: Vec<StockReport>,
    /// What was done to the cluster.
    pub(crate) faults: Vec<FaultEvent>,
    /// How replicas saw their groups.
    pub(crate) observations: Vec<Observation>,
    /// Answers that no frontend gives.
    pub(crate) broken: Vec<String>,
    /// Invariants that did not hold while it ran.
    pub(crate) invariants: Vec<String>,
    /// Processes that ended, or did not start, without a fault that explains it.
    pub(crate) ends: Vec<String>,
}

/// What the checks say, and what clients did.
pub(crate) fn verify(seen: Seen) -> anyhow::Result<(BTreeMap<String, Finding>, Work)> {
    let mut operations = Operations::new("clients");
    for (line, event) in (1..).zip(seen.events) {
        operations.add(line, event)?;
    }
    let mut faults = Faults::new("faults");
    for (line, event) in (1..).zip(seen.faults) {
        faults.add(line, event)?;
    }
    let evidence = Evidence {
        operations: operations.finish(),
        orders: seen.orders,
        stocks: seen.stocks,
        faults: faults.finish(),
        observations: seen.observations,
        kinds: [
            Kind::Client,
            Kind::Orders,
            Kind::Stock,
            Kind::Faults,
            Kind::Consensus,
        ]
        .into(),
    };
    let options = Options {
        is_complete: true,
        ..Options::default()
    };
    let report = suite::check(&evidence, &options);
    let mut checks: BTreeMap<_, _> = report
        .checks
        .into_iter()
        .map(|checked| {
            let finding = match checked.result {
                suite::Result::Run { verdict, .. } => verdict.into(),
                suite::Result::NotRun { wanting } => Finding::Unknown(wanting),
            };
            (checked.check.to_owned(), finding)
        })
        .collect();
    checks.insert("answers".into(), Finding::of(seen.broken));
    checks.insert("invariants".into(), Finding::of(seen.invariants));
    checks.insert("processes".into(), Finding::of(seen.ends));
    let work = work(&evidence);
    Ok((checks, work))
}

fn work(evidence: &Evidence) -> Work {
    let count = |is: fn(&&Operation) -> bool| evidence.operations.iter().filter(is).count() as u64;
    let logs = evidence.orders.iter().map(|log| log.orders.len());
    Work {
        operations: evidence.operations.len() as u64,
        trades: count(|one| matches!(one.answer(), Some(Answer::Traded { .. }))),
        unknown: count(|one| {
            one.request().is_some() && matches!(one.outcome, Outcome::Unknown { .. })
        }),
        replayed: count(|one| {
            let is_replayed = |answer| match answer {
                &Answer::Traded { replayed, .. } | &Answer::Amended { replayed, .. } => replayed,
                Answer::Stock { .. } | Answer::Order(_) | Answer::Restocked { .. } => false,
            };
            one.answer().is_some_and(is_replayed)
        }),
        amendments: count(|one| matches!(one.answer(), Some(Answer::Amended { .. }))),
        restocks: count(|one| matches!(one.answer(), Some(Answer::Restocked { .. }))),
        lookups: count(|one| matches!(one.answer(), Some(Answer::Stock { .. }))),
        orders: logs.max().unwrap_or_default() as u64,
        elections: 0,
    }
}
