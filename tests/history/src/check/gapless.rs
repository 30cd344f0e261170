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
