//! A lookup that starts after a trade was acknowledged, on any frontend, shows at least that version;
//! lookups of an item never go back; and an order that was acknowledged is found by its number.
//!
//! Real time is what counts: an operation starts after another if it was invoked later than the
//! other was completed. Where versions are shown this is what linearizability demands of them, found
//! without a search, in n log n time; each finding names the two operations that contradict each
//! other.

use std::collections::{BTreeMap, HashMap};

use bazaar_rpc::{ItemName, OrderNumber, Quantity, Side, Version};

use crate::requests::{Fate, Request};
use crate::verdict::Findings;
use crate::{Answer, Call, Operation, Outcome, Reason, Verdict};

/// An operation that showed a version of an item.
struct Shown<'a> {
    operation: &'a Operation,
    version: Version,
    is_trade: bool,
    began: u64,
    ended: u64,
}

/// Checks `operations`.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let requests = Request::all(operations);
    let mut findings = Findings::default();
    let mut blind = 0_u64;
    let mut items: BTreeMap<&ItemName, Vec<Shown<'_>>> = BTreeMap::new();
    for operation in operations {
        let (Call::Lookup { item }, Some(Answer::Stock { version, .. }), Some(ended)) =
            (&operation.call, operation.answer(), operation.completed())
        else {
            continue;
        };
        let Some(version) = *version else {
            blind += 1;
            continue;
        };
        items.entry(item).or_default().push(Shown {
            operation,
            version,
            is_trade: false,
            began: operation.invoked,
            ended,
        });
    }
    for request in &requests {
        let (Fate::Acknowledged(first), Some(began)) = (request.fate(), request.began()) else {
            continue;
        };
        let Some(version) = first.version else {
            blind += 1;
            continue;
        };
        let told = request
            .operations
            .iter()
            .find(|one| one.completed() == Some(first.at));
        items.entry(request.asked().item).or_default().push(Shown {
            operation: told.unwrap_or(&request.operations[0]),
            version,
            is_trade: true,
            began,
            ended: first.at,
        });
    }
    for (item, shown) in &items {
        check_item(item, shown, &mut findings);
    }
    check_queries(operations, &mut findings);
    if findings.count == 0 && blind > 0 {
        return Verdict::Unknown(format!(
            "{blind} answers did not say which version they show"
        ));
    }
    findings.verdict()
}

fn check_item(item: &ItemName, shown: &[Shown<'_>], findings: &mut Findings) {
    let mut begins: Vec<_> = shown.iter().collect();
    begins.sort_by_key(|one| one.began);
    let mut ends: Vec<_> = shown.iter().collect();
    ends.sort_by_key(|one| one.ended);
    let mut ends = ends.into_iter().peekable();
    // The newest version that anybody was shown before.
    let mut newest: Option<&Shown<'_>> = None;
    for one in begins {
        while let Some(ended) = ends.next_if(|other| other.ended < one.began) {
            if newest.is_none_or(|newest| newest.version < ended.version) {
                newest = Some(ended);
            }
        }
        let Some(newest) = newest else { continue };
        // A trade makes a version of its own, later than all that were there when it began.
        let due = if one.is_trade {
            newest.version.next()
        } else {
            newest.version
        };
        if one.version < due {
            let what = || {
                let stale = if one.is_trade { "trade" } else { "lookup" };
                let (shown, seen) = (one.version, newest.version);
                let by = if newest.is_trade {
                    "made by a trade that had been acknowledged"
                } else {
                    "shown by a lookup that had been answered"
                };
                format!("a stale {stale} of {item}: version {shown}, after version {seen} was {by}")
            };
            findings.add(what, [newest.operation, one.operation]);
        }
    }
}

/// What an order is, and who was told so, when.
struct Known<'a> {
    what: (&'a ItemName, Side, Quantity, Option<Version>),
    operation: &'a Operation,
    at: u64,
}

fn check_queries(operations: &[Operation], findings: &mut Findings) {
    let mut known: HashMap<OrderNumber, Known<'_>> = HashMap::new();
    for operation in operations {
        let Some((number, one)) = tells_of_order(operation) else {
            continue;
        };
        match known.get_mut(&number) {
            None => {
                known.insert(number, one);
            }
            Some(first) => {
                if !agree(first.what, one.what) {
                    let what = || format!("order {number} was shown as two different orders");
                    findings.add(what, [first.operation, operation]);
                }
                if one.at < first.at {
                    *first = one;
                }
            }
        }
    }
    for operation in operations {
        let (
            Call::Query { number },
            Outcome::Refused {
                reason: Reason::NotFound,
                ..
            },
        ) = (&operation.call, &operation.outcome)
        else {
            continue;
        };
        if let Some(first) = known
            .get(number)
            .filter(|first| first.at < operation.invoked)
        {
            let what = || format!("order {number} was not found, after it had been shown");
            findings.add(what, [first.operation, operation]);
        }
    }
}

/// The order that an operation was told of.
fn tells_of_order(operation: &Operation) -> Option<(OrderNumber, Known<'_>)> {
    let at = operation.completed()?;
    let (number, what) = match (&operation.call, operation.answer()?) {
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
        ) => (*number, (item, *side, *quantity, *version)),
        (
            Call::Query { number },
            Answer::Order {
                item,
                side,
                quantity,
                version,
            },
        ) => (*number, (item, *side, *quantity, *version)),
        _ => return None,
    };
    let known = Known {
        what,
        operation,
        at,
    };
    Some((number, known))
}

type What<'a> = (&'a ItemName, Side, Quantity, Option<Version>);

fn agree(one: What<'_>, other: What<'_>) -> bool {
    let versions = match (one.3, other.3) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => true,
    };
    versions && (one.0, one.1, one.2) == (other.0, other.1, other.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{bought, finding, item, lookup, ok, operation, refused, trade, traded};
    use crate::samples::{units, unknown};

    fn query((invoked, at): (u64, u64), number: u64, version: u64) -> Operation {
        let answer = Answer::Order {
            item: item(),
            side: Side::Buy,
            quantity: units(1),
            version: Some(Version(version)),
        };
        let number = OrderNumber(number);
        operation(invoked, Call::Query { number }, ok(at, answer))
    }

    #[test]
    fn lookups_that_show_what_was_acknowledged_or_is_under_way_are_as_it_should_be() {
        let operations = [
            lookup((1, 2), 100, 1),
            bought((3, 10), 0, 2),
            // Under way, it may show what was before and what is after.
            lookup((4, 5), 100, 1),
            lookup((6, 7), 99, 2),
            lookup((9, 12), 99, 2),
            bought((10, 20), 1, 3),
            lookup((11, 30), 98, 3),
            // Sent again, it is answered as it was first.
            traded((40, 41), trade(Side::Buy, 1, "0"), 0, 2),
            query((50, 51), 0, 2),
        ];
        assert_eq!(check(&operations), Verdict::Ok);
    }

    #[test]
    fn a_lookup_of_what_was_before_an_acknowledged_trade_is_found() {
        let found = finding(check(&[bought((3, 10), 0, 2), lookup((11, 12), 100, 1)]));
        assert!(
            found.contains("a stale lookup of GameStart: version 1"),
            "{found}"
        );
        assert!(found.contains("client.ndjson:5"), "{found}");
        assert!(found.contains("client.ndjson:13"), "{found}");
    }

    #[test]
    fn lookups_that_go_back_are_found_while_the_trade_is_unknown() {
        let operations = [
            unknown(1, trade(Side::Buy, 1, "k")),
            lookup((2, 3), 99, 2),
            lookup((4, 5), 100, 1),
        ];
        let found = finding(check(&operations));
        assert!(found.contains("shown by a lookup"), "{found}");
    }

    #[test]
    fn a_trade_on_what_was_before_is_found() {
        let found = finding(check(&[bought((1, 2), 0, 2), bought((3, 4), 1, 2)]));
        assert!(found.contains("a stale trade"), "{found}");
    }

    #[test]
    fn an_order_that_is_gone_or_has_changed_is_found() {
        let number = OrderNumber(0);
        let gone = refused((5, 6), Call::Query { number }, Reason::NotFound);
        let found = finding(check(&[bought((1, 2), 0, 2), gone.clone()]));
        assert!(found.contains("was not found"), "{found}");
        // Asked for before it was acknowledged, it need not be there.
        assert_eq!(check(&[bought((1, 5), 0, 2), gone]), Verdict::Ok);
        let found = finding(check(&[bought((1, 2), 0, 2), query((3, 4), 0, 3)]));
        assert!(found.contains("two different orders"), "{found}");
    }

    #[test]
    fn answers_without_versions_leave_it_open() {
        let mut blind = lookup((1, 2), 100, 1);
        blind.outcome = ok(
            2,
            Answer::Stock {
                quantity: units(100),
                version: None,
            },
        );
        assert!(matches!(check(&[blind]), Verdict::Unknown(_)));
    }
}
