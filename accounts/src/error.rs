//! What can go wrong with the database.

use bazaar_rpc::accounts::{AccountsError, UserField};
use sqlx::error::DatabaseError;
use tracing::{error, warn};

/// Whether a statement changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It does not.
    Read,
    /// It does.
    Write,
}

/// Why a statement was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or is too busy; nothing has changed.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database did not answer a statement in time, and nothing has changed.
    #[error("the database does not answer")]
    NoAnswer,
    /// The database was lost with a change under way: it may have been made.
    #[error("the database was lost with a change under way")]
    Unknown,
    /// Another user has that; nothing has changed.
    #[error("{0} is taken")]
    Taken(UserField),
    /// The database refuses a statement, or what is stored is not as it should be.
    #[error("the database: {0}")]
    Failed(#[source] sqlx::Error),
}

impl StoreError {
    /// What a statement's error means.
    pub(crate) fn of(error: sqlx::Error, access: Access) -> Self {
        match &error {
            sqlx::Error::Database(told) => match weigh(told.as_ref()) {
                Weight::Taken(field) => Self::Taken(field),
                Weight::Busy => Self::Unavailable(error),
                Weight::Lost => Self::lost(error, access),
                Weight::Fault => Self::Failed(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::lost(error, access),
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Unavailable(error),
            _ => Self::Failed(error),
        }
    }

    /// What no answer to a statement means.
    pub(crate) fn no_answer(access: Access) -> Self {
        match access {
            Access::Read => Self::NoAnswer,
            Access::Write => Self::Unknown,
        }
    }

    fn lost(error: sqlx::Error, access: Access) -> Self {
        match access {
            Access::Read => Self::Unavailable(error),
            Access::Write => Self::Unknown,
        }
    }
}

/// What a database's own error says.
enum Weight {
    Taken(UserField),
    /// It could not be done now, and was not.
    Busy,
    /// The server goes, or has gone.
    Lost,
    Fault,
}

fn weigh(error: &dyn DatabaseError) -> Weight {
    if error.is_unique_violation() {
        return taken(error).map_or(Weight::Fault, Weight::Taken);
    }
    let code = error.code();
    match code.as_deref() {
        // SQLite: its primary result codes BUSY (5) and LOCKED (6) are the low byte of what it says.
        Some(code) if code.len() < 5 => match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(5 | 6) => Weight::Busy,
            Ok(_) | Err(_) => Weight::Fault,
        },
        // PostgreSQL, appendix A: serialization failure, deadlock, lock and statement timeouts.
        Some("40001" | "40P01" | "55P03" | "57014") => Weight::Busy,
        // Connection exceptions, and operator intervention such as a shutdown.
        Some(code) if code.starts_with("08") || code.starts_with("57P") => Weight::Lost,
        // Insufficient resources.
        Some(code) if code.starts_with("53") => Weight::Busy,
        Some(_) | None => Weight::Fault,
    }
}

/// Which field another user has. PostgreSQL names the constraint, which it named after the column,
/// and SQLite names the column.
fn taken(error: &dyn DatabaseError) -> Option<UserField> {
    let named = error.constraint().unwrap_or(error.message());
    let fields = [
        ("student_id", UserField::StudentId),
        ("user_name_folded", UserField::UserName),
        ("email_folded", UserField::Email),
    ];
    fields
        .into_iter()
        .find_map(|(column, field)| named.contains(column).then_some(field))
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::NoAnswer => {
                warn!(%error, "the database is out of reach");
                Self::Unavailable
            }
            StoreError::Unknown => {
                warn!(%error, "it is unknown what the database has made of a change");
                Self::Unknown
            }
            StoreError::Taken(field) => Self::Taken { field },
            StoreError::Failed(_) => {
                error!(%error, "the database failed");
                Self::Failed
            }
        }
    }
}
