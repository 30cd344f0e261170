//! Every item is linearizable as an object that is looked up, bought and sold: there is an order of
//! all operations on it, in accord with real time, in which each answer is what the item then was
//! (Herlihy & Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990).
//!
//! An amendment trades the difference between what an order was for and what it is to be for. The order
//! log says what that is, so it takes the log to check a history with amendments.
//!
//! A restock is a sale by nobody: it adds to the stock, under a version that no recorded trade made. Other
//! edits are in no history. Of an item that was edited, the versions that no recorded trade made were
//! made by edits, which may have left anything in stock. So it takes the order log to check it, and an
//! item that was renamed, or whose name was another's, is not checked.
//!
//! Operations of unknown outcome are open to the end: they may take effect at any time after their
//! invocation, or never.
//!
//! Sources: Wing & Gong, "Testing and Verifying Concurrent Objects" (1993), for the search; Lowe,
//! "Testing for Linearizability" (2017), for remembering configurations; Horn & Kroening, "Faster
//! Linearizability Checking via P-Compositionality" (2015), for checking each item by itself, as
//! porcupine (<https://github.com/anishathalye/porcupine>) does. What it costs: see
//! `linearizability/search.rs`.

mod edits;
mod model;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use bazaar_rpc::{ItemName, Quantity, Side, Version};

use crate::requests::{Asked, Fate, Request};
use crate::restocks::Restock;
use crate::verdict::Findings;
use crate::{
    Answer, Call, Operation, OrderLog, OrderRecord, Outcome, Reason, StockRecord, StockReport,
    TradeRecord, Verdict,
};
use model::{Action, NEVER, State, Step};
use search::{DeadEnd, Found, Search};

pub use search::Budget;

/// How to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How much the search may cost, for each item.
    pub budget: Budget,
    /// The operations are all that there were since the items were opened.
    pub is_complete: bool,
    /// Do not let the order log tell what became of trades of unknown outcome, nor of trades that
    /// are not in the history: since the first operation there must have been none then.
    pub without_log: bool,
}

/// An operation on an item, and what it is.
struct Entry<'a> {
    step: Step,
    what: What<'a>,
}

impl Entry<'_> {
    fn edited((version, step): (u64, Step)) -> Self {
        let what = What::Edited(version);
        Self { step, what }
    }
}

enum What<'a> {
    /// It is in the history.
    Seen(&'a Operation),
    /// So is this, and it is an edit.
    Restocked(&'a Operation),
    /// It is in the order log only.
    Recorded(&'a TradeRecord),
    /// It is an edit, since no trade made that version.
    Edited(u64),
}

/// Checks `operations`. The longest of `logs` tells what became of trades; `stocks` tell with which
/// stock items were opened.
#[must_use]
pub fn check(
    operations: &[Operation],
    logs: &[OrderLog],
    stocks: &[StockReport],
    options: Options,
) -> Verdict {
    let log = logs.iter().max_by_key(|log| log.orders.len());
    let log = log.filter(|_| !options.without_log);
    let requests = Request::all(operations);
    if log.is_none() && requests.iter().any(may_have_amended) {
        let why = "orders were amended, and without an order log it is not known by how much";
        return Verdict::Unknown(why.into());
    }
    let has_all_trades = log.is_some() || options.is_complete;
    let mut items = entries(operations, &requests, log);
    let mut findings = Findings::default();
    let mut unknown = Vec::new();
    for (item, entries) in &mut items {
        if entries.iter().all(|entry| entry.step.returned == NEVER) {
            continue;
        }
        entries.sort_by_key(|entry| (entry.step.invoked, entry.step.returned));
        let steps: Vec<_> = entries.iter().map(|entry| entry.step).collect();
        let Some(initial) = initial(item, &steps, has_all_trades, stocks) else {
            unknown.push(format!("with which stock {item} began is not known"));
            continue;
        };
        let mut edits = edits::of(item, log, stocks);
        if edits.has_moved {
            unknown.push(format!(
                "{item} was renamed, or is not the first of its name"
            ));
            continue;
        }
        let is_restock = |entry: &&Entry<'_>| matches!(entry.what, What::Restocked(_));
        let restocks = entries.iter().filter(is_restock).count() as u64;
        edits.count = edits.count.saturating_sub(restocks);
        if edits.count > 0 && log.is_none() {
            unknown.push(format!(
                "{item} was edited, and without an order log it is not known when"
            ));
            continue;
        }
        let edits = edits.steps(&steps, initial);
        entries.splice(0..0, edits.map(Entry::edited));
        let steps: Vec<_> = entries.iter().map(|entry| entry.step).collect();
        match Search::new(&steps, initial, options.budget).run() {
            Found::Order => {}
            Found::NoOrder(dead_end) => report(item, entries, &dead_end, &mut findings),
            Found::NothingYet => {
                let Budget {
                    configurations,
                    steps,
                } = options.budget;
                unknown.push(format!(
                    "the search for an order of the operations on {item} took {steps} steps, or had \
                     to remember {configurations} configurations, and found none"
                ));
            }
        }
    }
    if findings.count == 0 && !unknown.is_empty() {
        return Verdict::Unknown(unknown.join("; "));
    }
    findings.verdict()
}

/// What was done to each item.
fn entries<'a>(
    operations: &'a [Operation],
    requests: &[Request<'a>],
    log: Option<&'a OrderLog>,
) -> BTreeMap<&'a ItemName, Vec<Entry<'a>>> {
    let recorded: Option<HashMap<_, _>> = log.map(|log| {
        let orders = log.orders.iter();
        orders.map(|order| (order.trade.request, order)).collect()
    });
    let mut items: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for operation in operations {
        if let Some((item, step)) = reading(operation) {
            let what = What::Seen(operation);
            items.entry(item).or_default().push(Entry { step, what });
        }
    }
    let mut ours = HashSet::new();
    for request in requests {
        ours.insert(request.id);
        let known = recorded
            .as_ref()
            .map(|recorded| recorded.get(&request.id).copied());
        let done = match request.asked() {
            Asked::Trade {
                item,
                side,
                quantity,
            } => trading(request, known, side, quantity).map(|step| (item, step)),
            Asked::Amend { .. } => known.flatten().and_then(|record| amending(request, record)),
        };
        if let Some((item, step)) = done {
            let what = What::Seen(request.operations[0]);
            items.entry(item).or_default().push(Entry { step, what });
        }
    }
    for restock in Restock::all(operations) {
        let (Some(first), Some(invoked)) = (restock.acknowledged(), restock.began()) else {
            // What it has done, if anything, is an edit like any other.
            continue;
        };
        let entries = items.entry(first.name).or_default();
        let (quantity, version) = (first.quantity.units(), Some(first.version.0));
        for (what, action) in [
            (
                What::Restocked(first.operation),
                change(Side::Sell, restock.units, Some(first.version)),
            ),
            (
                What::Seen(first.operation),
                Action::Read { quantity, version },
            ),
        ] {
            let step = Step {
                invoked,
                returned: first.at,
                action,
            };
            entries.push(Entry { step, what });
        }
    }
    for trade in recorded
        .into_iter()
        .flatten()
        .map(|(_, order)| &order.trade)
    {
        if !ours.contains(&trade.request) {
            let step = Step {
                invoked: 0,
                returned: NEVER,
                action: change(trade.side, trade.quantity, Some(trade.version)),
            };
            let what = What::Recorded(trade);
            items
                .entry(&trade.item)
                .or_default()
                .push(Entry { step, what });
        }
    }
    items
}

/// What an operation shows of an item without changing it.
fn reading(operation: &Operation) -> Option<(&ItemName, Step)> {
    let (item, action) = match (&operation.call, &operation.outcome) {
        (
            Call::Lookup { item },
            Outcome::Ok {
                answer: Answer::Stock { quantity, version },
                ..
            },
        ) => {
            let (quantity, version) = (quantity.units(), version.map(|version| version.0));
            (item, Action::Read { quantity, version })
        }
        (
            Call::Trade {
                item,
                side: Side::Buy,
                quantity,
                ..
            },
            Outcome::Refused {
                reason: Reason::NotEnoughStock { available },
                ..
            },
        ) => {
            let (wanted, available) = (quantity.units(), available.map(Quantity::units));
            (item, Action::Short { wanted, available })
        }
        _ => return None,
    };
    let step = Step {
        invoked: operation.invoked,
        returned: operation.completed()?,
        action,
    };
    Some((item, step))
}

/// What a request to trade did to its item, if it may have done anything. It is `known` whether, and as
/// what, it is recorded, where there is a log.
fn trading(
    request: &Request<'_>,
    known: Option<Option<&OrderRecord>>,
    side: Side,
    quantity: Quantity,
) -> Option<Step> {
    let invoked = request.began()?;
    let recorded = known.flatten().map(|order| order.trade.version);
    let (returned, version) = match (request.fate(), known) {
        (Fate::Acknowledged(first), _) => (first.at, first.version.or(recorded)),
        (Fate::Unknown, Some(None)) | (Fate::Refused, _) => return None,
        (Fate::Unknown, Some(Some(_)) | None) => (NEVER, recorded),
    };
    Some(Step {
        invoked,
        returned,
        action: change(side, quantity, version),
    })
}

/// What a request to amend did, which is `recorded`, and to which item.
fn amending<'a>(request: &Request<'_>, recorded: &'a OrderRecord) -> Option<(&'a ItemName, Step)> {
    let OrderRecord { number, trade } = recorded;
    // Until it did, it may have been answered that there was nothing to do.
    let told = request
        .acknowledgements()
        .map(|(_, acknowledged)| acknowledged)
        .filter(|acknowledged| acknowledged.number == *number)
        .map(|acknowledged| acknowledged.at);
    let step = Step {
        invoked: request.began()?,
        returned: told.min().unwrap_or(NEVER),
        action: change(trade.side, trade.quantity, Some(trade.version)),
    };
    Some((&trade.item, step))
}

/// Whether `request` is for an amendment that may have been made.
fn may_have_amended(request: &Request<'_>) -> bool {
    matches!(request.asked(), Asked::Amend { .. }) && request.fate() != Fate::Refused
}

fn change(side: Side, quantity: Quantity, version: Option<Version>) -> Action {
    let units = i64::try_from(quantity.units()).expect("a quantity is far below 2^63");
    let delta = match side {
        Side::Buy => -units,
        Side::Sell => units,
    };
    let version = version.map(|version| version.0);
    Action::Trade { delta, version }
}

/// An item as it was before all of `steps`, which are in the order of invocation.
fn initial(
    item: &ItemName,
    steps: &[Step],
    has_all_trades: bool,
    stocks: &[StockReport],
) -> Option<State> {
    let opened = || {
        let items = stocks.iter().flat_map(|stock| &stock.items);
        let mut opened = items
            .filter(|record| record.item == *item)
            .map(|record| State {
                quantity: Some(record.initial.units()),
                version: StockRecord::FIRST.0,
            });
        opened.next()
    };
    if has_all_trades {
        opened().or_else(|| counted_back(steps))
    } else {
        // The history may begin later than the shop.
        first_shown(steps).or_else(opened)
    }
}

/// What was shown before the first trade was invoked.
fn first_shown(steps: &[Step]) -> Option<State> {
    let is_trade = |step: &&Step| matches!(step.action, Action::Trade { .. });
    let first_trade = steps
        .iter()
        .find(is_trade)
        .map_or(NEVER, |step| step.invoked);
    steps.iter().find_map(|step| match step.action {
        Action::Read {
            quantity,
            version: Some(version),
        } if step.returned < first_trade => {
            let quantity = Some(quantity);
            Some(State { quantity, version })
        }
        _ => None,
    })
}

/// What was there before the trades that led to what was shown, all of which are known.
fn counted_back(steps: &[Step]) -> Option<State> {
    let (shown, at) = steps.iter().find_map(|step| match step.action {
        Action::Read {
            quantity,
            version: Some(version),
        } => Some((quantity, version)),
        _ => None,
    })?;
    let changes = steps.iter().filter_map(|step| match step.action {
        Action::Trade {
            delta,
            version: Some(version),
        } if version <= at => Some(i128::from(delta)),
        _ => None,
    });
    let quantity = i128::from(shown) - changes.sum::<i128>();
    Some(State {
        quantity: Some(u64::try_from(quantity).ok()?),
        version: StockRecord::FIRST.0,
    })
}

fn report(item: &ItemName, entries: &[Entry<'_>], dead_end: &DeadEnd, findings: &mut Findings) {
    let DeadEnd { state, last, next } = dead_end;
    let State { quantity, version } = state;
    let quantity = quantity.map_or("an unknown number".into(), |quantity| quantity.to_string());
    let what = || {
        format!(
            "no order of the operations on {item} explains their answers: the best one ends with \
             {quantity} in stock at version {version}, and none of those that must be next fits"
        )
    };
    let show = |sort: &str, at: &usize| format!("{sort} {}", entries[*at].what);
    let last = last.iter().map(|at| show("before:", at));
    let next = next.iter().map(|at| show("next:", at));
    findings.add(what, last.chain(next));
}

impl std::fmt::Display for What<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seen(operation) | Self::Restocked(operation) => operation.fmt(f),
            Self::Recorded(trade) => write!(f, "in the order log: {trade}"),
            Self::Edited(version) => write!(f, "an edit that made version {version}"),
        }
    }
}
