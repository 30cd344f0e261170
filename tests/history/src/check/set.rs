//! Every acknowledged order is in the final log of every replica, once; refused ones are in none;
//! those of unknown outcome are there once or not at all. So it is with amendments, of which some find
//! nothing to do: the record that they were answered with has left the order as they ask for.
//!
//! This is Jepsen's set test (<https://github.com/jepsen-io/jepsen>, `checker/set-full`), of orders.
//! It takes time and memory in proportion to operations and orders.

use std::collections::HashMap;

use bazaar_rpc::{OrderNumber, Quantity};

use crate::requests::{Asked, Fate, Request};
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
        let one = orders.first().copied();
        let problem = match request.asked() {
            _ if orders.len() > 1 => Some("one request is recorded more than once"),
            Asked::Trade { .. } => problem_of_trade(request, one),
            Asked::Amend { order, to } => {
                let is_left = |number| leaves(log, number, order) == Some(to);
                problem_of_amendment(request, one, is_left)
            }
        };
        if let Some(problem) = problem {
            let sent = request.operations.iter().map(ToString::to_string);
            let orders = orders.iter().map(|order| format!("{source}: {order}"));
            found.add(|| format!("{source}: {problem}"), sent.chain(orders));
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
    let trade = &order.trade;
    match (request.asked(), trade.amends) {
        (
            Asked::Trade {
                item,
                side,
                quantity,
            },
            None,
        ) => (item, side, quantity) == (&trade.item, trade.side, trade.quantity),
        (Asked::Amend { order, to }, Some(amends)) => (order, to) == (amends.order, amends.to),
        (Asked::Trade { .. }, Some(_)) | (Asked::Amend { .. }, None) => false,
    }
}

/// What is wrong with how a request to trade is `recorded`, or with that it is not.
fn problem_of_trade(request: &Request<'_>, recorded: Option<&OrderRecord>) -> Option<&'static str> {
    match (request.fate(), recorded) {
        (Fate::Acknowledged(_), None) => Some("an acknowledged order is lost"),
        (Fate::Refused, Some(_)) => Some("a refused order is recorded"),
        (Fate::Acknowledged(acknowledged), Some(order)) => {
            let shown = acknowledged.version;
            let is_other = shown.is_some_and(|version| version != order.trade.version);
            let differs = acknowledged.number != order.number || is_other || !is_of(request, order);
            differs.then_some("an order is not recorded as it was acknowledged")
        }
        (Fate::Unknown, Some(order)) if !is_of(request, order) => {
            Some("an order is not recorded as it was asked for")
        }
        (Fate::Refused | Fate::Unknown, _) => None,
    }
}

/// What is wrong with how a request to amend is `recorded`, or with that it is not. It `is_left` tells whether
/// the record of a number leaves the order as this asks for.
fn problem_of_amendment(
    request: &Request<'_>,
    recorded: Option<&OrderRecord>,
    is_left: impl Fn(OrderNumber) -> bool,
) -> Option<&'static str> {
    let differs = "an amendment is not recorded as it was acknowledged";
    if let Some(record) = recorded {
        if request.fate() == Fate::Refused {
            return Some("a refused amendment is recorded");
        }
        if !is_of(request, record) {
            return Some("an amendment is not recorded as it was asked for");
        }
    }
    for (_, acknowledged) in request.acknowledgements() {
        let number = acknowledged.number;
        match recorded {
            Some(record) if record.number == number => {
                let shown = acknowledged.version;
                if shown.is_some_and(|version| version != record.trade.version) {
                    return Some(differs);
                }
            }
            // Once it is recorded, that is its answer.
            Some(record) if record.number < number => return Some(differs),
            Some(_) | None if is_left(number) => {}
            Some(_) | None => return Some("an acknowledged amendment is lost"),
        }
    }
    None
}

/// The units for which the record of `number` leaves `order`, if it is one of that order.
fn leaves(log: &OrderLog, number: OrderNumber, order: OrderNumber) -> Option<Quantity> {
    let place = log
        .orders
        .binary_search_by_key(&number, |record| record.number);
    let record = &log.orders[place.ok()?];
    match record.trade.amends {
        Some(amends) => (amends.order == order).then_some(amends.to),
        None => (number == order).then_some(record.trade.quantity),
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{OrderNumber, RequestId, Side, UserId, Version};

    use super::*;
    use crate::Reason;
    use crate::samples::{
        amend, amended, amendment, bought, finding, log, order, refused, trade, units, unknown,
    };

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

    type Change = fn(&mut Vec<OrderRecord>);

    /// Order 0 is made one of 3; then two requests that find it so are told of that, one of which is
    /// sent again, and trades, when the order has become one of 2.
    fn amendments() -> (Vec<Operation>, Vec<OrderRecord>) {
        let told = |span, key: &str, number| {
            let mut one = amended(span, 0, 3, number, number + 2);
            one.call = amend(0, 3, key);
            one
        };
        let operations = vec![
            bought((1, 2), 0, 2),
            told((3, 4), "a", 1),
            told((5, 6), "b", 1),
            told((7, 8), "c", 1),
            amended((9, 10), 0, 2, 2, 4),
            told((11, 12), "c", 3),
            unknown(13, amend(0, 0, "d")),
            refused((14, 15), amend(0, 9, "e"), Reason::Unchangeable),
        ];
        let record = |number, from, to, key: &str| {
            let mut record = amendment(number, 0, from, to);
            record.trade.request = RequestId::from_key(Some(UserId(1)), key);
            record
        };
        let log = vec![
            order(0),
            record(1, 1, 3, "a"),
            record(2, 3, 2, "amendment 2"),
            record(3, 2, 3, "c"),
        ];
        (operations, log)
    }

    #[test]
    fn amendments_are_recorded_or_find_nothing_to_do() {
        let (operations, mut orders) = amendments();
        assert_eq!(
            check(&operations, &[log(1, orders.clone())], true),
            Verdict::Ok
        );
        let mut cancelled = amendment(4, 0, 3, 0);
        cancelled.trade.request = RequestId::from_key(Some(UserId(1)), "d");
        orders.push(cancelled);
        assert_eq!(check(&operations, &[log(1, orders)], true), Verdict::Ok);
    }

    #[test]
    fn an_amendment_that_is_lost_doubled_or_another_is_found() {
        let changes: [(Change, &str); 5] = [
            // Nobody is told of a record that is not there.
            (|log| log.truncate(1), "an acknowledged amendment is lost"),
            (
                |log| log[1].trade.version = Version(9),
                "not recorded as it was acknowledged",
            ),
            (|log| log.push(log[1].clone()), "recorded more than once"),
            (
                |log| log[3].trade.amends.as_mut().unwrap().to = units(4),
                "not recorded as it was asked for",
            ),
            (
                |log| log.push(record_of_refused()),
                "a refused amendment is recorded",
            ),
        ];
        for (change, expected) in changes {
            let (operations, mut orders) = amendments();
            change(&mut orders);
            let found = finding(check(&operations, &[log(1, orders)], true));
            assert!(found.contains(expected), "{found}");
        }
    }

    fn record_of_refused() -> OrderRecord {
        let mut record = amendment(4, 0, 3, 9);
        record.trade.request = RequestId::from_key(Some(UserId(1)), "e");
        record
    }

    #[test]
    fn an_order_that_nobody_asked_for_counts_where_nobody_else_trades() {
        let logs = [log(1, (0..4).map(order))];
        assert_eq!(check(&run(), &logs, false), Verdict::Ok);
        let found = finding(check(&run(), &logs, true));
        assert!(found.contains("that nobody asked for"), "{found}");
    }
}
