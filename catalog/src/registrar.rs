//! The record of caches that may hold leases, kept by the leader: they are registered before their
//! first lease, and forgotten some time after their last.
//!
//! Everything is proposed by one task, one thing after the other, so that a cache is never
//! registered and forgotten at the same time.

use std::sync::Arc;

use bazaar_replication::{Group, ProposeError};
use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::{CacheId, ServiceName, Term};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::command::{Answer, Applied, Command};
use crate::holders::Admission;
use crate::reign::End;
use crate::settle::Settlement;

/// The most caches that wait to be registered. Further ones are told that the catalog is busy.
pub(crate) const MAX_WAITING: usize = 64;

/// A cache that is to be put on record, and who waits for it.
pub(crate) struct Registration {
    pub(crate) cache: CacheId,
    pub(crate) holder: ServiceName,
    pub(crate) reply: oneshot::Sender<Result<Admission, CatalogError>>,
}

/// Keeps the record in one reign.
pub(crate) struct Registrar {
    pub(crate) term: Term,
    pub(crate) group: Group,
    pub(crate) settlement: Arc<Settlement>,
}

impl Registrar {
    /// Registers who asks for it, and forgets who has held no lease for a while.
    pub(crate) async fn run(&self, mut waiting: mpsc::Receiver<Registration>) -> Result<(), End> {
        let length = self.settlement.length();
        let mut look = interval_at(Instant::now() + length, length);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                registration = waiting.recv() => match registration {
                    Some(registration) => self.register(registration).await?,
                    None => return Ok(()),
                },
                _ = look.tick() => self.forget().await?,
            }
        }
    }

    async fn register(&self, registration: Registration) -> Result<(), End> {
        let Registration {
            cache,
            holder,
            reply,
        } = registration;
        let outcome = match self.propose(&Command::Register { cache, holder }).await? {
            Answer::Registered(outcome) => outcome.map(|()| self.settlement.admit(cache)),
            other => unreachable!("a registration is answered as one, not {other:?}"),
        };
        debug!(%cache, %holder, ?outcome, "a cache is on record");
        // Whoever asked may have gone; it is forgotten then.
        reply.send(outcome).ok();
        Ok(())
    }

    async fn forget(&self) -> Result<(), End> {
        let caches = self.settlement.take_idle();
        if caches.is_empty() {
            return Ok(());
        }
        debug!(?caches, "caches without a lease are forgotten");
        let term = self.term;
        self.propose(&Command::Forget { term, caches }).await?;
        Ok(())
    }

    /// Has `command` applied. Its answer shows nothing that would have to be settled.
    async fn propose(&self, command: &Command) -> Result<Answer, End> {
        let mut receipts = self.group.propose(vec![command.encode()]).await?;
        let applied = receipts
            .next()
            .await
            .unwrap_or(Err(ProposeError::Unknown))?;
        Ok(Applied::decode(&applied)?.answer)
    }
}
