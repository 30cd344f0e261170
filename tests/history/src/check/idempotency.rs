//! One key, however often, through whichever frontends and leaders it is sent, is one order with one
//! answer; and no two keys share a number.
//!
//! It takes time and memory in proportion to operations. That the log has no second order of a key
//! is checked by [`super::set`].

use std::collections::HashMap;

use bazaar_rpc::OrderNumber;

use crate::requests::Request;
use crate::verdict::Findings;
use crate::{Operation, Verdict};

/// Checks `operations`.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let requests = Request::all(operations);
    let mut findings = Findings::default();
    let mut owners: HashMap<OrderNumber, &Request<'_>> = HashMap::new();
    for request in &requests {
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
    findings.verdict()
}
