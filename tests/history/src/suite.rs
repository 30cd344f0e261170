//! All the checkers that the evidence permits.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::check::linearizability::{self, Budget};
use crate::check::{
    amendments, bank, convergence, freshness, gapless, idempotency, liveness, raft, set,
};
use crate::{Evidence, Kind, Verdict};

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nobody else has ever traded, or restocked what is restocked here: every order in the logs, and
    /// every such restock, must be of a request in the histories.
    pub is_complete: bool,
    /// See [`linearizability::Options::without_log`].
    pub without_log: bool,
    /// How much the search for linearizability may cost, for each item.
    pub budget: Budget,
    /// How long operations may fail after the last fault.
    pub recovery: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_complete: false,
            without_log: false,
            budget: Budget::default(),
            recovery: liveness::RECOVERY,
        }
    }
}

/// What became of one checker.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The checker.
    pub check: &'static str,
    /// What it promises, in a few words.
    pub promise: &'static str,
    /// What it says.
    pub result: Result,
}

/// What a checker says, if it was run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// It was run.
    Run {
        /// What it says.
        verdict: Verdict,
        /// How long it took.
        seconds: f64,
    },
    /// It was not, for want of these.
    NotRun {
        /// What would be needed.
        wanting: String,
    },
}

/// What all checkers say.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many operations there were.
    pub operations: usize,
    /// How many orders, in the longest log.
    pub orders: usize,
    /// One entry a checker.
    pub checks: Vec<Checked>,
}

impl Report {
    /// Whether every checker that was run says that its promise was kept.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.verdicts().all(|(_, verdict)| verdict.is_ok())
    }

    /// What the checkers say that were run.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.checks
            .iter()
            .filter_map(|checked| match &checked.result {
                Result::Run { verdict, .. } => Some((checked.check, verdict)),
                Result::NotRun { .. } => None,
            })
    }
}

/// Runs every checker that `evidence` permits.
#[must_use]
pub fn check(evidence: &Evidence, options: &Options) -> Report {
    let Evidence {
        operations,
        orders,
        stocks,
        faults,
        observations,
        kinds: _,
    } = evidence;
    let suite = Suite { evidence };
    let search = linearizability::Options {
        budget: options.budget,
        is_complete: options.is_complete,
        without_log: options.without_log,
    };
    let checks = vec![
        suite.run(
            "set",
            "every acknowledged order is in every log once, and no refused one",
            &[Kind::Client, Kind::Orders],
            || set::check(operations, orders, options.is_complete),
        ),
        suite.run(
            "bank",
            "initial + restocked - written off + sold - bought = quantity, never negative, always",
            &[Kind::Orders, Kind::Stock],
            || bank::check(operations, orders, stocks, options.is_complete),
        ),
        suite.run(
            "freshness",
            "no lookup shows what was before an acknowledged trade or an earlier lookup",
            &[Kind::Client],
            || freshness::check(operations),
        ),
        suite.run(
            "linearizability",
            "every item is linearizable",
            &[Kind::Client],
            || linearizability::check(operations, orders, stocks, search),
        ),
        suite.run(
            "idempotency",
            "one key is one order with one answer",
            &[Kind::Client],
            || idempotency::check(operations),
        ),
        if orders.len() > 1 || stocks.len() > 1 {
            suite.run("convergence", CONVERGENCE, &[], || {
                convergence::check(orders, stocks)
            })
        } else {
            let wanting = "a second file of kind orders or stock".into();
            Checked {
                check: "convergence",
                promise: CONVERGENCE,
                result: Result::NotRun { wanting },
            }
        },
        suite.run(
            "gapless",
            "numbers run from 0 without a gap",
            &[Kind::Orders],
            || gapless::check(orders),
        ),
        suite.run(
            "amendments",
            "every amendment follows from its order as it was left, and none follows a cancel",
            &[Kind::Orders],
            || amendments::check(orders),
        ),
        suite.run(
            "raft",
            "one leader a term, terms that never go back, one state an index",
            &[Kind::Consensus],
            || raft::check(observations),
        ),
        suite.run(
            "liveness",
            "operations succeed again soon after the last fault",
            &[Kind::Client, Kind::Faults],
            || liveness::check(operations, faults, options.recovery),
        ),
    ];
    Report {
        operations: operations.len(),
        orders: orders.iter().map(|log| log.orders.len()).max().unwrap_or(0),
        checks,
    }
}

const CONVERGENCE: &str = "all replicas of a group end equal";

struct Suite<'a> {
    evidence: &'a Evidence,
}

impl Suite<'_> {
    /// Runs a checker, if there is evidence of all the kinds that it needs.
    fn run(
        &self,
        check: &'static str,
        promise: &'static str,
        needs: &[Kind],
        run: impl FnOnce() -> Verdict,
    ) -> Checked {
        let kinds = &self.evidence.kinds;
        let wanting: Vec<_> = needs.iter().filter(|kind| !kinds.contains(kind)).collect();
        let result = if wanting.is_empty() {
            let began = Instant::now();
            let verdict = run();
            let seconds = began.elapsed().as_secs_f64();
            Result::Run { verdict, seconds }
        } else {
            let names: Vec<_> = wanting.iter().map(|kind| kind.as_str()).collect();
            let wanting = format!("a file of kind {}", names.join(" and one of kind "));
            Result::NotRun { wanting }
        };
        Checked {
            check,
            promise,
            result,
        }
    }
}
