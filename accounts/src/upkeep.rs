//! What the service does unasked: it follows the database and the keys.

use std::convert::Infallible;
use std::time::Duration;

use bazaar_rpc::Timestamp;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::error::StoreError;
use crate::feed::Board;
use crate::keys::{KeyError, KeyFiles};
use crate::service::Service;
use crate::tokens::before;

/// How often the database is asked whose tokens are void. What this service makes void itself, it
/// tells at once; this finds what it did not hear the outcome of, and what somebody else did.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often keys are looked for.
const KEYS_INTERVAL: Duration = Duration::from_secs(1);

/// How often expired refresh tokens are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(600);

/// Brings the tables up to date where that has not been done, and asks whose tokens are void.
pub(crate) async fn look(service: &Service) -> Result<(), StoreError> {
    let store = service.raw_store();
    if !service.is_migrated() {
        store.migrate().await?;
        service.set_migrated();
        info!(database = ?store.kind(), "the tables are up to date");
    }
    let now = Timestamp::now();
    let raised = store.raised(Board::since(now)).await?;
    service.board().complete(raised, now);
    Ok(())
}

/// Looks at the database, for ever, until it says something that waiting does not mend.
pub(crate) async fn follow_database(service: Service) -> Result<(), StoreError> {
    let mut is_reachable = true;
    loop {
        sleep(FOLLOW_INTERVAL).await;
        match look(&service).await {
            Ok(()) if is_reachable => {}
            Ok(()) => {
                is_reachable = true;
                info!("the database is within reach again");
            }
            Err(error @ StoreError::Failed(_)) if !service.is_migrated() => return Err(error),
            Err(error) if is_reachable => {
                is_reachable = false;
                warn!(%error, "the database is out of reach");
            }
            Err(_) => {}
        }
    }
}

/// Forgets expired refresh tokens, for ever.
pub(crate) async fn purge(service: Service) -> Result<(), Infallible> {
    loop {
        sleep(PURGE_INTERVAL).await;
        if !service.is_migrated() {
            continue;
        }
        match service.raw_store().purge(Timestamp::now()).await {
            Ok(0) => {}
            Ok(purged) => info!(purged, "forgot expired refresh tokens"),
            Err(error) => warn!(%error, "could not forget expired refresh tokens"),
        }
    }
}

/// Takes in new keys, makes one when the newest is older than `max_age`, and removes those that have
/// no token left, for ever.
pub(crate) async fn follow_keys(
    service: Service,
    files: KeyFiles,
    max_age: Duration,
) -> Result<(), KeyError> {
    loop {
        sleep(KEYS_INTERVAL).await;
        let (service, files) = (service.clone(), files.clone());
        let looked = move || look_at_keys(&service, &files, max_age, Timestamp::now());
        match bazaar_machine::task::spawn_blocking(looked).await {
            Ok(Ok(())) => {}
            // The keys in memory go on; whoever damaged the files finds this in the log.
            Ok(Err(error)) => warn!(%error, "could not look after the keys"),
            Err(panic) => warn!(%panic, "looking after the keys panicked"),
        }
    }
}

fn look_at_keys(
    service: &Service,
    files: &KeyFiles,
    max_age: Duration,
    now: Timestamp,
) -> Result<(), KeyError> {
    let ring = files.load()?;
    if ring
        .as_ref()
        .is_none_or(|ring| ring.newest() < before(now, max_age))
    {
        let key = files.create(now)?;
        info!(kid = key.kid(), "made a new key");
    }
    for key in ring.iter().flat_map(|ring| ring.retired(now)) {
        files.remove(&key)?;
        info!(kid = key.kid(), "removed a key that no token is left of");
    }
    if let Some(ring) = files.load()? {
        service.set_keys(ring);
    }
    Ok(())
}
