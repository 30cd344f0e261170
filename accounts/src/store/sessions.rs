//! The table of refresh tokens.
//!
//! A token is bound to its user's generation, so that whatever raises that voids it, even one that is
//! being entered at the same moment.

use bazaar_rpc::accounts::{Generation, Role};
use bazaar_rpc::{Timestamp, UserId};
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::users::parse_role;
use super::{Store, signed, unsigned};
use crate::error::{Access, StoreError};

/// The most sessions that a user may have; the oldest ends where there would be more.
const MAX_SESSIONS: i64 = 50;

/// SHA-256 of a refresh token.
pub(crate) type Digest = [u8; 32];

/// A session to be begun.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) user: UserId,
    /// The user's, as it was when the password was verified.
    pub(crate) generation: Generation,
    /// Distinguishes sessions.
    pub(crate) family: String,
    pub(crate) digest: Digest,
    pub(crate) expires_at: Timestamp,
}

/// What became of a token that was to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// Another one has taken its place.
    Renewed {
        user: UserId,
        role: Role,
        generation: Generation,
    },
    /// It was spent before, and its session has ended now.
    Reused { user: UserId },
    /// It belongs to no session.
    Invalid,
}

impl Store {
    /// Begins a session; returns whether the user is active and still of that generation.
    pub(crate) async fn open_session(&self, session: &NewSession) -> Result<bool, StoreError> {
        let mut connection = self.acquire().await?;
        self.limited(Access::Write, async {
            let mut transaction = connection.begin().await?;
            let opened = sqlx::query(
                "INSERT INTO refresh_tokens (digest, family, user_id, generation, expires_at)
                 SELECT $1, $2, id, generation, $5 FROM users
                 WHERE id = $3 AND generation = $4 AND active = 1",
            )
            .bind(session.digest.to_vec())
            .bind(session.family.as_str())
            .bind(signed(session.user.0))
            .bind(signed(session.generation.0))
            .bind(signed(session.expires_at.0))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            sqlx::query(
                "DELETE FROM refresh_tokens WHERE user_id = $1 AND family NOT IN (
                     SELECT family FROM refresh_tokens WHERE user_id = $1
                     GROUP BY family ORDER BY MAX(expires_at) DESC LIMIT $2)",
            )
            .bind(signed(session.user.0))
            .bind(MAX_SESSIONS)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(opened == 1)
        })
        .await
    }

    /// Spends the token of `digest`, and enters one of `next` in its place.
    pub(crate) async fn spend(
        &self,
        digest: &Digest,
        next: &Digest,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Spent, StoreError> {
        let mut connection = self.acquire().await?;
        self.limited(Access::Write, async {
            let mut transaction = connection.begin().await?;
            // This comes first: it locks the token against whoever else spends it.
            let spent = sqlx::query(
                "UPDATE refresh_tokens SET spent_at = $2
                 WHERE digest = $1 AND spent_at IS NULL AND expires_at > $2
                 RETURNING family",
            )
            .bind(digest.to_vec())
            .bind(signed(now.0))
            .fetch_optional(&mut *transaction)
            .await?;
            let outcome = match spent {
                Some(row) => {
                    let family: String = row.try_get("family")?;
                    renew(&mut transaction, digest, &family, next, expires_at).await?
                }
                None => revoke_if_reused(&mut transaction, digest).await?,
            };
            transaction.commit().await?;
            Ok(outcome)
        })
        .await
    }

    /// Ends the session that the token of `digest` belongs to, if there is one.
    pub(crate) async fn end_session(&self, digest: &Digest) -> Result<(), StoreError> {
        let statement = sqlx::query(
            "DELETE FROM refresh_tokens WHERE family IN (
                 SELECT family FROM refresh_tokens WHERE digest = $1)",
        )
        .bind(digest.to_vec());
        let mut connection = self.acquire().await?;
        self.limited(Access::Write, statement.execute(&mut *connection))
            .await?;
        Ok(())
    }

    /// Forgets tokens that have expired; returns how many.
    pub(crate) async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let statement =
            sqlx::query("DELETE FROM refresh_tokens WHERE expires_at <= $1").bind(signed(now.0));
        let mut connection = self.acquire().await?;
        let purged = self
            .limited(Access::Write, statement.execute(&mut *connection))
            .await?;
        Ok(purged.rows_affected())
    }
}

/// Enters `next` for the token of `digest`, which has been spent; ends the session where its user is
/// no longer who began it.
async fn renew(
    connection: &mut AnyConnection,
    digest: &Digest,
    family: &str,
    next: &Digest,
    expires_at: Timestamp,
) -> Result<Spent, sqlx::Error> {
    let owner = sqlx::query(
        "SELECT users.id AS id, users.role AS role, users.generation AS generation
         FROM refresh_tokens JOIN users ON users.id = refresh_tokens.user_id
         WHERE refresh_tokens.digest = $1 AND users.active = 1
             AND users.generation = refresh_tokens.generation",
    )
    .bind(digest.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(owner) = owner else {
        end_family(connection, family).await?;
        return Ok(Spent::Invalid);
    };
    let (user, generation): (i64, i64) = (owner.try_get("id")?, owner.try_get("generation")?);
    sqlx::query(
        "INSERT INTO refresh_tokens (digest, family, user_id, generation, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(next.to_vec())
    .bind(family)
    .bind(user)
    .bind(generation)
    .bind(signed(expires_at.0))
    .execute(&mut *connection)
    .await?;
    Ok(Spent::Renewed {
        user: UserId(unsigned(user)?),
        role: parse_role(&owner.try_get::<String, _>("role")?)?,
        generation: Generation(unsigned(generation)?),
    })
}

/// Ends the session of a token that could not be spent because it was before.
async fn revoke_if_reused(
    connection: &mut AnyConnection,
    digest: &Digest,
) -> Result<Spent, sqlx::Error> {
    let known = sqlx::query(
        "SELECT family, user_id FROM refresh_tokens WHERE digest = $1 AND spent_at IS NOT NULL",
    )
    .bind(digest.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(known) = known else {
        return Ok(Spent::Invalid);
    };
    end_family(connection, &known.try_get::<String, _>("family")?).await?;
    Ok(Spent::Reused {
        user: UserId(unsigned(known.try_get("user_id")?)?),
    })
}

async fn end_family(connection: &mut AnyConnection, family: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM refresh_tokens WHERE family = $1")
        .bind(family)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
