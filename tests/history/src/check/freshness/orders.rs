//! Orders, as objects that are placed, changed and shown: an order that was shown is found from then on,
//! with every change that it had; and with as many changes it is the same to everybody.

use std::collections::{BTreeMap, HashMap};

use bazaar_rpc::{ItemName, OrderNumber, Side};

use crate::verdict::Findings;
use crate::{Answer, Call, Operation, Outcome, Reason, ShownOrder};

/// An operation that showed an order.
struct Shown<'a> {
    operation: &'a Operation,
    order: ShownOrder,
    ended: u64,
}

impl Shown<'_> {
    /// What no change of an order changes.
    fn subject(&self) -> (&ItemName, Side) {
        (&self.order.item, self.order.side)
    }
}

/// Checks what `operations` show of orders.
pub(super) fn check(operations: &[Operation], findings: &mut Findings) {
    let mut orders: BTreeMap<OrderNumber, Vec<Shown<'_>>> = BTreeMap::new();
    for operation in operations {
        if let Some((number, shown)) = shown(operation) {
            orders.entry(number).or_default().push(shown);
        }
    }
    for (number, shown) in &mut orders {
        check_sameness(*number, shown, findings);
        keep_milestones(shown);
    }
    for operation in operations {
        let (Call::Query { number } | Call::Amend { order: number, .. }) = &operation.call else {
            continue;
        };
        let milestones = orders.get(number).map_or(&[][..], Vec::as_slice);
        let before = milestones.partition_point(|one| one.ended < operation.invoked);
        let Some(newest) = before.checked_sub(1).map(|last| &milestones[last]) else {
            continue;
        };
        let evidence = [newest.operation, operation];
        let due = newest.order.changes;
        match (&operation.call, &operation.outcome) {
            (
                _,
                Outcome::Refused {
                    reason: Reason::NotFound,
                    ..
                },
            ) => {
                let what = || format!("order {number} was not found, after it had been shown");
                findings.add(what, evidence);
            }
            // An amendment that is sent again is answered as it was first.
            (
                Call::Query { .. },
                Outcome::Ok {
                    answer: Answer::Order(ShownOrder { changes, .. }),
                    ..
                },
            ) if *changes < due => {
                let what =
                    || format!("a stale order {number}: {changes} changes, after {due} were shown");
                findings.add(what, evidence);
            }
            _ => {}
        }
    }
}

/// The order that an operation was told of.
fn shown(operation: &Operation) -> Option<(OrderNumber, Shown<'_>)> {
    let (number, order) = match (&operation.call, operation.answer()?) {
        (
            Call::Trade {
                item,
                side,
                quantity,
                ..
            },
            Answer::Traded {
                number, version, ..
            },
        ) => {
            let placed = ShownOrder {
                item: item.clone(),
                side: *side,
                quantity: *quantity,
                version: *version,
                changes: 0,
            };
            (number, placed)
        }
        (Call::Query { number }, Answer::Order(order))
        | (Call::Amend { order: number, .. }, Answer::Amended { order, .. }) => {
            (number, order.clone())
        }
        _ => return None,
    };
    let shown = Shown {
        operation,
        order,
        ended: operation.completed()?,
    };
    Some((*number, shown))
}

fn check_sameness(number: OrderNumber, shown: &[Shown<'_>], findings: &mut Findings) {
    let mut first_of: HashMap<u64, &Shown<'_>> = HashMap::new();
    for one in shown {
        let same = *first_of.entry(one.order.changes).or_insert(one);
        let is_other_version = match (one.order.version, shown[0].order.version) {
            (Some(one), Some(first)) => one != first,
            (None, _) | (_, None) => false,
        };
        let other = if one.order.quantity != same.order.quantity {
            same
        } else if is_other_version || one.subject() != shown[0].subject() {
            &shown[0]
        } else {
            continue;
        };
        let what = || format!("order {number} was shown as two different orders");
        findings.add(what, [other.operation, one.operation]);
    }
}

/// Keeps those, in the order of their ends, that showed more changes than all before.
fn keep_milestones(shown: &mut Vec<Shown<'_>>) {
    shown.sort_by_key(|one| one.ended);
    let mut due = 0;
    shown.retain(|one| {
        let is_more = one.order.changes >= due;
        due = due.max(one.order.changes + 1);
        is_more
    });
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;
    use crate::Verdict;
    use crate::samples::{amend, amended, bought, finding, queried, refused, trade, traded};

    const NUMBER: OrderNumber = OrderNumber(0);

    #[test]
    fn orders_that_are_as_they_were_shown_are_as_it_should_be() {
        let operations = [
            bought((1, 2), 0, 2),
            queried((3, 4), 0, 1, 0),
            amended((5, 10), 0, 3, 1, 3),
            // Under way, it may be shown or not.
            queried((6, 8), 0, 3, 1),
            queried((7, 12), 0, 1, 0),
            queried((11, 13), 0, 3, 1),
            amended((14, 15), 0, 0, 2, 4),
            // Sent again, they are answered as they were first.
            amended((16, 17), 0, 3, 1, 3),
            traded((16, 17), trade(Side::Buy, 1, "0"), 0, 2),
            queried((18, 19), 0, 0, 2),
        ];
        assert_eq!(check(&operations), Verdict::Ok);
    }

    #[test]
    fn an_order_that_is_gone_is_found() {
        for call in [Call::Query { number: NUMBER }, amend(0, 3, "a")] {
            let gone = refused((5, 6), call, Reason::NotFound);
            let found = finding(check(&[bought((1, 2), 0, 2), gone.clone()]));
            assert!(found.contains("was not found"), "{found}");
            // Asked for before it was acknowledged, it need not be there.
            assert_eq!(check(&[bought((1, 5), 0, 2), gone]), Verdict::Ok);
        }
    }

    #[test]
    fn an_order_that_is_shown_without_a_change_that_was_acknowledged_is_found() {
        let stale = queried((5, 6), 0, 1, 0);
        let operations = [bought((1, 2), 0, 2), amended((3, 4), 0, 3, 1, 3), stale];
        let found = finding(check(&operations));
        assert!(
            found.starts_with("a stale order 0: 0 changes, after 1 were shown"),
            "{found}"
        );
        // Or that somebody else was shown.
        let operations = [queried((3, 4), 0, 3, 2), queried((5, 6), 0, 2, 1)];
        assert!(finding(check(&operations)).contains("after 2 were shown"));
    }

    #[test]
    fn an_order_that_is_shown_as_two_is_found() {
        let changes: [fn(&mut ShownOrder); 4] = [
            |order| order.version = order.version.map(bazaar_rpc::Version::next),
            |order| order.side = Side::Sell,
            |order| order.item = bazaar_rpc::ItemName::new("BoarCo").unwrap(),
            |order| order.quantity = crate::samples::units(7),
        ];
        for change in changes {
            let mut query = queried((3, 4), 0, 1, 0);
            let Outcome::Ok {
                answer: Answer::Order(order),
                ..
            } = &mut query.outcome
            else {
                unreachable!("it was answered")
            };
            change(order);
            let found = finding(check(&[bought((1, 2), 0, 2), query]));
            assert!(found.contains("two different orders"), "{found}");
        }
    }
}
