//! All replicas of a group end equal.
//!
//! Order logs must be equal to their ends. Catalog replicas write their stock down at times of their
//! own, so those are compared that have applied the same trades and edits; that each is right as of its own
//! position is for [`super::bank`] to say. It takes time in proportion to what replicas hold.

use std::collections::BTreeMap;

use crate::verdict::Findings;
use crate::{OrderLog, StockReport, Verdict};

/// Checks `logs` and `stocks`, each among themselves.
#[must_use]
pub fn check(logs: &[OrderLog], stocks: &[StockReport]) -> Verdict {
    let mut findings = Findings::default();
    if let Some((first, others)) = logs.split_first() {
        for other in others {
            compare_logs(first, other, &mut findings);
        }
    }
    let mut at: BTreeMap<_, &StockReport> = BTreeMap::new();
    for stock in stocks {
        let first = at.entry((stock.applied, stock.edits)).or_insert(stock);
        compare_stocks(first, stock, &mut findings);
    }
    findings.verdict()
}

fn compare_logs(one: &OrderLog, other: &OrderLog, findings: &mut Findings) {
    let (a, b) = (&one.source, &other.source);
    let both = one.orders.iter().zip(&other.orders);
    let differing = both.filter(|(left, right)| left != right);
    for (left, right) in differing {
        let what = || format!("{a} and {b} differ in their logs");
        findings.add(what, [format!("{a}: {left}"), format!("{b}: {right}")]);
    }
    let (longer, shorter) = if one.orders.len() > other.orders.len() {
        (one, other)
    } else {
        (other, one)
    };
    if let Some(missing) = longer.orders.get(shorter.orders.len()) {
        let (longer, shorter) = (&longer.source, &shorter.source);
        let what = || {
            let (left, right) = (one.orders.len(), other.orders.len());
            format!("{shorter} lacks orders of {longer}: {a} has {left}, {b} has {right}")
        };
        findings.add(what, [format!("{longer}: {missing}")]);
    }
}

fn compare_stocks(one: &StockReport, other: &StockReport, findings: &mut Findings) {
    let (a, b) = (&one.source, &other.source);
    let by_number = |report: &StockReport| -> BTreeMap<_, _> {
        let items = report.items.iter();
        items.map(|item| (item.number, item.clone())).collect()
    };
    let (left, right) = (by_number(one), by_number(other));
    let numbers = left
        .keys()
        .chain(right.keys().filter(|number| !left.contains_key(*number)));
    for number in numbers {
        let (left, right) = (left.get(number), right.get(number));
        if left != right {
            let what = || {
                let applied = one.applied;
                let name = left.or(right).map(|item| item.item.to_string());
                let name = name.unwrap_or_default();
                format!(
                    "{a} and {b} differ in {name}, with trades before {applied} applied by both"
                )
            };
            let show = |source, item| format!("{source}: {item:?}");
            findings.add(what, [show(a, left), show(b, right)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{finding, log, order, stock, units};

    #[test]
    fn equal_replicas_and_stocks_of_other_positions_are_as_it_should_be() {
        let logs = [1, 2, 3].map(|replica| log(replica, (0..5).map(order)));
        let stocks = [stock(1, 5), stock(2, 5), stock(3, 2)];
        assert_eq!(check(&logs, &stocks), Verdict::Ok);
    }

    #[test]
    fn a_log_that_is_shorter_or_other_is_found() {
        let whole = || log(1, (0..5).map(order));
        let shorter = log(2, (0..4).map(order));
        let found = finding(check(&[whole(), shorter.clone()], &[]));
        assert!(found.starts_with("order/2 lacks"), "{found}");
        let found = finding(check(&[shorter, whole()], &[]));
        assert!(found.starts_with("order/2 lacks"), "{found}");
        let mut other = whole();
        other.orders.swap(2, 3);
        let found = finding(check(&[whole(), whole(), other], &[]));
        assert!(found.contains("differ in their logs"), "{found}");
    }

    #[test]
    fn stocks_that_differ_at_one_position_are_found() {
        let mut other = stock(2, 5);
        other.items[0].quantity = units(94);
        let found = finding(check(&[], &[stock(1, 5), other]));
        assert!(found.contains("differ in GameStart"), "{found}");
        let mut none = stock(2, 5);
        none.items.clear();
        finding(check(&[], &[stock(1, 5), none.clone()]));
        // One more edit makes another position.
        none.edits += 1;
        assert_eq!(check(&[], &[stock(1, 5), none]), Verdict::Ok);
    }
}
