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
    trade.amends.is_none()
        && (asked.item, asked.side, asked.quantity) == (&trade.item, trade.side, trade.quantity)
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{OrderNumber, Side};

    use super::*;
    use crate::Reason;
    use crate::samples::{bought, finding, log, order, refused, trade, unknown};

    fn run() -> Vec<Operation> {
        vec![
            bought((1, 2), 0, 2),
            bought((3, 4), 1, 3),
            unknown(5, trade(Side::Buy, 1, "2")),
            unknown(6, trade(Side::Buy, 1, "never made")),
            refused((7, 8), trade(Side::Buy, 1, "no"), Reason::NotFound),
        ]
    }

    #[test]
    fn acknowledged_orders_and_some_of_unknown_outcome_are_as_it_should_be() {
        let logs = [log(1, (0..3).map(order)), log(2, (0..3).map(order))];
        assert_eq!(check(&run(), &logs, true), Verdict::Ok);
        let without = [log(1, (0..2).map(order))];
        assert_eq!(check(&run(), &without, true), Verdict::Ok);
    }

    #[test]
    fn an_order_that_one_replica_lacks_is_lost() {
        let logs = [log(1, (0..3).map(order)), log(2, (0..1).map(order))];
        let found = finding(check(&run(), &logs, true));
        assert!(
            found.starts_with("order/2: an acknowledged order is lost"),
            "{found}"
        );
        assert!(found.contains("client.ndjson:5"), "{found}");
    }

    #[test]
    fn an_order_that_is_there_twice_is_doubled() {
        let mut again = order(3);
        again.trade.request = order(1).trade.request;
        let logs = [log(1, (0..3).map(order).chain([again]))];
        let found = finding(check(&run(), &logs, false));
        assert!(found.contains("recorded more than once"), "{found}");
        // Whoever asked for it.
        let found = finding(check(&[], &logs, false));
        assert!(found.contains("recorded more than once"), "{found}");
    }

    #[test]
    fn an_order_of_unknown_outcome_is_there_once_at_most() {
        let mut again = order(3);
        again.trade.request = order(2).trade.request;
        let logs = [log(1, (0..3).map(order).chain([again]))];
        let found = finding(check(&run(), &logs, true));
        assert!(found.contains("does not know the outcome"), "{found}");
    }

    #[test]
    fn a_refused_order_is_not_recorded() {
        let mut refused = order(2);
        refused.trade.request = bazaar_rpc::RequestId::from_key(None, "no");
        let logs = [log(1, [order(0), order(1), refused])];
        let found = finding(check(&run(), &logs, false));
        assert!(found.contains("a refused order is recorded"), "{found}");
    }

    #[test]
    fn an_order_is_recorded_as_it_was_acknowledged() {
        let changes: [fn(&mut OrderRecord); 5] = [
            |order| order.trade.amends = crate::samples::amendment(1, 0, 1, 2).trade.amends,
            |order| order.number = OrderNumber(7),
            |order| order.trade.side = Side::Sell,
            |order| order.trade.quantity = crate::samples::units(2),
            |order| order.trade.version = order.trade.version.next(),
        ];
        for change in changes {
            let mut changed = order(1);
            change(&mut changed);
            let found = finding(check(&run(), &[log(1, [order(0), changed])], true));
            assert!(
                found.contains("not recorded as it was acknowledged"),
                "{found}"
            );
        }
    }

    #[test]
    fn an_order_that_nobody_asked_for_counts_where_nobody_else_trades() {
        let logs = [log(1, (0..4).map(order))];
        assert_eq!(check(&run(), &logs, false), Verdict::Ok);
        let found = finding(check(&run(), &logs, true));
        assert!(found.contains("that nobody asked for"), "{found}");
    }
}
