//! What the accounts service says in place of an answer.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A field of a user that nobody else's may equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserField {
    /// [`super::User::student_id`].
    StudentId,
    /// [`super::User::user_name`].
    UserName,
    /// [`super::User::email`].
    Email,
}

impl fmt::Display for UserField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StudentId => "student_id",
            Self::UserName => "user_name",
            Self::Email => "email",
        })
    }
}

/// Why the accounts service did not do what was asked. Nothing has changed, except where the variant
/// says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AccountsError {
    /// Another user has that.
    #[error("{field}: taken by another user")]
    Taken {
        /// What.
        field: UserField,
    },
    /// There is no such user, or none that the caller may see.
    #[error("there is no such user")]
    UnknownUser,
    /// No active user has that name and that password.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// The refresh token was never issued, or is spent, expired or void.
    #[error("the refresh token is not valid, or not any more")]
    InvalidRefreshToken,
    /// Whoever changes their own password has to give the current one.
    #[error("current_password: missing or wrong")]
    WrongCurrentPassword,
    /// Only an admin may do that.
    #[error("only an admin may do that")]
    AdminRequired,
    /// Too many attempts, of this user or from this address.
    #[error("too many attempts: at most {limit} within {} s", .window.as_secs())]
    TooManyAttempts {
        /// How many are allowed within `window`.
        limit: u32,
        /// The time that the limit is for.
        window: Duration,
        /// When to try again, from now.
        retry_after: Duration,
    },
    /// Too many passwords wait to be hashed.
    #[error("the accounts service is overloaded")]
    Busy,
    /// The database cannot be reached.
    #[error("the accounts service has no database at the moment")]
    Unavailable,
    /// The database could no longer be reached when the change was under way: it may have been made.
    #[error("the outcome is unknown")]
    Unknown,
    /// The request is not as the contract says.
    #[error("invalid request to the accounts service: {0}")]
    Invalid(String),
    /// What is stored is not as it should be; the log of the accounts service says more.
    #[error("the accounts service has failed")]
    Failed,
}

impl AccountsError {
    /// Whether the same request may succeed later, and nothing has changed until now.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TooManyAttempts { .. } | Self::Busy | Self::Unavailable => true,
            Self::Taken { .. }
            | Self::UnknownUser
            | Self::WrongCredentials
            | Self::InvalidRefreshToken
            | Self::WrongCurrentPassword
            | Self::AdminRequired
            | Self::Unknown
            | Self::Invalid(_)
            | Self::Failed => false,
        }
    }
}
