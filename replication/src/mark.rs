//! Positions in the log, as services store them with their state.

use openraft::StoredMembership;
use openraft::vote::leader_id_std::CommittedLeaderId;
use serde::{Deserialize, Serialize};

use crate::types::{LogId, Membership, SnapshotMeta};

/// A position in the log, with the group's membership there. The service stores it in the same
/// write as the effects of the commands up to it, and never looks inside.
///
/// Any serde format carries it, self-describing or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last entry up to here.
    pub(crate) log_id: LogId,
    /// The membership that holds there.
    pub(crate) membership: Membership,
}

impl Mark {
    /// The index of the last log entry up to here.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.log_id.index
    }

    /// A mark at `index`, of no group: for the tests of a state machine.
    #[must_use]
    pub fn sample(index: u64) -> Self {
        let leader_id = CommittedLeaderId::new(1);
        Self {
            log_id: LogId { leader_id, index },
            membership: StoredMembership::default(),
        }
    }

    /// What openraft calls the snapshot at this mark.
    pub(crate) fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(self.log_id),
            last_membership: self.membership.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Membership;

    use super::*;
    use crate::types::Node;

    #[test]
    fn a_mark_survives_json_and_postcard() {
        let nodes: BTreeMap<u64, Node> = [(1, Node::default()), (2, Node::default())].into();
        let membership = Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
        let log_id = Mark::sample(7).log_id;
        let mark = Mark {
            log_id,
            membership: StoredMembership::new(Some(log_id), membership),
        };
        let json = serde_json::to_string(&mark).unwrap();
        assert_eq!(serde_json::from_str::<Mark>(&json).unwrap(), mark);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::from_value::<Mark>(value).unwrap(), mark);
        let bytes = postcard::to_stdvec(&mark).unwrap();
        assert_eq!(postcard::from_bytes::<Mark>(&bytes).unwrap(), mark);
    }
}
