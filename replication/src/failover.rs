//! Fast failover: a leader whose process has ended is replaced without waiting for a timer.
//!
//! A follower holds a connection to the leader. When it breaks and nobody listens at its other end
//! any more, the leader is gone, and the follower asks the others how far they are. The one with the
//! longest log, and of several the one with the highest id, stands for election at once, or is asked
//! to where that is another one. It stands in the way that openraft has for a transfer of
//! leadership: voters then do not wait until the old leader's lease has run out.
//!
//! That lease is not relied upon by anybody (see `barrier`), so it does no harm should the leader be
//! alive after all. A pause or a partition shows in no connection: openraft's timers find those.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::Directory;
use bazaar_rpc::net::{Protocol, TcpStream};
use bazaar_rpc::replica::Leadership;
use openraft::async_runtime::WatchReceiver as _;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};
use uuid::Uuid;

use crate::formation::Peers;
use crate::members::has_vote;
use crate::peer::Welcome;
use crate::types::{Raft, TransferRequest, Vote};

/// How long the others may take to say how far they are.
const PATIENCE: Duration = Duration::from_millis(15);

/// How often this replica looks for a successor, before it leaves the election to timers.
const ROUNDS: u32 = 4;

/// How long it waits for a leader after the first look; lower ids wait so much longer, each. The wait
/// after each further look is several times as long: where the disks are slow, an election takes its
/// time, and whoever stands again ends the one that is under way.
const ROUND: Duration = Duration::from_millis(10);
const ROUND_GROWTH: u32 = 4;

/// The pause before another attempt to hold a connection to the leader.
const RETRY: Duration = Duration::from_millis(20);

/// How often a leader whose connection broke is tried again before it is left to the timers, and the
/// pause after each time.
const KNOCKS: u32 = 5;
const KNOCK_PAUSE: Duration = Duration::from_millis(2);

/// Watches over the leader.
pub(crate) struct Watch {
    pub(crate) name: ServiceName,
    /// The identity of its data directory.
    pub(crate) replica: Uuid,
    /// How many founding members have a higher id.
    pub(crate) rank: u64,
    pub(crate) raft: Raft,
    pub(crate) directory: Directory,
    pub(crate) peers: Peers,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

impl Watch {
    /// Runs until the consensus core ends.
    pub(crate) async fn run(mut self) {
        let name = self.name;
        let is_foreign = move |current: &Leadership| current.leader.is_some_and(|it| it != name);
        loop {
            let Ok(led) = self.leadership.wait_for(is_foreign).await.map(|led| *led) else {
                return;
            };
            let Some(leader) = led.leader else { continue };
            let held = self.hold(leader).await;
            let address = held.as_ref().map(|(_, address)| *address);
            let changes = self.leadership.wait_for(|current| *current != led);
            let is_over = tokio::select! {
                () = over(held) => true,
                _ = changes => false,
            };
            let Some(address) = address.filter(|_| is_over) else {
                continue;
            };
            if self.is_gone(leader, address).await {
                info!(%leader, "the leader is gone");
                self.replace(led).await;
            }
        }
    }

    /// A connection to the leader, and where it leads.
    async fn hold(&self, leader: ServiceName) -> Option<(TcpStream, SocketAddr)> {
        let held = self.directory.connect(leader, Protocol::Raft).await.ok()?;
        let address = held.peer_addr().ok()?;
        Some((held, address))
    }

    /// Whether nobody, or somebody else, listens where the leader did.
    async fn is_gone(&self, leader: ServiceName, address: SocketAddr) -> bool {
        for _ in 0..KNOCKS {
            match self
                .directory
                .connect_at(address, leader, Protocol::Raft)
                .await
            {
                Ok(_) => return false,
                Err(error) if error.is_gone() => return true,
                // A process that is ending may still close its sockets, the listening one last.
                Err(_) => sleep(KNOCK_PAUSE).await,
            }
        }
        false
    }

    /// Sees to it that the leader of `lost` has a successor, in this replica or another one.
    async fn replace(&mut self, lost: Leadership) {
        let mut known = lost.term.0;
        let mut pause = ROUND * u32::try_from(self.rank + 1).unwrap_or(u32::MAX);
        for _ in 0..ROUNDS {
            let welcomes = self.peers.hello(lost.leader, PATIENCE).await;
            let Some(own) = self.raft.watch_log_progress().get() else {
                return;
            };
            let votes = welcomes
                .values()
                .map(|welcome| &welcome.vote)
                .chain([&own.vote]);
            // Where there is a newer vote than at the last look, somebody stands already, perhaps
            // this replica: that may take a moment.
            let newest = votes.map(|vote| vote.leader_id.term).max();
            let is_contested = newest > Some(known);
            known = known.max(newest.unwrap_or_default());
            if !is_contested {
                match self.best(&welcomes) {
                    Some(best) if best == self.name => self.stand(own.vote).await,
                    Some(best) => self.peers.nominate(best, &welcomes[&best], PATIENCE).await,
                    None => {}
                }
            }
            let succeeds = |now: &Leadership| now.term > lost.term && now.leader.is_some();
            if timeout(pause, self.leadership.wait_for(succeeds))
                .await
                .is_ok()
            {
                return;
            }
            pause *= ROUND_GROWTH;
        }
    }

    /// The replica with the longest log of those that have a vote: this one, or one of `welcomes`.
    fn best(&self, welcomes: &BTreeMap<ServiceName, Welcome>) -> Option<ServiceName> {
        let last = self.raft.data_metrics().borrow_watched().last_log;
        let own = (last, self.name, self.replica);
        let others = welcomes
            .iter()
            .map(|(peer, welcome)| (welcome.last, *peer, welcome.replica));
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        others
            .chain([own])
            .filter(|(_, name, replica)| has_vote(&metrics.membership_config, name.id, *replica))
            .max()
            .map(|(_, name, _)| name)
    }

    async fn stand(&self, vote: Vote) {
        // The log need not be any longer than it is.
        let request = TransferRequest::new(vote, self.name.id, None);
        let outcome = self.raft.handle_transfer_leader(request).await;
        debug!(name = %self.name, ?outcome, "stands for election");
    }
}

/// Returns when the other end has closed the connection; after a pause where there is none.
async fn over(held: Option<(TcpStream, SocketAddr)>) {
    match held {
        // Nothing is ever sent on it.
        Some((mut held, _)) => while let Ok(1..) = held.read(&mut [0; 16]).await {},
        None => sleep(RETRY).await,
    }
}
