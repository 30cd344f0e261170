//! What holds of every Raft group (Ongaro & Ousterhout, "In Search of an Understandable Consensus
//! Algorithm", 2014, figure 3), as far as it shows from outside:
//!
//! - a term has one leader at most;
//! - the term of a replica never goes back, not even when it starts again;
//! - replicas that have applied the same entries have the same state.
//!
//! It takes time in proportion to observations, and memory in proportion to terms and indexes seen.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::verdict::Findings;
use crate::{Observation, Verdict};

/// Checks `observations`, which are in order of time for each replica.
#[must_use]
pub fn check(observations: &[Observation]) -> Verdict {
    let mut findings = Findings::default();
    let mut leaders = HashMap::new();
    let mut digests = HashMap::new();
    let mut last: HashMap<_, &Observation> = HashMap::new();
    for seen in observations {
        let group = seen.replica.kind;
        if let Some(before) = last.insert(seen.replica, seen)
            && before.term > seen.term
        {
            let what = || format!("the term of {} went back", seen.replica);
            findings.add(what, [show(before), show(seen)]);
        }
        if seen.leader.is_some() {
            let first = first_of(&mut leaders, (group, seen.term), seen);
            if first.leader != seen.leader {
                let what = || format!("the {group} group had two leaders in term {}", seen.term);
                findings.add(what, [show(first), show(seen)]);
            }
        }
        if let (Some(applied), Some(digest)) = (seen.applied, &seen.digest) {
            let first = first_of(&mut digests, (group, applied), seen);
            if first.digest.as_ref() != Some(digest) {
                let what = || format!("the {group} group has two states at index {applied}");
                findings.add(what, [show(first), show(seen)]);
            }
        }
    }
    findings.verdict()
}

/// The first observation under `key`: an earlier one, or `seen`.
fn first_of<'a, K: std::hash::Hash + Eq>(
    firsts: &mut HashMap<K, &'a Observation>,
    key: K,
    seen: &'a Observation,
) -> &'a Observation {
    match firsts.entry(key) {
        Entry::Occupied(first) => first.get(),
        Entry::Vacant(place) => place.insert(seen),
    }
}

fn show(seen: &Observation) -> String {
    serde_json::to_string(seen).expect("an observation is JSON")
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::Term;

    use super::*;
    use crate::samples::finding;

    fn seen(
        replica: &str,
        term: u64,
        leader: Option<&str>,
        state: Option<(u64, &str)>,
    ) -> Observation {
        Observation {
            at: 0,
            replica: replica.parse().unwrap(),
            term: Term(term),
            leader: leader.map(|leader| leader.parse().unwrap()),
            applied: state.map(|(applied, _)| applied),
            digest: state.map(|(_, digest)| digest.into()),
        }
    }

    #[test]
    fn one_leader_a_term_and_one_state_an_index_are_as_it_should_be() {
        let observations = [
            seen("order/1", 1, None, Some((3, "a"))),
            seen("order/1", 1, Some("order/3"), Some((4, "b"))),
            seen("order/2", 1, Some("order/3"), Some((4, "b"))),
            seen("order/2", 2, Some("order/2"), Some((9, "c"))),
            // The other group's terms are its own.
            seen("catalog/1", 1, Some("catalog/1"), Some((4, "z"))),
        ];
        assert_eq!(check(&observations), Verdict::Ok);
    }

    #[test]
    fn two_leaders_a_term_that_goes_back_and_two_states_are_found() {
        let one = || seen("order/1", 2, Some("order/3"), Some((4, "a")));
        let found = finding(check(&[one(), seen("order/2", 2, Some("order/2"), None)]));
        assert!(found.contains("two leaders in term 2"), "{found}");
        let found = finding(check(&[one(), seen("order/1", 1, None, None)]));
        assert!(found.contains("the term of order/1 went back"), "{found}");
        let found = finding(check(&[one(), seen("order/2", 2, None, Some((4, "b")))]));
        assert!(found.contains("two states at index 4"), "{found}");
    }
}
