//! The cache lease: asked for, renewed in time, and the invalidations that come with it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bazaar_daemon::planted::{Bug, planted};
use bazaar_daemon::{GroupClient, GroupError, Leader};
use bazaar_machine::clock::time_of_day;
use bazaar_rpc::cache::{Invalidation, Invalidations};
use bazaar_rpc::catalog::{CatalogClient, CatalogError, LeaseGrant, LeaseRequest};
use bazaar_rpc::connect::within;
use bazaar_rpc::{CacheId, LeaseId, ServiceName, Term};
use tarpc::context::Context;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info};

use crate::cache::{Cache, Lease};

/// How long a request for a lease may take, through leader changes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a lease is renewed within its length.
const RENEWALS: u32 = 4;

/// How soon a request that failed is repeated.
const RETRY: Duration = Duration::from_millis(10);

/// Keeps a lease for `cache` from whoever leads the catalog, for `holder`, which serves
/// [`InvalidationServer`] at `address`.
pub(crate) async fn keep(
    catalog: GroupClient<CatalogClient>,
    cache: Arc<Cache>,
    holder: ServiceName,
    address: SocketAddr,
) {
    let mut leader = catalog.leader();
    let id = CacheId::fresh();
    let request = |term, held| LeaseRequest {
        cache: id,
        holder,
        address,
        term,
        held,
    };
    loop {
        leader.borrow_and_update();
        let before = cache.lease().map(|lease| lease.id);
        match ask(&catalog, &cache, request).await {
            Ok((sent, grant)) => {
                if !cache.grant(granted(sent, grant)) {
                    debug!(lease = ?grant.lease, "a lease of a former leader comes too late");
                    sleep(RETRY).await;
                    continue;
                }
                if before != Some(grant.lease) {
                    info!(lease = ?grant.lease, "holds a new cache lease");
                }
                tokio::select! {
                    () = sleep_until((sent + grant.length / RENEWALS).into()) => {}
                    // Another leader waits for word from here: it is asked at once.
                    changed = leader.changed() => if changed.is_err() { return },
                }
            }
            Err(error) => {
                debug!(%error, "no cache lease");
                sleep(RETRY).await;
            }
        }
    }
}

/// Asks whoever leads the catalog for a lease; returns it with the moment at which the request that
/// was granted had been sent.
async fn ask(
    catalog: &GroupClient<CatalogClient>,
    cache: &Cache,
    request: impl Fn(Term, Option<LeaseId>) -> LeaseRequest + Sync,
) -> Result<(Instant, LeaseGrant), GroupError<CatalogError>> {
    let request = &request;
    let send = |leader: Leader<CatalogClient>| async move {
        // The request says so.
        cache.renounce(leader.term);
        let sent = now();
        let held = cache.lease().map(|lease| lease.id);
        let request = request(leader.term, held);
        let answer = leader.client.lease(within(PATIENCE), request).await?;
        let sent = match planted(Bug::LeaseCountedFromReceipt) {
            true => now(),
            false => sent,
        };
        Ok(answer.map(|grant| (sent, grant)))
    };
    catalog
        .call(Instant::now() + PATIENCE, CatalogError::is_retryable, send)
        .await
}

/// The time by which leases are counted: that of a clock that never steps back.
pub(crate) fn now() -> Instant {
    if planted(Bug::WallClockLease) {
        return by_time_of_day();
    }
    Instant::now()
}

/// Where [`Bug::WallClockLease`] has the time from.
fn by_time_of_day() -> Instant {
    static EPOCH: OnceLock<(Instant, SystemTime)> = OnceLock::new();
    let time = time_of_day();
    let (instant, epoch) = *EPOCH.get_or_init(|| (Instant::now(), time));
    match time.duration_since(epoch) {
        Ok(since) => instant + since,
        Err(before) => instant.checked_sub(before.duration()).unwrap_or(instant),
    }
}

/// The lease of a `grant` whose request was sent at `sent`. The catalog counts from later, and its
/// clock may run slower: the tenth that is left off makes up for that.
fn granted(sent: Instant, grant: LeaseGrant) -> Lease {
    Lease {
        id: grant.lease,
        valid_until: sent + grant.length * 9 / 10,
    }
}

/// Serves the invalidations that the catalog sends.
#[derive(Clone)]
pub(crate) struct InvalidationServer {
    cache: Arc<Cache>,
}

impl InvalidationServer {
    /// Applies them to `cache`.
    #[must_use]
    pub(crate) fn new(cache: Arc<Cache>) -> Self {
        Self { cache }
    }
}

impl Invalidations for InvalidationServer {
    /// Invalidates whatever lease the items are kept under: what has changed has changed.
    async fn invalidate(self, _: Context, _lease: LeaseId, items: Vec<Invalidation>) {
        self.cache.invalidate(&items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_request_and_ends_early() {
        let sent = Instant::now();
        let lease = LeaseId {
            term: Term(1),
            serial: 1,
        };
        let length = Duration::from_millis(100);
        let lease = granted(sent, LeaseGrant { lease, length });
        assert_eq!(lease.valid_until, sent + Duration::from_millis(90));
    }
}
