//! One key, however often, through whichever frontends and leaders it is sent, is one order, or one
//! restock, with one answer; and no two keys share a number, or a version that they made.
//!
//! It takes time and memory in proportion to operations. That the log has no second order of a key
//! is checked by [`super::set`], and so are amendments: one that finds its order to be as it asks for
//! is answered with what left it so, which another key may have been told as well.

use std::collections::HashMap;

use bazaar_rpc::{ItemNumber, OrderNumber, Version};

use crate::requests::{Asked, Request};
use crate::restocks::Restock;
use crate::verdict::Findings;
use crate::{Operation, Verdict};

/// Checks `operations`.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let requests = Request::all(operations);
    let mut findings = Findings::default();
    let mut owners: HashMap<OrderNumber, &Request<'_>> = HashMap::new();
    let is_trade = |request: &&Request<'_>| matches!(request.asked(), Asked::Trade { .. });
    for request in requests.iter().filter(is_trade) {
        let mut answers = request.acknowledgements();
        let Some((first, acknowledged)) = answers.next() else {
            continue;
        };
        let (number, version) = (acknowledged.number, acknowledged.version);
        for (other, again) in answers {
            let is_other_version = match (version, again.version) {
                (Some(one), Some(other)) => one != other,
                (None, _) | (_, None) => false,
            };
            if again.number != number || is_other_version {
                let what = || "one key was given two answers".into();
                findings.add(what, [first, other]);
            }
        }
        if let Some(owner) = owners.insert(number, request) {
            let what = || format!("order {number} was acknowledged to two keys");
            let both = owner.operations.iter().chain(&request.operations);
            findings.add(what, both);
        }
    }
    check_restocks(operations, &mut findings);
    findings.verdict()
}

/// A restock is known by the version that it made.
fn check_restocks(operations: &[Operation], findings: &mut Findings) {
    let restocks = Restock::all(operations);
    let mut owners: HashMap<(ItemNumber, Version), &Restock<'_>> = HashMap::new();
    for restock in &restocks {
        let mut answers = restock.acknowledgements();
        let Some(first) = answers.next() else {
            continue;
        };
        for again in answers.filter(|again| again.version != first.version) {
            let what = || "one key was given two answers".into();
            findings.add(what, [first.operation, again.operation]);
        }
        if let Some(owner) = owners.insert((restock.item, first.version), restock) {
            let (name, version) = (first.name, first.version);
            let what = || format!("version {version} of {name} was acknowledged to two keys");
            findings.add(what, owner.operations.iter().chain(&restock.operations));
        }
    }
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::Side;

    use super::*;
    use crate::samples::{bought, finding, restocked, trade, traded, unknown};

    #[test]
    fn a_key_that_is_always_answered_alike_is_as_it_should_be() {
        let again = || trade(Side::Buy, 1, "0");
        let operations = [
            bought((1, 2), 0, 2),
            unknown(3, again()),
            traded((4, 5), again(), 0, 2),
            traded((6, 7), again(), 0, 2),
            bought((8, 9), 1, 3),
        ];
        assert_eq!(check(&operations), Verdict::Ok);
    }

    #[test]
    fn a_key_with_two_numbers_or_versions_is_found() {
        for (number, version) in [(1, 2), (0, 3)] {
            let again = traded((4, 5), trade(Side::Buy, 1, "0"), number, version);
            let found = finding(check(&[bought((1, 2), 0, 2), again]));
            assert!(found.contains("two answers"), "{found}");
        }
    }

    #[test]
    fn a_restock_has_one_version_of_its_own() {
        let first = || restocked((1, 2), 5, "a", (105, 2));
        assert_eq!(
            check(&[first(), restocked((3, 4), 5, "a", (105, 2))]),
            Verdict::Ok
        );
        let found = finding(check(&[first(), restocked((3, 4), 5, "a", (105, 3))]));
        assert!(found.contains("two answers"), "{found}");
        let found = finding(check(&[first(), restocked((3, 4), 5, "b", (105, 2))]));
        assert!(found.contains("acknowledged to two keys"), "{found}");
    }

    #[test]
    fn a_number_with_two_keys_is_found() {
        let other = traded((3, 4), trade(Side::Buy, 1, "other"), 0, 3);
        let found = finding(check(&[bought((1, 2), 0, 2), other]));
        assert!(found.contains("acknowledged to two keys"), "{found}");
    }
}
