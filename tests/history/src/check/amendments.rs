//! Every amendment follows from its order as it was left: it is from the units that the amendment
//! before it was to, and trades the difference; nothing follows a cancel. So a cancel returns stock
//! once, and in every log an order ends with the units that its trades have moved.
//!
//! It takes time in proportion to orders times replicas, and memory in proportion to amended orders.

use std::collections::HashMap;

use bazaar_rpc::{OrderNumber, Quantity};

use crate::verdict::Findings;
use crate::{AmendmentRecord, OrderLog, OrderRecord, Verdict};

/// An order that is amended.
struct Amended<'a> {
    /// As it was placed,
    original: &'a OrderRecord,
    /// and as it was left.
    last: &'a OrderRecord,
    quantity: Quantity,
}

/// Checks `logs`.
#[must_use]
pub fn check(logs: &[OrderLog]) -> Verdict {
    let mut findings = Findings::default();
    for log in logs {
        check_log(log, &mut findings);
    }
    findings.verdict()
}

fn check_log(log: &OrderLog, findings: &mut Findings) {
    let mut amended = HashMap::new();
    for (place, record) in log.orders.iter().enumerate() {
        let Some(amendment) = record.trade.amends else {
            continue;
        };
        let source = &log.source;
        let number = amendment.order;
        let Some(original) = original(&log.orders[..place], number) else {
            let what =
                || format!("{source}: an amendment of {number}, which is no order before it");
            findings.add(what, [format!("{source}: {record}")]);
            continue;
        };
        let order = amended.entry(number).or_insert(Amended {
            original,
            last: original,
            quantity: original.trade.quantity,
        });
        if let Some(problem) = problem(order, record, amendment) {
            let what = || format!("{source}: {problem}");
            let evidence = [order.original, order.last, record];
            findings.add(what, evidence.map(|record| format!("{source}: {record}")));
        }
        // One break in the chain is one finding.
        order.last = record;
        order.quantity = amendment.to;
    }
}

/// The order of that number among `before`, where it is no amendment.
fn original(before: &[OrderRecord], number: OrderNumber) -> Option<&OrderRecord> {
    let place = usize::try_from(number.0).ok()?;
    let order = before.get(place).filter(|order| order.number == number)?;
    order.trade.amends.is_none().then_some(order)
}

/// What is wrong with `record`, which makes `amendment` of `order`.
fn problem(
    order: &Amended<'_>,
    record: &OrderRecord,
    amendment: AmendmentRecord,
) -> Option<&'static str> {
    let AmendmentRecord { from, to, .. } = amendment;
    let (original, trade) = (&order.original.trade, &record.trade);
    let side = if to > from {
        original.side
    } else {
        original.side.opposite()
    };
    if order.quantity == Quantity::default() {
        Some("a cancelled order is amended")
    } else if from != order.quantity {
        Some("an amendment is not from what the one before it was to")
    } else if (trade.side, trade.quantity) != (side, from.abs_diff(to)) || from == to {
        Some("an amendment does not trade its difference")
    } else if trade.item != original.item {
        Some("an amendment trades another item than its order")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{ItemName, Side};

    use super::*;
    use crate::samples::{amendment, finding, log, order, units};

    /// Order 0 is bought, goes from one unit to three and to two, and is cancelled; order 2 is
    /// cancelled at once.
    fn sound() -> Vec<OrderRecord> {
        vec![
            order(0),
            amendment(1, 0, 1, 3),
            order(2),
            amendment(3, 0, 3, 2),
            amendment(4, 2, 1, 0),
            amendment(5, 0, 2, 0),
        ]
    }

    #[track_caller]
    fn finds(change: fn(&mut Vec<OrderRecord>), expected: &str) {
        let mut orders = sound();
        change(&mut orders);
        let found = finding(check(&[log(1, sound()), log(2, orders)]));
        assert!(
            found.starts_with(&format!("order/2: {expected}")),
            "{found}"
        );
    }

    #[test]
    fn amendments_that_follow_from_one_another_are_as_it_should_be() {
        assert_eq!(check(&[log(1, sound()), log(2, [])]), Verdict::Ok);
    }

    #[test]
    fn stock_that_is_returned_twice_is_found() {
        let twice = "a cancelled order is amended";
        finds(|orders| orders.push(amendment(6, 0, 2, 0)), twice);
        finds(|orders| orders.push(amendment(6, 2, 0, 1)), twice);
    }

    #[test]
    fn two_amendments_upon_one_quantity_are_found() {
        let both = "an amendment is not from what the one before it was to";
        finds(|orders| orders[3] = amendment(3, 0, 1, 2), both);
        finds(|orders| orders[1] = amendment(1, 0, 2, 3), both);
    }

    #[test]
    fn an_amendment_that_trades_something_else_is_found() {
        let other = "an amendment does not trade its difference";
        finds(|orders| orders[1].trade.quantity = units(3), other);
        finds(|orders| orders[1].trade.side = Side::Sell, other);
        finds(|orders| orders[5].trade.side = Side::Buy, other);
        finds(|orders| orders[1] = amendment(1, 0, 1, 1), other);
        let another = |orders: &mut Vec<OrderRecord>| {
            orders[1].trade.item = ItemName::new("BoarCo").unwrap();
        };
        finds(another, "an amendment trades another item");
    }

    #[test]
    fn an_amendment_of_no_order_is_found() {
        finds(
            |orders| orders[3] = amendment(3, 1, 3, 2),
            "an amendment of 1, which is no order before it",
        );
        finds(
            |orders| orders[1] = amendment(1, 2, 1, 3),
            "an amendment of 2",
        );
    }
}
