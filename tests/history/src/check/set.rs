//! Every acknowledged order is in the final log of every replica, once; refused ones are in none;
//! those of unknown outcome are there once or not at all.
//!
//! This is Jepsen's set test (<https://github.com/jepsen-io/jepsen>, `checker/set-full`), of orders.
//! It takes time and memory in proportion to operations and orders.

use std::collections::HashMap;

use crate::requests::{Fate, Request};
use crate::verdict::Findings;
use crate::{Operation, OrderLog, OrderRecord, Verdict};

/// Checks `operations` against `logs`. Where `is_complete`, no others than these were sent, and an
/// order that none of them asked for is one too many.
#[must_use]
pub fn check(operations: &[Operation], logs: &[OrderLog], is_complete: bool) -> Verdict {
    let requests = Request::all(operations);
    let mut findings = Findings::default();
    for log in logs {
        check_log(&requests, log, is_complete, &mut findings);
    }
    findings.verdict()
}

fn check_log(requests: &[Request<'_>], log: &OrderLog, is_complete: bool, found: &mut Findings) {
    let source = &log.source;
    let mut recorded: HashMap<_, Vec<&OrderRecord>> = HashMap::with_capacity(log.orders.len());
    for order in &log.orders {
        recorded.entry(order.trade.request).or_default().push(order);
    }
    for request in requests {
        let orders = recorded.remove(&request.id).unwrap_or_default();
        let mut add = |what: &str| {
            let sent = request.operations.iter().map(ToString::to_string);
            let orders = orders.iter().map(|order| format!("{source}: {order}"));
            found.add(|| format!("{source}: {what}"), sent.chain(orders));
        };
        match (request.fate(), orders.as_slice()) {
            (_, [_, _, ..]) => add("one request is recorded more than once"),
            (Fate::Acknowledged(_), []) => add("an acknowledged order is lost"),
            (Fate::Refused, [_]) => add("a refused order is recorded"),
            (Fate::Acknowledged(acknowledged), [order]) => {
                let shown = acknowledged.version;
                let is_other = shown.is_some_and(|version| version != order.trade.version);
                if acknowledged.number != order.number || is_other || !is_of(request, order) {
                    add("an order is not recorded as it was acknowledged");
                }
            }
            (Fate::Unknown, [order]) if !is_of(request, order) => {
                add("an order is not recorded as it was asked for");
            }
            (Fate::Refused | Fate::Unknown, [] | [_]) => {}
        }
    }
    let mut strays: Vec<_> = recorded.into_values().collect();
    strays.sort_by_key(|orders| orders[0].number);
    for orders in strays {
        let evidence = orders.iter().map(|order| format!("{source}: {order}"));
        if orders.len() > 1 {
            let what = || format!("{source}: one request is recorded more than once");
            found.add(what, evidence);
        } else if is_complete {
            let what = || format!("{source}: an order is recorded that nobody asked for");
            found.add(what, evidence);
        }
    }
}

/// Whether `order` records what `request` asked for.
fn is_of(request: &Request<'_>, order: &OrderRecord) -> bool {
    let asked = request.asked();
    let trade = &order.trade;
    (asked.item, asked.side, asked.quantity) == (&trade.item, trade.side, trade.quantity)
}
