//! Within ten seconds after the last fault, operations succeed again.
//!
//! That is: of each sort of operation that clients went on invoking, one succeeded by then; and all
//! that were invoked later did. It takes time in proportion to operations.

use std::time::Duration;

use crate::operation::Seconds;
use crate::verdict::Findings;
use crate::{Call, Fault, Operation, Outcome, Reason, Verdict};

/// How long operations may fail after the last fault.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// Checks `operations` after `faults`.
#[must_use]
pub fn check(operations: &[Operation], faults: &[Fault], recovery: Duration) -> Verdict {
    let mut ended = 0;
    for fault in faults {
        match fault.ended {
            Some(at) => ended = ended.max(at),
            None => {
                let Fault { place, what, .. } = fault;
                return Verdict::Unknown(format!("{place}: the fault `{what}` did not end"));
            }
        }
    }
    if faults.is_empty() {
        return Verdict::Unknown("there were no faults".into());
    }
    let recovery = u64::try_from(recovery.as_nanos()).unwrap_or(u64::MAX);
    let deadline = ended.saturating_add(recovery);
    let last = last_moment(operations);
    let mut findings = Findings::default();
    let mut is_known = false;
    for sort in Sort::ALL {
        let after = || {
            let of_sort = operations.iter().filter(|one| Sort::of(one) == sort);
            of_sort.filter(|one| one.invoked >= ended)
        };
        let Some(first) = after().min_by_key(|one| one.invoked) else {
            continue;
        };
        let in_time = |one: &&Operation| {
            has_succeeded(one) && one.completed().is_some_and(|at| at <= deadline)
        };
        if after().any(|one| in_time(&one)) {
            is_known = true;
        } else if last < deadline {
            // It may still have come, had anybody waited for it.
            continue;
        } else {
            is_known = true;
            let sort = sort.as_str();
            let what = || {
                let ended = Seconds(ended);
                format!("no {sort} succeeded in time after the last fault ended at {ended}")
            };
            findings.add(what, [first]);
        }
        let has_failed = |one: &&Operation| match one.outcome {
            // Whoever invoked it may just have ended.
            Outcome::Unknown { at: None, .. } => one.invoked.saturating_add(recovery) < last,
            _ => !has_succeeded(one),
        };
        for failed in after().filter(|one| one.invoked > deadline && has_failed(one)) {
            let what = || "an operation failed long after the last fault".into();
            findings.add(what, [failed]);
        }
    }
    if findings.count == 0 && !is_known {
        let ended = Seconds(ended);
        return Verdict::Unknown(format!(
            "the history does not go on long enough after the last fault ended at {ended}"
        ));
    }
    findings.verdict()
}

/// Operations that succeed by different ways.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Lookup,
    Trade,
    Amendment,
    Restock,
    Query,
}

impl Sort {
    const ALL: [Self; 5] = [
        Self::Lookup,
        Self::Trade,
        Self::Amendment,
        Self::Restock,
        Self::Query,
    ];

    fn of(operation: &Operation) -> Self {
        match operation.call {
            Call::Lookup { .. } => Self::Lookup,
            Call::Trade { .. } => Self::Trade,
            Call::Amend { .. } => Self::Amendment,
            Call::Restock { .. } => Self::Restock,
            Call::Query { .. } => Self::Query,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Trade => "trade",
            Self::Amendment => "amendment",
            Self::Restock => "restock",
            Self::Query => "query",
        }
    }
}

/// Whether it was answered by somebody who was able to.
fn has_succeeded(operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Ok { .. } => true,
        Outcome::Refused { reason, .. } => match reason {
            Reason::NotEnoughStock { .. } | Reason::NotFound | Reason::Unchangeable => true,
            Reason::Other(_) => false,
        },
        Outcome::Unknown { .. } => false,
    }
}

/// The last time in the history.
fn last_moment(operations: &[Operation]) -> u64 {
    let moments = operations
        .iter()
        .map(|one| one.completed().unwrap_or(one.invoked));
    moments.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bazaar_rpc::Side;

    use super::*;
    use crate::Place;
    use crate::samples::{bought, finding, lookup, short, trade, unknown};

    /// Times here are in nanoseconds, and so is the time to recover.
    const RECOVERY: Duration = Duration::from_nanos(100);

    fn fault(began: u64, ended: Option<u64>) -> Fault {
        let (file, line) = (Path::new("faults.ndjson").into(), 2);
        Fault {
            place: Place { file, line },
            what: "kill order/3".into(),
            began,
            ended,
        }
    }

    fn verdict(operations: &[Operation]) -> Verdict {
        check(
            operations,
            &[fault(10, Some(1000)), fault(20, Some(30))],
            RECOVERY,
        )
    }

    #[test]
    fn operations_that_succeed_in_time_and_from_then_on_are_as_it_should_be() {
        let operations = [
            unknown(500, trade(Side::Buy, 1, "under a fault")),
            unknown(1010, trade(Side::Buy, 1, "soon after")),
            bought((1020, 1090), 0, 2),
            lookup((1030, 1040), 99, 2),
            bought((1200, 1210), 1, 3),
            short((1220, 1230), 200, None),
        ];
        assert_eq!(verdict(&operations), Verdict::Ok);
    }

    #[test]
    fn a_sort_of_operation_that_does_not_succeed_in_time_is_found() {
        let operations = [lookup((1030, 1040), 99, 2), bought((1020, 1300), 0, 2)];
        let found = finding(verdict(&operations));
        assert!(found.contains("no trade succeeded in time"), "{found}");
        let mut never = unknown(1010, trade(Side::Buy, 1, "k"));
        never.outcome = Outcome::Unknown {
            at: None,
            reason: "none".into(),
        };
        finding(verdict(&[never, lookup((1030, 1400), 99, 2)]));
    }

    #[test]
    fn an_operation_that_fails_later_is_found() {
        let late = unknown(1500, trade(Side::Buy, 1, "k"));
        let found = finding(verdict(&[bought((1020, 1030), 0, 2), late]));
        assert!(found.contains("long after"), "{found}");
    }

    #[test]
    fn a_history_that_ends_too_soon_or_a_fault_that_does_not_leave_it_open() {
        assert!(matches!(
            verdict(&[bought((500, 510), 0, 2)]),
            Verdict::Unknown(_)
        ));
        let early = unknown(1010, trade(Side::Buy, 1, "k"));
        assert!(matches!(verdict(&[early]), Verdict::Unknown(_)));
        let fine = [bought((1020, 1030), 0, 2)];
        let verdict = check(&fine, &[fault(10, None)], RECOVERY);
        assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("kill order/3")));
        assert!(matches!(check(&fine, &[], RECOVERY), Verdict::Unknown(_)));
    }
}
