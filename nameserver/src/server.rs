//! The name service as others call it: the table behind a lock, and a clock.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bazaar_rpc::naming::{Entry, Naming, NamingError, Registration, Selector};
use tarpc::context::Context;
use tokio::sync::Notify;
use tracing::info;

use crate::StoreError;
use crate::state::{Change, Table};
use crate::store::Store;

/// How often dead entries are cleared away. They are invisible before that.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);

/// The table is saved so long after a save at the earliest.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Serves [`Naming`]. Clones share the table.
#[derive(Clone)]
pub(crate) struct NamingServer {
    inner: Arc<Inner>,
}

struct Inner {
    table: Mutex<Table>,
    started: Instant,
    store: Store,
    /// Told when the table says something else than what was saved.
    changed: Notify,
}

impl NamingServer {
    /// Serves what was saved in `store`.
    pub(crate) fn open(store: Store) -> Result<Self, StoreError> {
        let records = store.load()?;
        let table = Mutex::new(Table::restore(Duration::ZERO, records));
        let changed = Notify::new();
        Ok(Self {
            inner: Arc::new(Inner {
                table,
                started: Instant::now(),
                store,
                changed,
            }),
        })
    }

    /// Clears away what is dead, for ever.
    pub(crate) async fn expire(self) -> Result<(), Infallible> {
        let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
        loop {
            interval.tick().await;
            let dead = self.with(|table, now| table.expire(now));
            for name in &dead {
                info!(name, "lease ran out");
            }
            if !dead.is_empty() {
                self.inner.changed.notify_one();
            }
        }
    }

    /// Saves the table whenever it has changed, until that fails.
    pub(crate) async fn keep_saved(self) -> Result<(), StoreError> {
        loop {
            self.inner.changed.notified().await;
            self.save().await?;
            tokio::time::sleep(SAVE_INTERVAL).await;
        }
    }

    /// Saves the table.
    pub(crate) async fn save(&self) -> Result<(), StoreError> {
        let records = self.with(|table, now| table.records(now));
        let store = self.inner.store.clone();
        let saving = bazaar_machine::task::spawn_blocking(move || store.save(&records));
        saving
            .await
            .expect("saving does not panic, and nothing aborts it")
    }

    /// Works on the table as it is now.
    fn with<T>(&self, work: impl FnOnce(&mut Table, Duration) -> T) -> T {
        let mut table: MutexGuard<'_, Table> = self
            .inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.inner.started.elapsed();
        work(&mut table, now)
    }
}

impl Naming for NamingServer {
    async fn register(
        self,
        _: Context,
        registration: Registration,
        replace: bool,
    ) -> Result<(), NamingError> {
        let (name, address) = (registration.name.clone(), registration.address);
        let change = self.with(|table, now| table.register(now, registration, replace))?;
        if change == Change::Table {
            info!(name, %address, "registered");
            self.inner.changed.notify_one();
        }
        Ok(())
    }

    async fn lookup(self, _: Context, name: String) -> Result<Entry, NamingError> {
        self.with(|table, now| table.lookup(now, &name))
    }

    async fn list(self, _: Context, selector: Selector) -> Result<Vec<Entry>, NamingError> {
        self.with(|table, now| table.list(now, &selector))
    }

    async fn yplookup(
        self,
        _: Context,
        all: BTreeSet<String>,
        any: BTreeSet<String>,
    ) -> Result<Vec<Entry>, NamingError> {
        Ok(self.with(|table, now| table.yplookup(now, &all, &any)))
    }

    async fn set_metadata(
        self,
        _: Context,
        name: String,
        metadata: BTreeSet<String>,
    ) -> Result<(), NamingError> {
        self.with(|table, now| table.set_metadata(now, &name, metadata))?;
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn remove(self, _: Context, selector: Selector) -> Result<u64, NamingError> {
        let removed = self.with(|table, now| table.remove(now, &selector))?;
        if removed > 0 {
            self.inner.changed.notify_one();
        }
        Ok(removed)
    }

    async fn ping(self, _: Context) {}

    async fn count(self, _: Context) -> u64 {
        self.with(|table, now| table.count(now))
    }
}
