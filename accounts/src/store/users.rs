//! The table of users.

use bazaar_rpc::accounts::{
    Email, Generation, InvalidField, MAX_VOID, Role, StudentId, User, UserName, VoidBefore,
};
use bazaar_rpc::{Timestamp, UserId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, signed, unsigned};
use crate::error::{Access, StoreError};

/// What a [`User`] and its [`Credentials`] are made of.
macro_rules! columns {
    () => {
        "id, student_id, user_name, email, role, active, created_at, generation, password_hash"
    };
}

/// A user to be entered.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) student_id: StudentId,
    pub(crate) user_name: UserName,
    pub(crate) email: Email,
    /// A PHC string.
    pub(crate) password_hash: String,
    pub(crate) role: Role,
}

/// A user, with what a login is checked against.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: User,
    pub(crate) generation: Generation,
    /// A PHC string.
    pub(crate) password_hash: String,
}

/// What is to change about a user; what is none stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) user_name: Option<UserName>,
    pub(crate) email: Option<Email>,
    /// A PHC string. It raises the generation.
    pub(crate) password_hash: Option<String>,
}

/// A generation that has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) void: VoidBefore,
    pub(crate) at: Timestamp,
}

impl Store {
    /// Enters a user.
    pub(crate) async fn insert(&self, entry: &Entry, now: Timestamp) -> Result<User, StoreError> {
        let statement = sqlx::query(concat!(
            "INSERT INTO users (student_id, user_name, user_name_folded, email, email_folded,
                 password_hash, role, active, generation, generation_raised_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, 0, $8)
             RETURNING ",
            columns!()
        ))
        .bind(entry.student_id.as_str())
        .bind(entry.user_name.as_str())
        .bind(entry.user_name.folded())
        .bind(entry.email.as_str())
        .bind(entry.email.folded())
        .bind(entry.password_hash.as_str())
        .bind(entry.role.as_str())
        .bind(signed(now.0));
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Write, statement.fetch_one(&mut *connection))
            .await?;
        Ok(credentials(&row)?.user)
    }

    /// Whoever has that name, in any case of letters.
    pub(crate) async fn credentials_by_name(
        &self,
        name: &UserName,
    ) -> Result<Option<Credentials>, StoreError> {
        let statement = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM users WHERE user_name_folded = $1"
        ))
        .bind(name.folded());
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Read, statement.fetch_optional(&mut *connection))
            .await?;
        row.as_ref().map(credentials).transpose()
    }

    /// The user of that id.
    pub(crate) async fn credentials(
        &self,
        user: UserId,
    ) -> Result<Option<Credentials>, StoreError> {
        let statement = sqlx::query(concat!("SELECT ", columns!(), " FROM users WHERE id = $1"))
            .bind(signed(user.0));
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Read, statement.fetch_optional(&mut *connection))
            .await?;
        row.as_ref().map(credentials).transpose()
    }

    /// Up to `limit` users by id, after `after`.
    pub(crate) async fn list(
        &self,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>, StoreError> {
        let statement = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM users WHERE id > $1 ORDER BY id LIMIT $2"
        ))
        .bind(after.map_or(-1, |after| signed(after.0)))
        .bind(i64::from(limit));
        let mut connection = self.acquire().await?;
        let rows = self
            .limited(Access::Read, statement.fetch_all(&mut *connection))
            .await?;
        rows.iter()
            .map(|row| credentials(row).map(|found| found.user))
            .collect()
    }

    /// Changes a user; none where there is no such user.
    pub(crate) async fn change(
        &self,
        user: UserId,
        change: &Change,
        now: Timestamp,
    ) -> Result<Option<Credentials>, StoreError> {
        let raise = i64::from(change.password_hash.is_some());
        let statement = sqlx::query(concat!(
            "UPDATE users SET
                 user_name = COALESCE($2, user_name),
                 user_name_folded = COALESCE($3, user_name_folded),
                 email = COALESCE($4, email),
                 email_folded = COALESCE($5, email_folded),
                 password_hash = COALESCE($6, password_hash),
                 generation = generation + $7,
                 generation_raised_at = CASE WHEN $7 = 1 THEN $8 ELSE generation_raised_at END
             WHERE id = $1
             RETURNING ",
            columns!()
        ))
        .bind(signed(user.0))
        .bind(
            change
                .user_name
                .as_ref()
                .map(|name| name.as_str().to_owned()),
        )
        .bind(change.user_name.as_ref().map(UserName::folded))
        .bind(change.email.as_ref().map(|email| email.as_str().to_owned()))
        .bind(change.email.as_ref().map(Email::folded))
        .bind(change.password_hash.clone())
        .bind(raise)
        .bind(signed(now.0));
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Write, statement.fetch_optional(&mut *connection))
            .await?;
        row.as_ref().map(credentials).transpose()
    }

    /// Deactivates a user; returns the generation that voids the tokens until now. None where there
    /// is no such user, or none who is active.
    pub(crate) async fn deactivate(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<Generation>, StoreError> {
        let statement = sqlx::query(
            "UPDATE users SET active = 0, generation = generation + 1, generation_raised_at = $2
             WHERE id = $1 AND active = 1
             RETURNING generation",
        )
        .bind(signed(user.0))
        .bind(signed(now.0));
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Write, statement.fetch_optional(&mut *connection))
            .await?;
        let generation = |row: AnyRow| unsigned(row.try_get("generation")?).map(Generation);
        row.map(generation).transpose().map_err(StoreError::Failed)
    }

    /// Makes a user active; none where there is no such user.
    pub(crate) async fn reactivate(&self, user: UserId) -> Result<Option<User>, StoreError> {
        let statement = sqlx::query(concat!(
            "UPDATE users SET active = 1 WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(signed(user.0));
        let mut connection = self.acquire().await?;
        let row = self
            .limited(Access::Write, statement.fetch_optional(&mut *connection))
            .await?;
        let found = row.as_ref().map(credentials).transpose()?;
        Ok(found.map(|found| found.user))
    }

    /// Replaces a hash by another one of the same password, unless the password has changed since.
    pub(crate) async fn rehash(
        &self,
        user: UserId,
        old: &str,
        new: &str,
    ) -> Result<(), StoreError> {
        let statement =
            sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
                .bind(signed(user.0))
                .bind(old)
                .bind(new);
        let mut connection = self.acquire().await?;
        self.limited(Access::Write, statement.execute(&mut *connection))
            .await?;
        Ok(())
    }

    /// The generations that have risen since `since`, the latest first, one more than
    /// [`MAX_VOID`] at the most.
    pub(crate) async fn raised(&self, since: Timestamp) -> Result<Vec<Raised>, StoreError> {
        let statement = sqlx::query(
            "SELECT id, generation, generation_raised_at FROM users
             WHERE generation_raised_at > $1 ORDER BY generation_raised_at DESC LIMIT $2",
        )
        .bind(signed(since.0))
        .bind(signed(MAX_VOID as u64 + 1));
        let mut connection = self.acquire().await?;
        let rows = self
            .limited(Access::Read, statement.fetch_all(&mut *connection))
            .await?;
        let raised = |row: &AnyRow| {
            Ok(Raised {
                void: VoidBefore {
                    user: UserId(unsigned(row.try_get("id")?)?),
                    generation: Generation(unsigned(row.try_get("generation")?)?),
                },
                at: Timestamp(unsigned(row.try_get("generation_raised_at")?)?),
            })
        };
        rows.iter()
            .map(raised)
            .collect::<Result<_, _>>()
            .map_err(StoreError::Failed)
    }
}

fn credentials(row: &AnyRow) -> Result<Credentials, StoreError> {
    let read = || {
        let invalid = |error: InvalidField| sqlx::Error::Decode(error.into());
        let role: String = row.try_get("role")?;
        Ok(Credentials {
            user: User {
                id: UserId(unsigned(row.try_get("id")?)?),
                student_id: StudentId::try_from(row.try_get::<String, _>("student_id")?)
                    .map_err(invalid)?,
                user_name: UserName::try_from(row.try_get::<String, _>("user_name")?)
                    .map_err(invalid)?,
                email: Email::try_from(row.try_get::<String, _>("email")?).map_err(invalid)?,
                role: parse_role(&role)?,
                active: row.try_get::<i64, _>("active")? == 1,
                created_at: Timestamp(unsigned(row.try_get("created_at")?)?),
            },
            generation: Generation(unsigned(row.try_get("generation")?)?),
            password_hash: row.try_get("password_hash")?,
        })
    };
    read().map_err(StoreError::Failed)
}

/// A role as it is stored.
pub(super) fn parse_role(text: &str) -> Result<Role, sqlx::Error> {
    [Role::Customer, Role::Admin]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| sqlx::Error::Decode(format!("{text:?} is no role").into()))
}
