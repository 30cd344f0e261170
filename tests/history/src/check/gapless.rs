//! Numbers run from 0 without a gap, and so do the sequence numbers of the trades behind them.
//!
//! It takes time in proportion to orders, and no memory.

use crate::verdict::Findings;
use crate::{OrderLog, Verdict};

/// Checks `logs`.
#[must_use]
pub fn check(logs: &[OrderLog]) -> Verdict {
    let mut findings = Findings::default();
    for log in logs {
        let source = &log.source;
        let mut next = 0;
        for order in &log.orders {
            let (number, sequence) = (order.number.0, order.trade.sequence.0);
            if number != next || sequence != next {
                let what = || {
                    format!(
                        "{source}: order number {next} of trade {next} is due, and the next one is \
                         another"
                    )
                };
                findings.add(what, [format!("{source}: {order}")]);
            }
            // One gap is one finding.
            next = number.saturating_add(1);
        }
        if log.applied.0 != next {
            let applied = log.applied;
            let what =
                || format!("{source}: {next} orders, though trades up to {applied} are applied");
            findings.add(what, log.orders.last());
        }
    }
    findings.verdict()
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::TradeSequence;

    use super::*;
    use crate::samples::{finding, log, order};

    #[test]
    fn numbers_from_zero_without_a_gap_are_as_it_should_be() {
        assert_eq!(check(&[log(1, (0..5).map(order)), log(2, [])]), Verdict::Ok);
    }

    #[test]
    fn a_gap_a_repetition_a_late_start_and_a_missing_end_are_found() {
        for numbers in [&[0, 1, 3][..], &[0, 1, 1, 2], &[1, 2], &[0, 2, 1]] {
            let numbers = numbers.iter().copied();
            let found = finding(check(&[log(1, numbers.map(order))]));
            assert!(found.contains("is due"), "{found}");
        }
        let mut short = log(1, (0..5).map(order));
        short.applied = TradeSequence(6);
        let found = finding(check(&[short]));
        assert!(found.contains("5 orders, though trades up to 6"), "{found}");
        let mut skips = order(1);
        skips.trade.sequence = TradeSequence(2);
        finding(check(&[log(1, [order(0), skips])]));
    }
}
