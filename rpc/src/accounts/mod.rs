//! The contract of the accounts service: users, logins, and the tokens that frontends verify by
//! themselves.

mod error;
mod names;
mod secret;
mod token;

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId};

pub use error::{AccountsError, UserField};
pub use names::{Email, InvalidField, Password, StudentId, UserName};
pub use secret::Secret;
pub use token::{
    ACCESS_TOKEN_LIFETIME, AUDIENCE, CLOCK_SKEW, Claims, Feed, Generation, ISSUER, MAX_VOID,
    PublicKey, REFRESH_TOKEN_LIFETIME, Tokens, VoidBefore,
};

/// The most users in one page.
pub const MAX_PAGE: usize = 1000;

/// How long [`Accounts::watch`] waits for news. It is short because an answer counts from the moment
/// at which it was asked for.
pub const MAX_WATCH: Duration = Duration::from_millis(250);

/// Served by the accounts process.
///
/// A call that changes something and is not answered may have taken effect, as one that is answered
/// with [`AccountsError::Unknown`] may.
#[tarpc::service]
pub trait Accounts {
    /// Enters a new user, a customer. `address` is the client's.
    async fn register(user: NewUser, address: IpAddr) -> Result<User, AccountsError>;

    /// Begins a session. An unknown user and a wrong password cost and answer the same, and so does
    /// a user who is not active.
    async fn login(login: Login, address: IpAddr) -> Result<Session, AccountsError>;

    /// Goes on with a session: spends its refresh token for new ones. A token that is spent a second
    /// time was stolen, before or after: it ends its session.
    async fn refresh(token: Secret) -> Result<Session, AccountsError>;

    /// Ends the session that a refresh token belongs to. An access token of that session stays valid
    /// until it expires. A token that belongs to no session is as good as logged out.
    async fn logout(token: Secret) -> Result<(), AccountsError>;

    /// A user: oneself or, for an admin, anybody.
    async fn get(caller: Caller, user: UserId) -> Result<User, AccountsError>;

    /// Changes oneself or, for an admin, anybody. A new password ends every session of the user and
    /// makes every access token void.
    async fn update(
        caller: Caller,
        user: UserId,
        change: UserChange,
    ) -> Result<User, AccountsError>;

    /// Deactivates oneself or, for an admin, anybody: no login succeeds any more, and every token is
    /// void. A user who is not active already stays so.
    async fn deactivate(caller: Caller, user: UserId) -> Result<(), AccountsError>;

    /// Takes a deactivation back. Only an admin does. What was void stays void.
    async fn reactivate(caller: Caller, user: UserId) -> Result<User, AccountsError>;

    /// One page (`limit` is from 1 to [`MAX_PAGE`]) of all users by id, after `after`. Only an admin
    /// sees it.
    async fn list(
        caller: Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>, AccountsError>;

    /// What it takes to verify access tokens, as of a moment not before this call: at once where its
    /// version is not `known`, and otherwise as soon as it changes. None after [`MAX_WATCH`]: it is
    /// still the one that is known.
    async fn watch(known: u64) -> Result<Option<Feed>, AccountsError>;
}

/// A user. The password's hash never leaves the accounts service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Consecutive or not, never reused.
    pub id: UserId,
    /// Unique.
    pub student_id: StudentId,
    /// Unique, whatever the case of its letters.
    pub user_name: UserName,
    /// Unique, whatever the case of its letters.
    pub email: Email,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may log in.
    pub active: bool,
    /// When the user was entered.
    pub created_at: Timestamp,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and changes what is their own.
    Customer,
    /// Sees and changes what is anybody's.
    Admin,
}

impl Role {
    /// The role as it stands in tokens, bodies and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Admin => "admin",
        }
    }
}

/// On whose behalf something is asked for: as the frontend has it from a token that it has verified.
/// What the caller may do is decided in the accounts service alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// In which role.
    pub role: Role,
}

/// A user to be entered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Unique.
    pub student_id: StudentId,
    /// Unique, whatever the case of its letters.
    pub user_name: UserName,
    /// Unique, whatever the case of its letters.
    pub email: Email,
    /// To log in with.
    pub password: Password,
}

/// The credentials of a login.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Whoever logs in, in any case of letters.
    pub user_name: UserName,
    /// Their password.
    pub password: Secret,
}

/// What is to change about a user; what is none stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserChange {
    /// A new name.
    pub user_name: Option<UserName>,
    /// A new address.
    pub email: Option<Email>,
    /// A new password.
    pub password: Option<Password>,
    /// The password until now: whoever changes their own has to know it.
    pub current_password: Option<Secret>,
}

/// A session that has begun or goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is.
    pub user: UserId,
    /// What it is proven with.
    pub tokens: Tokens,
}
