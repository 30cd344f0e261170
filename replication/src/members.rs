//! Who belongs to the group: how a replica whose disk is lost makes way for one with an empty disk.
//!
//! A replica is known by its id *and* by the identity of its data directory. The id is the number in
//! its name and comes back; the pair never does, and it is the pair that openraft's rule against the
//! reuse of ids is about. Three things see to that:
//!
//! - Calls between replicas carry the identity that they mean, and another one refuses them.
//! - A replica stands for election only while its membership, as far as it has come in the log, gives
//!   it a vote under its own identity: on its way through the log of its predecessor it comes by
//!   memberships that give that one a vote ([`has_vote`]).
//! - The old identity is removed before the new one is let in, by a majority in which it is not.
//!   Whatever majority of an earlier membership might be brought together with the new replica then
//!   has somebody in it who knows better.
//!
//! A change moves one voter and is one log entry, as in section 4.1 of Ongaro's dissertation. The new
//! replica drives its admission by saying hello until it has a vote: first it is made a learner, and a
//! voter once it has the log. So whoever leads at that moment does the next step, and nobody needs to
//! remember that there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bazaar_daemon::Tasks;
use bazaar_rpc::ServiceName;
use bazaar_rpc::replica::RemoveError;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::Precondition;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};
use uuid::Uuid;

use crate::barrier::Barriers;
use crate::error::ProposeError;
use crate::peer::Caller;
use crate::types::{Membership, Node, Payload, Raft};

/// How long a change may take to be agreed on.
const LIMIT: Duration = Duration::from_secs(5);

/// A learner that lacks at most so many entries gets its vote: it will soon have those, too.
const MAX_LAG: u64 = 1_000;

/// Whether the replica `id` whose data directory is `replica` has a vote.
pub(crate) fn has_vote(membership: &Membership, id: u64, replica: Uuid) -> bool {
    let known = membership.get_node(&id).map(|node| node.replica);
    known == Some(replica) && membership.voter_ids().any(|voter| voter == id)
}

/// Changes the membership of the group that this replica leads. Clones share it.
#[derive(Clone)]
pub(crate) struct Members {
    name: ServiceName,
    /// The ids that replicas of this group can have.
    founding: Arc<BTreeSet<u64>>,
    raft: Raft,
    barriers: Barriers,
    tasks: Tasks,
    /// Held while a change is under way.
    changing: Arc<Mutex<()>>,
}

impl Members {
    pub(crate) fn new(
        name: ServiceName,
        founding: Arc<BTreeSet<u64>>,
        raft: Raft,
        barriers: Barriers,
        tasks: Tasks,
    ) -> Self {
        Self {
            name,
            founding,
            raft,
            barriers,
            tasks,
            changing: Arc::default(),
        }
    }

    /// Removes the replica `id` from the group: nothing that its disk held counts any more. Does
    /// nothing where it was removed already.
    pub(crate) async fn remove(&self, id: u64) -> Result<(), RemoveError> {
        let _changing = self.changing.lock().await;
        // Without a majority of the group as it is, nothing is begun that nobody could end.
        self.barriers
            .pass()
            .await
            .map_err(|refused| match refused {
                ProposeError::NotLeader { leader } => RemoveError::NotLeader { leader },
                ProposeError::Unknown => RemoveError::Unsettled,
            })?;
        if id == self.name.id {
            return Err(RemoveError::Leads(self.name));
        }
        let current = self.settled().ok_or(RemoveError::Unsettled)?;
        let (mut voters, mut nodes) = parts(&current);
        if nodes.remove(&id).is_none() {
            return Ok(());
        }
        voters.remove(&id);
        let changed = self.change(&current, voters, nodes).await;
        changed.ok_or(RemoveError::Unsettled)?;
        info!(name = %self.name, removed = id, "a replica was removed from the group");
        Ok(())
    }

    /// Does the next step of letting in a replica that said hello, where there is one and this
    /// replica leads. Does not wait for it.
    pub(crate) fn admit(&self, caller: &Caller) {
        let leads = self.raft.server_metrics().borrow_watched().state == ServerState::Leader;
        if !leads || !self.founding.contains(&caller.id) {
            return;
        }
        let (Ok(changing), Some(current)) =
            (self.changing.clone().try_lock_owned(), self.settled())
        else {
            return;
        };
        let (mut voters, mut nodes) = parts(&current);
        let name = ServiceName {
            id: caller.id,
            ..self.name
        };
        match nodes.get(&caller.id) {
            None => {
                let replica = caller.replica;
                nodes.insert(caller.id, Node { name, replica });
            }
            Some(node)
                if node.replica == caller.replica && self.has_the_log(caller.id, &current) =>
            {
                voters.insert(caller.id);
            }
            Some(_) => return,
        }
        let (members, gets_vote) = (self.clone(), voters.contains(&caller.id));
        self.tasks.spawn(async move {
            let _changing = changing;
            let changed = members.change(&current, voters, nodes).await;
            if changed.is_some() {
                info!(%name, gets_vote, "a replica is let into the group");
            }
        });
    }

    /// The membership, where no change of it is under way.
    fn settled(&self) -> Option<Arc<Membership>> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let (current, committed) = (
            &metrics.membership_config,
            &metrics.committed_membership_config,
        );
        (current.log_id() == committed.log_id()).then(|| current.clone())
    }

    /// Whether the learner `id` has the log, but for its very end.
    fn has_the_log(&self, id: u64, current: &Membership) -> bool {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let has = metrics.replication.as_ref().and_then(|all| all.get(&id));
        let (Some(has), Some(last)) = (has.and_then(Option::as_ref), &metrics.last_log) else {
            return false;
        };
        Some(has) >= current.log_id().as_ref() && last.index.saturating_sub(has.index) <= MAX_LAG
    }

    /// Makes `voters` and `nodes` the membership in place of `current`; none where that was refused, or
    /// not agreed on in time.
    async fn change(
        &self,
        current: &Membership,
        voters: BTreeSet<u64>,
        nodes: BTreeMap<u64, Node>,
    ) -> Option<()> {
        let next = openraft::Membership::new(vec![voters], nodes)
            .expect("every voter is one of the nodes");
        let unchanged = Precondition::LastMembershipLogId {
            last_membership_log_id: *current.log_id(),
        };
        let change = self
            .raft
            .append_membership(next, Payload::Blank, [unchanged]);
        let changed = timeout(LIMIT, change).await.ok()?;
        if let Err(error) = &changed {
            warn!(name = %self.name, %error, "the membership was not changed");
        }
        changed.ok().map(drop)
    }
}

/// The voters and the nodes of `membership`, which is never a joint one here.
fn parts(membership: &Membership) -> (BTreeSet<u64>, BTreeMap<u64, Node>) {
    let nodes = membership.nodes().map(|(id, node)| (*id, node.clone()));
    (membership.voter_ids().collect(), nodes.collect())
}
