//! A lookup that starts after a trade was acknowledged, on any frontend, shows at least that version;
//! lookups of an item never go back; and an order that was acknowledged is found by its number, with
//! every change that was acknowledged.
//!
//! Real time is what counts: an operation starts after another if it was invoked later than the
//! other was completed. Where versions are shown this is what linearizability demands of them, found
//! without a search, in n log n time; each finding names the two operations that contradict each
//! other.

mod orders;

use std::collections::BTreeMap;

use bazaar_rpc::{ItemName, Version};

use crate::requests::{Asked, Fate, Request};
use crate::restocks::Restock;
use crate::verdict::Findings;
use crate::{Answer, Call, Operation, Verdict};

/// An operation that showed a version of an item.
struct Shown<'a> {
    operation: &'a Operation,
    sort: Sort,
    version: Version,
    began: u64,
    ended: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Shows the newest version that there was at some moment while it was under way.
    Lookup,
    /// Made a version of its own. So does a restock.
    Trade,
    /// Made one as well, or found one made by another: so it may be older than the operation.
    Amendment,
}

/// Checks `operations`.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let requests = Request::all(operations);
    let mut findings = Findings::default();
    let mut blind = 0_u64;
    let mut items: BTreeMap<&ItemName, Vec<Shown<'_>>> = BTreeMap::new();
    for operation in operations {
        let (Some(answer), Some(ended)) = (operation.answer(), operation.completed()) else {
            continue;
        };
        let (item, version, sort) = match (&operation.call, answer) {
            (Call::Lookup { item }, Answer::Stock { version, .. }) => (item, version, Sort::Lookup),
            (_, Answer::Amended { order, version, .. }) => (&order.item, version, Sort::Amendment),
            _ => continue,
        };
        let Some(version) = *version else {
            blind += 1;
            continue;
        };
        items.entry(item).or_default().push(Shown {
            operation,
            sort,
            version,
            began: operation.invoked,
            ended,
        });
    }
    for request in &requests {
        let (Asked::Trade { item, .. }, Fate::Acknowledged(first), Some(began)) =
            (request.asked(), request.fate(), request.began())
        else {
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
        items.entry(item).or_default().push(Shown {
            operation: told.unwrap_or(&request.operations[0]),
            sort: Sort::Trade,
            version,
            began,
            ended: first.at,
        });
    }
    let restocks = Restock::all(operations);
    for restock in &restocks {
        let (Some(first), Some(began)) = (restock.acknowledged(), restock.began()) else {
            continue;
        };
        items.entry(first.name).or_default().push(Shown {
            operation: first.operation,
            sort: Sort::Trade,
            version: first.version,
            began,
            ended: first.at,
        });
    }
    for (item, shown) in &items {
        check_item(item, shown, &mut findings);
    }
    orders::check(operations, &mut findings);
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
        let (stale, due) = match one.sort {
            Sort::Lookup => ("lookup", newest.version),
            // Later than all that were there when it began.
            Sort::Trade => ("trade", newest.version.next()),
            Sort::Amendment => continue,
        };
        if one.version < due {
            let what = || {
                let (shown, seen) = (one.version, newest.version);
                let by = match newest.sort {
                    Sort::Lookup => "shown by a lookup that had been answered",
                    Sort::Trade => "made by a trade that had been acknowledged",
                    Sort::Amendment => "shown by an amendment that had been acknowledged",
                };
                format!("a stale {stale} of {item}: version {shown}, after version {seen} was {by}")
            };
            findings.add(what, [newest.operation, one.operation]);
        }
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::Side;

    use super::*;
    use crate::samples::{amended, bought, finding, lookup, ok, trade, traded, units, unknown};

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
    fn a_lookup_of_what_was_before_an_acknowledged_amendment_is_found() {
        let stale = lookup((5, 6), 99, 2);
        let operations = [bought((1, 2), 0, 2), amended((3, 4), 0, 2, 1, 3), stale];
        let found = finding(check(&operations));
        assert!(found.contains("shown by an amendment"), "{found}");
        // One that found nothing to do shows what was before; and so does one that is sent again.
        let operations = [
            bought((1, 2), 0, 2),
            bought((3, 4), 1, 3),
            amended((5, 6), 0, 1, 0, 2),
            lookup((7, 8), 98, 3),
        ];
        assert_eq!(check(&operations), Verdict::Ok);
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
