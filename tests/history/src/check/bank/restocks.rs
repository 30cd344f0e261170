//! What restocks come to: every acknowledged one is in the stock, and where nobody else restocks, no more
//! than was asked for.

use std::collections::BTreeMap;

use bazaar_rpc::ItemNumber;

use crate::restocks::Restock;
use crate::verdict::Findings;
use crate::{Operation, StockRecord, StockReport};

/// The restocks of an item.
#[derive(Default)]
struct Tally<'a> {
    /// Those that were acknowledged,
    made: Sum,
    /// and those that may have been made besides.
    open: Sum,
    evidence: Vec<&'a Operation>,
}

#[derive(Default)]
struct Sum {
    count: u64,
    units: u64,
}

impl Sum {
    fn add(&mut self, restock: &Restock<'_>) {
        self.count += 1;
        self.units += restock.units.units();
    }
}

/// Checks the restocks in `operations` against the newest of `stocks`. Where `is_complete`, there were no
/// others of those items.
pub(super) fn check(
    operations: &[Operation],
    stocks: &[StockReport],
    is_complete: bool,
    findings: &mut Findings,
) {
    let restocks = Restock::all(operations);
    let mut items: BTreeMap<ItemNumber, Tally<'_>> = BTreeMap::new();
    for restock in &restocks {
        let tally = items.entry(restock.item).or_default();
        if restock.acknowledged().is_some() {
            tally.made.add(restock);
        } else if restock.began().is_some() {
            tally.open.add(restock);
        }
        tally.evidence.extend(&restock.operations);
    }
    let newest = stocks
        .iter()
        .max_by_key(|stock| (stock.applied, stock.edits));
    let Some(newest) = newest else { return };
    for (number, tally) in items {
        let record = newest.items.iter().find(|record| record.number == number);
        let StockRecord {
            restocked, edits, ..
        } = match record {
            Some(record) => record,
            None if tally.made.count == 0 => continue,
            None => {
                let what = || format!("item {number} was restocked, and is nowhere");
                findings.add(what, tally.evidence);
                continue;
            }
        };
        let Tally { made, open, .. } = tally;
        let asked = Sum {
            count: made.count + open.count,
            units: made.units + open.units,
        };
        let problem = if *restocked < made.units || *edits < made.count {
            "an acknowledged restock is lost"
        } else if is_complete && (*restocked > asked.units || *edits > asked.count) {
            "a restock is made that nobody asked for, or made twice"
        } else {
            continue;
        };
        let what = || {
            format!(
                "item {number}: {problem}: {} units in {} restocks were acknowledged, and {} in {} \
                 asked for; it has {restocked} units in {edits} edits",
                made.units, made.count, asked.units, asked.count
            )
        };
        findings.add(what, tally.evidence);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use crate::samples::{finding, refused, restock, restocked, stock, units, unknown};
    use crate::{Reason, StockReport, Verdict};

    /// An item with so many restocks, of so many units in all.
    fn stocked(edits: u64, restocked: u64) -> StockReport {
        let mut report = stock(1, 0);
        let item = &mut report.items[0];
        item.edits = edits;
        item.restocked = restocked;
        item.quantity = units(100 + restocked);
        item.version = bazaar_rpc::Version(1 + edits);
        report.edits += edits;
        report
    }

    #[test]
    fn acknowledged_restocks_and_some_of_unknown_outcome_are_as_it_should_be() {
        let operations = [
            restocked((1, 2), 5, "a", (105, 2)),
            restocked((3, 4), 5, "a", (105, 2)),
            unknown(5, restock(3, "b")),
            refused((6, 7), restock(9, "c"), Reason::NotFound),
        ];
        for stock in [stocked(1, 5), stocked(2, 8)] {
            assert_eq!(check(&operations, &[], &[stock], true), Verdict::Ok);
        }
        let found = finding(check(&operations, &[], &[stocked(2, 10)], true));
        assert!(
            found.contains("that nobody asked for, or made twice"),
            "{found}"
        );
        let found = finding(check(&operations, &[], &[stocked(3, 8)], true));
        assert!(found.contains("or made twice"), "{found}");
        // Where somebody else may restock, too.
        assert_eq!(
            check(&operations, &[], &[stocked(3, 10)], false),
            Verdict::Ok
        );
    }

    #[test]
    fn an_acknowledged_restock_that_is_not_in_the_stock_is_lost() {
        let operations = [
            restocked((1, 2), 5, "a", (105, 2)),
            restocked((3, 4), 2, "b", (107, 3)),
        ];
        for stock in [stocked(1, 5), stocked(0, 0)] {
            let found = finding(check(&operations, &[], &[stock], false));
            assert!(found.contains("an acknowledged restock is lost"), "{found}");
            assert!(found.contains("7 units in 2 restocks"), "{found}");
        }
    }
}
