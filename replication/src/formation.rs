//! How a group comes into being, and how its members find each other again.
//!
//! A replica that starts says hello to the other founding members until it knows a leader and has a
//! vote, and now and then afterwards: it may have been removed, or another one may have taken its
//! place, and nobody else tells it so.
//!
//! - The highest id founds the group, once, when every founding member has answered that nothing was
//!   ever stored with it. The group's membership then records the identity of each one's data
//!   directory.
//! - A replica that hears that the group knows another data directory under its name has lost its
//!   own, with votes and entries that it has acknowledged. It does not start.
//! - A leader that hears hello tries to reach the caller again at once, and lets one in that its group
//!   does not know at all (see `members`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::{Directory, call};
use bazaar_rpc::replica::Leadership;
use futures::future::join_all;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::Config;
use crate::error::MembershipError;
use crate::link::Link;
use crate::members::has_vote;
use crate::peer::{Caller, Welcome};
use crate::types::{Node, Raft, TransferRequest};

/// How long a member may take to answer a hello at the start.
const PATIENCE: Duration = Duration::from_millis(250);

/// The pause before the next hello of a replica that has a vote.
const REVIEW: Duration = Duration::from_secs(5);

/// The pauses between two rounds of hellos of one that has none, or knows no leader: the first, and
/// the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The other founding members, to say hello to. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Peers {
    caller: Caller,
    links: Arc<BTreeMap<ServiceName, Mutex<Link>>>,
}

impl Peers {
    pub(crate) fn new(config: &Config, directory: &Directory, replica: Uuid) -> Self {
        let link = |peer| (peer, Mutex::new(Link::new(directory.clone(), peer)));
        Self {
            caller: Caller {
                id: config.name.id,
                replica,
            },
            links: Arc::new(config.others().map(link).collect()),
        }
    }

    /// Says hello to all but `except`, and returns the answers that came within `patience`.
    pub(crate) async fn hello(
        &self,
        except: Option<ServiceName>,
        patience: Duration,
    ) -> BTreeMap<ServiceName, Welcome> {
        let calls = self
            .links
            .iter()
            .filter(|(peer, _)| Some(**peer) != except)
            .map(|(peer, link)| async {
                let answer = timeout(patience, self.hello_to(link, patience)).await;
                Some((*peer, answer.ok()??))
            });
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn hello_to(&self, link: &Mutex<Link>, patience: Duration) -> Option<Welcome> {
        let mut link = link.lock().await;
        // A connection may have broken unnoticed, when the peer started again.
        for _ in 0..2 {
            let client = link.client(patience).await.ok()?;
            let outcome = call(patience, |context| {
                client.hello(context, self.caller.clone())
            })
            .await;
            if let Ok(welcome) = link.settle(outcome.map(Ok)) {
                return Some(welcome);
            }
        }
        None
    }

    /// Asks `peer`, which has answered hello with `welcome`, to stand for election at once.
    pub(crate) async fn nominate(&self, peer: ServiceName, welcome: &Welcome, patience: Duration) {
        let Some(link) = self.links.get(&peer) else {
            return;
        };
        let mut link = link.lock().await;
        let Ok(client) = link.client(patience).await else {
            return;
        };
        let request = TransferRequest::new(welcome.vote, peer.id, None);
        let outcome = call(patience, |context| {
            client.transfer_leader(context, welcome.replica, request)
        });
        let outcome = link.settle(outcome.await);
        debug!(%peer, ?outcome, "nominated a leader");
    }
}

/// A replica and its place in the group.
pub(crate) struct Formation {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) replica: Uuid,
    /// Whether nothing was stored here when the process started.
    pub(crate) was_fresh: bool,
    pub(crate) peers: Peers,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

impl Formation {
    /// Says hello, and founds the group where that is due. Ends with an error, or not at all.
    ///
    /// # Errors
    /// When this replica cannot be what the group takes it for.
    pub(crate) async fn run(mut self) -> Result<Infallible, MembershipError> {
        let mut pause = FIRST_PAUSE;
        let mut is_told = false;
        loop {
            let welcomes = self.peers.hello(None, PATIENCE).await;
            let newest = self.newest(&welcomes);
            self.check(newest)?;
            let others_agree = newest.is_none_or(|welcome| welcome.has_vote);
            if !is_told {
                is_told = self.tell(&welcomes);
            }
            if self.may_found(&welcomes) {
                self.found(&welcomes).await?;
            }
            if timeout(pause, self.is_settled(others_agree)).await.is_ok() {
                pause = FIRST_PAUSE;
                sleep(REVIEW).await;
            } else {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Waits until a leader is known and this replica has a vote: in its own eyes, and in those of the
    /// others, as `others_agree` says. Who was removed is sent no more of the log, and would not find out.
    async fn is_settled(&mut self, others_agree: bool) {
        if !others_agree {
            return std::future::pending().await;
        }
        let led = self.leadership.wait_for(|current| current.leader.is_some());
        // Where the consensus core has ended, that is reported by who watches it.
        if led.await.is_err() {
            return;
        }
        let (id, replica) = (self.config.name.id, self.replica);
        let mut metrics = self.raft.server_metrics();
        while !has_vote(&metrics.borrow_watched().membership_config, id, replica) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// The answer of who has come furthest in the log, and so knows best who belongs to the group; none
    /// where that is this replica.
    fn newest<'a>(&self, welcomes: &'a BTreeMap<ServiceName, Welcome>) -> Option<&'a Welcome> {
        let last = self.raft.data_metrics().borrow_watched().last_log;
        let newest = welcomes.values().max_by_key(|welcome| welcome.last);
        newest.filter(|welcome| welcome.last >= last)
    }

    /// Makes sure that the group does not know another replica of this name. Who has not come as far as
    /// this one may know its predecessor, and is not asked.
    fn check(&self, newest: Option<&Welcome>) -> Result<(), MembershipError> {
        let known = newest.and_then(|welcome| welcome.caller);
        if known.is_none_or(|known| known == self.replica) {
            return Ok(());
        }
        Err(MembershipError::OtherReplica {
            name: self.config.name,
            dir: self.config.dir.clone(),
        })
    }

    /// Warns of what keeps this replica from its group, where it is started with other members than
    /// the others; returns whether there was anything to say.
    fn tell(&self, welcomes: &BTreeMap<ServiceName, Welcome>) -> bool {
        let (name, members) = (self.config.name, &self.config.members);
        let other = welcomes
            .iter()
            .find(|(_, welcome)| welcome.members != *members);
        if let Some((peer, welcome)) = other {
            let theirs = &welcome.members;
            warn!(%name, ?members, %peer, ?theirs, "started with other founding members");
        }
        let outside = welcomes
            .values()
            .any(|welcome| !welcome.is_fresh && welcome.caller.is_none());
        if self.was_fresh && outside && other.is_some() {
            warn!(%name, "the group was founded without this replica, which waits in vain");
        }
        other.is_some()
    }

    /// Whether this is the replica that founds the group, and the group has never existed.
    fn may_found(&self, welcomes: &BTreeMap<ServiceName, Welcome>) -> bool {
        self.was_fresh
            && self.config.rank() == 0
            && welcomes.len() + 1 == self.config.members.len()
            && welcomes
                .values()
                .all(|welcome| welcome.is_fresh && welcome.members == self.config.members)
    }

    async fn found(
        &self,
        welcomes: &BTreeMap<ServiceName, Welcome>,
    ) -> Result<(), MembershipError> {
        let others = welcomes
            .iter()
            .map(|(name, welcome)| (*name, welcome.replica));
        let nodes: BTreeMap<u64, Node> = others
            .chain([(self.config.name, self.replica)])
            .map(|(name, replica)| (name.id, Node { name, replica }))
            .collect();
        match self.raft.initialize(nodes).await {
            Ok(()) => {
                info!(members = ?self.config.members, "the group is founded");
                Ok(())
            }
            // It has been founded in the meantime, in an earlier round.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(MembershipError::Founding(error.to_string())),
        }
    }
}
