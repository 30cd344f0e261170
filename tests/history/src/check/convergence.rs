//! All replicas of a group end equal.
//!
//! Order logs must be equal to their ends. Catalog replicas write their stock down at times of their
//! own, so those are compared that have applied the same trades; that each is right as of its own
//! position is for [`super::bank`] to say. It takes time in proportion to what replicas hold.

use std::collections::BTreeMap;

use bazaar_rpc::TradeSequence;

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
    let mut at: BTreeMap<TradeSequence, &StockReport> = BTreeMap::new();
    for stock in stocks {
        let first = at.entry(stock.applied).or_insert(stock);
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
    let by_name = |report: &StockReport| -> BTreeMap<_, _> {
        let items = report.items.iter();
        items
            .map(|item| (item.item.clone(), item.clone()))
            .collect()
    };
    let (left, right) = (by_name(one), by_name(other));
    let names = left
        .keys()
        .chain(right.keys().filter(|name| !left.contains_key(*name)));
    for name in names {
        if left.get(name) != right.get(name) {
            let what = || {
                let applied = one.applied;
                format!(
                    "{a} and {b} differ in {name}, with trades before {applied} applied by both"
                )
            };
            let show = |source, item| format!("{source}: {item:?}");
            findings.add(what, [show(a, left.get(name)), show(b, right.get(name))]);
        }
    }
}
