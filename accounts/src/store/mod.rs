//! The database: SQLite's or PostgreSQL's, by the same statements.
//!
//! Both take `$1` for the first parameter, and tables hold nothing but integers, texts and bytes, so
//! that only the migrations differ. Every wait is bounded, by [`Patience`].

mod sessions;
mod url;
mod users;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor as _, SqlSafeStr as _};
use tokio::time::timeout;

use crate::error::{Access, StoreError};

pub(crate) use sessions::{NewSession, Spent};
pub use url::{DatabaseUrl, InvalidDatabaseUrl};
pub(crate) use users::{Change, Credentials, Entry, Raised};

/// The most connections to the database.
const MAX_CONNECTIONS: u32 = 8;

/// How long the tables may take to be brought up to date.
const MIGRATION_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait for the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a connection.
    connection: Duration,
    /// For whoever else changes the same rows, or SQLite's file.
    lock: Duration,
    /// For a statement, or a transaction: longer than a busy disk needs for a sync.
    statement: Duration,
}

impl Patience {
    /// A client's, who waits for an answer.
    pub(crate) const REQUEST: Self = Self {
        connection: Duration::from_millis(800),
        lock: Duration::from_millis(700),
        statement: Duration::from_secs(2),
    };

    /// An operator's, who has given a command and would only have to give it again.
    pub(crate) const COMMAND: Self = Self {
        connection: Duration::from_secs(30),
        lock: Duration::from_secs(10),
        statement: Duration::from_secs(30),
    };
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: AnyPool,
    kind: Kind,
    place: Arc<str>,
    patience: Patience,
}

impl Store {
    /// The database at `url`, or the file in `dir` where there is none. Nothing is opened yet.
    ///
    /// # Errors
    /// When `url` names no database that is supported.
    pub(crate) fn new(
        url: Option<&DatabaseUrl>,
        dir: &Path,
        patience: Patience,
    ) -> Result<Self, sqlx::Error> {
        install_default_drivers();
        let ((kind, options), place) = match url {
            Some(url) => (url.options()?, format!("{url:?}")),
            None => {
                let file = std::path::absolute(dir)?.join(url::FILE);
                (
                    (Kind::Sqlite, url::of_file(&file)?),
                    file.display().to_string(),
                )
            }
        };
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(patience.connection)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    // It is made of constants.
                    let settings = AssertSqlSafe(settings(kind, patience));
                    connection.execute(settings).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        let place = place.into();
        Ok(Self {
            pool,
            kind,
            place,
            patience,
        })
    }

    /// Where it is, for people to read.
    pub(crate) fn place(&self) -> String {
        format!("the accounts' database {}", self.place)
    }

    /// Which database it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// When the database cannot be reached, or was last used by a newer version of this program.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        let migrator = migrator(self.kind);
        let migrating = migrator.run(&self.pool);
        let migrated = timeout(MIGRATION_LIMIT, migrating)
            .await
            .map_err(|_elapsed| StoreError::NoAnswer)?;
        migrated.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                StoreError::of(error, Access::Read)
            }
            other => StoreError::Failed(other.into()),
        })
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection of the pool.
    async fn acquire(&self) -> Result<PoolConnection<Any>, StoreError> {
        // Whatever the reason, nothing was asked for yet.
        self.pool.acquire().await.map_err(StoreError::Unavailable)
    }

    /// Waits for a statement, or a transaction, as long as it may take.
    async fn limited<T>(
        &self,
        access: Access,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.patience.statement, work).await {
            Ok(done) => done.map_err(|error| StoreError::of(error, access)),
            Err(_elapsed) => Err(StoreError::no_answer(access)),
        }
    }
}

/// What is set on each connection. SQLite writes ahead, so that readers do not wait for a writer, and
/// syncs at each commit, which is its default.
fn settings(kind: Kind, patience: Patience) -> String {
    let lock = patience.lock.as_millis();
    match kind {
        Kind::Sqlite => format!(
            "PRAGMA busy_timeout = {lock}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"
        ),
        // The server gives up first, and so says what became of the statement.
        Kind::Postgres => {
            let statement = (patience.statement / 2).as_millis();
            format!("SET statement_timeout = {statement}; SET lock_timeout = {lock}")
        }
    }
}

fn migrator(kind: Kind) -> Migrator {
    let accounts = match kind {
        Kind::Sqlite => include_str!("../../migrations/sqlite/0001_accounts.sql"),
        Kind::Postgres => include_str!("../../migrations/postgres/0001_accounts.sql"),
    };
    let first = Migration::new(
        1,
        "accounts".into(),
        MigrationType::Simple,
        accounts.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![first])
}

/// A number as databases have it: none is above 2^63 − 1, and what would be matches nothing.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as a database had it.
fn unsigned(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
}
