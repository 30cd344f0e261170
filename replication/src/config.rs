//! How a replica takes part in its group, and the times by which groups run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bazaar_rpc::ServiceName;

/// How often a leader tells its followers that it lives; see [`crate::heartbeat`].
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(20);

/// The longest round trip between two replicas with which a group works, in milliseconds: openraft
/// waits so long for the answer to a heartbeat, and confirms a leadership by nothing else.
const ROUND_TRIP: u64 = 100;

/// The lower end of the first election window, in milliseconds. openraft waits so long for a vote. A
/// replica stands for election when it has not heard from a leader for the upper end of its window,
/// and then for a time somewhere inside it.
const ELECTION: u64 = 110;

/// The width of one replica's election window, in milliseconds. Windows do not overlap: the highest
/// id has the first one, the next highest the second, and so on.
const ELECTION_WINDOW: u64 = 15;

/// The delays between attempts to reach a replica that is down. Short, because a connection that is
/// refused costs little; a replica that returns says hello and resets them.
const BACKOFF: &str = "20ms 40ms ..200ms";

/// The most entries in one append request; see also the bound on its bytes in the log store.
const MAX_ENTRIES_PER_APPEND: u64 = 1024;

/// The most requests that wait for the consensus core.
const CORE_QUEUE: u64 = 1024;

/// How a replica takes part in its group.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica, such as `order/3`.
    pub name: ServiceName,
    /// The ids of the group's founding members; this replica's is one of them.
    pub members: BTreeSet<u64>,
    /// Where the log, the vote and this replica's identity are kept. Locked by the caller.
    pub dir: PathBuf,
    /// A view is persisted, and the log purged, after so many entries,
    pub snapshot_entries: u64,
    /// or so long after a change, whichever comes first. Either is put off where persisting would
    /// otherwise take more than a twentieth of the time.
    pub snapshot_interval: Duration,
    /// So many of the last entries stay in the log when it is purged, so that a replica which was
    /// absent briefly catches up by log.
    pub kept_entries: u64,
}

impl Config {
    /// The other founding members.
    pub(crate) fn others(&self) -> impl Iterator<Item = ServiceName> {
        self.members
            .iter()
            .filter(|id| **id != self.name.id)
            .map(|id| ServiceName::new(self.name.kind, *id))
    }

    /// How many founding members have a higher id: 0 for the one that leads where it can.
    pub(crate) fn rank(&self) -> u64 {
        self.members.range(self.name.id + 1..).count() as u64
    }

    /// openraft's own configuration.
    pub(crate) fn openraft(&self) -> Result<openraft::Config, openraft::ConfigError> {
        let election = ELECTION + self.rank() * ELECTION_WINDOW;
        openraft::Config {
            cluster_name: self.name.kind.to_string(),
            heartbeat_interval: ROUND_TRIP,
            election_timeout_min: election,
            election_timeout_max: election + ELECTION_WINDOW,
            // A replica that was paused or cut off does not disturb a leader when it returns.
            enable_pre_vote: Some(true),
            // Allowed once it has a vote: see `leadership`.
            enable_elect: false,
            // A leadership ends with its process: no two of them share a term.
            enable_leader_restore: Some(false),
            // Acknowledged entries are on disk, and a replica without its disk is refused, so no
            // log ever goes back. Should one do so all the same, on a disk that lies, then the
            // leader must mend that replica, and not die of it.
            allow_log_reversion: Some(true),
            max_payload_entries: MAX_ENTRIES_PER_APPEND,
            api_channel_size: Some(CORE_QUEUE),
            // The group persists its state by a policy of its own.
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.kept_entries,
            backoff: BACKOFF.into(),
            ..openraft::Config::default()
        }
        .validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(id: u64, members: impl IntoIterator<Item = u64>) -> Config {
        Config {
            name: format!("order/{id}").parse().unwrap(),
            members: members.into_iter().collect(),
            dir: PathBuf::new(),
            snapshot_entries: 1,
            snapshot_interval: Duration::ZERO,
            kept_entries: 1,
        }
    }

    #[test]
    fn higher_ids_stand_for_election_earlier_and_windows_do_not_overlap() {
        let members = [1, 2, 3, 7, 9];
        let windows: Vec<_> = members
            .iter()
            .map(|id| config(*id, members).openraft().unwrap())
            .map(|config| (config.election_timeout_min, config.election_timeout_max))
            .collect();
        for pair in windows.windows(2) {
            assert!(pair[1].1 <= pair[0].0, "{windows:?}");
        }
    }

    #[test]
    fn the_others_are_all_members_but_oneself() {
        let others: Vec<_> = config(2, [1, 2, 3])
            .others()
            .map(|name| name.to_string())
            .collect();
        assert_eq!(others, ["order/1", "order/3"]);
    }
}
