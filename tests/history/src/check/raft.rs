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
