//! Lookups of items, from the cache where that may answer, from the catalog's leader otherwise; and
//! edits of items.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bazaar_daemon::{GroupClient, Leader, Tasks};
use bazaar_rpc::catalog::{CatalogClient, CatalogError, ListQuery};
use bazaar_rpc::edit::Edit;
use bazaar_rpc::{Item, ItemKey, RequestId, ServiceKind};
use tarpc::context::Context;
use tokio::sync::Semaphore;

use crate::Error;
use crate::cache::{Cache, Fetch, Lookup};
use crate::lease;
use crate::request::{self, within};

/// How long a lookup may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long an edit may take, through every change of leader.
const EDIT_DEADLINE: Duration = Duration::from_secs(10);

/// The most questions to the catalog at a time; further ones are refused.
const MAX_QUESTIONS: usize = 4096;

/// Looks items up, and has them edited. Clones share the cache.
#[derive(Clone)]
pub(crate) struct Items {
    catalog: GroupClient<CatalogClient>,
    /// None when it is switched off.
    cache: Option<Arc<Cache>>,
    questions: Arc<Semaphore>,
    tasks: Tasks,
}

impl Items {
    /// Looks items up in `catalog`, through `cache` where there is one.
    #[must_use]
    pub(crate) fn new(
        catalog: GroupClient<CatalogClient>,
        cache: Option<Arc<Cache>>,
        tasks: Tasks,
    ) -> Self {
        Self {
            catalog,
            cache,
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            tasks,
        }
    }

    /// The item of `key`, as new as every trade acknowledged before the call.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] when there is none; otherwise when the catalog gave no answer.
    pub(crate) async fn lookup(&self, key: ItemKey) -> Result<Arc<Item>, Error> {
        let Some(cache) = &self.cache else {
            return self.lookup_past_cache(key).await;
        };
        let waiter = match cache.lookup(&key, lease::now) {
            Lookup::Hit(item) => return Ok(item),
            Lookup::Alone => return self.lookup_past_cache(key).await,
            Lookup::Join(waiter) => waiter,
            Lookup::Lead(fetch) => {
                let waiter = fetch.waiter();
                self.spawn(cache.clone(), fetch);
                waiter
            }
        };
        // A fetch that was dropped had no answer: the process stops.
        let outcome = waiter
            .outcome()
            .await
            .ok_or(Error::NoAnswer(ServiceKind::Catalog))?;
        found(key, outcome?)
    }

    /// The item of `key` in the catalog, whatever the cache has.
    ///
    /// # Errors
    /// As [`Items::lookup`].
    pub(crate) async fn lookup_past_cache(&self, key: ItemKey) -> Result<Arc<Item>, Error> {
        let item = self.ask(&key).await?;
        found(key, item)
    }

    /// One page of items.
    ///
    /// # Errors
    /// When the catalog gave no answer.
    pub(crate) async fn list(&self, query: &ListQuery) -> Result<Vec<Item>, Error> {
        let _question = self.questions.try_acquire().map_err(|_| Error::Busy)?;
        let deadline = Instant::now() + DEADLINE;
        let list = |leader: Leader<CatalogClient>| {
            let query = query.clone();
            async move { leader.client.list(until(deadline), query).await }
        };
        self.catalog
            .call(deadline, may_be_asked_again, list)
            .await
            .map_err(Error::of_lookup)
    }

    /// Has `edit` made, once under `request`, however often that is asked for. When it returns, no
    /// lookup that starts later, on any frontend, shows the item as it was before.
    ///
    /// # Errors
    /// [`Error::EditInDoubt`] when it may have been made; any other error says that it was not.
    pub(crate) async fn edit(&self, request: RequestId, edit: Edit) -> Result<Item, Error> {
        let _question = self.questions.try_acquire().map_err(|_| Error::Busy)?;
        let deadline = Instant::now() + EDIT_DEADLINE;
        let in_doubt = AtomicBool::new(false);
        let send = |leader: Leader<CatalogClient>| {
            let (edit, in_doubt) = (edit.clone(), &in_doubt);
            async move {
                // An attempt that is never answered, or is dropped, leaves its doubt behind.
                let before = in_doubt.swap(true, Ordering::Relaxed);
                let answer = leader.client.edit(until(deadline), request, edit).await;
                if matches!(&answer, Ok(Err(error)) if *error != CatalogError::Unknown) {
                    in_doubt.store(before, Ordering::Relaxed);
                }
                answer
            }
        };
        match self.catalog.call(deadline, may_be_asked_again, send).await {
            // Either speaks of the request id, and so of every attempt.
            Ok(Ok(item)) => Ok(item),
            Ok(Err(refusal)) => Err(Error::EditRefused(refusal)),
            Err(error) => Err(Error::of_edit(error, in_doubt.into_inner())),
        }
    }

    /// Performs `fetch` in a task of its own: who asked first may hang up, and the others still
    /// wait.
    fn spawn(&self, cache: Arc<Cache>, fetch: Fetch) {
        let items = self.clone();
        self.tasks.spawn(request::carried(async move {
            let outcome = items.ask(fetch.key()).await;
            cache.complete(fetch, outcome);
        }));
    }

    async fn ask(&self, key: &ItemKey) -> Result<Option<Arc<Item>>, Error> {
        let _question = self.questions.try_acquire().map_err(|_| Error::Busy)?;
        let deadline = Instant::now() + DEADLINE;
        let lookup = |leader: Leader<CatalogClient>| {
            let key = key.clone();
            async move { leader.client.lookup(until(deadline), key).await }
        };
        let item = self
            .catalog
            .call(deadline, may_be_asked_again, lookup)
            .await
            .map_err(Error::of_lookup)?;
        Ok(item.map(Arc::new))
    }
}

/// An overloaded leader is not asked again: the client is told at once, and decides.
fn may_be_asked_again(error: &CatalogError) -> bool {
    error.is_retryable() && *error != CatalogError::Busy
}

fn found(key: ItemKey, item: Option<Arc<Item>>) -> Result<Arc<Item>, Error> {
    item.ok_or_else(|| Error::UnknownItem(key.to_string()))
}

fn until(deadline: Instant) -> Context {
    within(deadline.saturating_duration_since(Instant::now()))
}
