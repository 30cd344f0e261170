//! What the accounts service does, apart from how it is called.

use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bazaar_machine::task::spawn;
use bazaar_rpc::accounts::{AccountsError, Generation, VoidBefore};
use bazaar_rpc::{Timestamp, UserId};
use tracing::error;

use crate::feed::Board;
use crate::keys::{Key, KeyRing};
use crate::limits::Limits;
use crate::passwords::Passwords;
use crate::store::{Raised, Store};

/// The accounts service. Clones share it.
#[derive(Clone)]
pub(crate) struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    passwords: Passwords,
    limits: Limits,
    board: Board,
    keys: RwLock<KeyRing>,
    /// Set once the tables are up to date.
    migrated: OnceLock<()>,
}

impl Service {
    /// The service over `store`, signing with `keys`.
    pub(crate) fn new(store: Store, passwords: Passwords, limits: Limits, keys: KeyRing) -> Self {
        let now = Timestamp::now();
        let board = Board::new(now);
        board.set_keys(keys.public(), now);
        Self {
            inner: Arc::new(Inner {
                store,
                passwords,
                limits,
                board,
                keys: RwLock::new(keys),
                migrated: OnceLock::new(),
            }),
        }
    }

    /// The database, once its tables are up to date.
    pub(crate) fn store(&self) -> Result<&Store, AccountsError> {
        let migrated = self.inner.migrated.get();
        migrated.ok_or(AccountsError::Unavailable)?;
        Ok(&self.inner.store)
    }

    /// The database, whatever its tables are like.
    pub(crate) fn raw_store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether the tables are up to date.
    pub(crate) fn is_migrated(&self) -> bool {
        self.inner.migrated.get().is_some()
    }

    /// The tables are up to date from now on.
    pub(crate) fn set_migrated(&self) {
        self.inner.migrated.get_or_init(|| ());
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
    }

    /// The key that signs `now`.
    pub(crate) fn signer(&self, now: Timestamp) -> Arc<Key> {
        let keys = self
            .inner
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        keys.signer(now).clone()
    }

    /// From now on these are the keys.
    pub(crate) fn set_keys(&self, keys: KeyRing) {
        self.board().set_keys(keys.public(), Timestamp::now());
        *self
            .inner
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Tells frontends that tokens of `user` before `generation` are void.
    pub(crate) fn void(&self, user: UserId, generation: Generation, at: Timestamp) {
        let void = VoidBefore { user, generation };
        self.board().raise(Raised { void, at }, Timestamp::now());
    }
}

/// Does `work` to its end in a task of its own, even when the caller has gone: what the database has
/// taken must also be told to frontends.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, AccountsError>> + Send + 'static,
) -> Result<T, AccountsError> {
    spawn(work).await.unwrap_or_else(|panic| {
        error!(%panic, "a request panicked");
        Err(AccountsError::Unknown)
    })
}
