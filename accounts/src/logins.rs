//! Sessions: begun with a password, continued with a refresh token.

use std::net::IpAddr;

use bazaar_rpc::Timestamp;
use bazaar_rpc::accounts::{
    ACCESS_TOKEN_LIFETIME, AccountsError, Login, Secret, Session, Tokens, UserName,
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::passwords::Verdict;
use crate::service::Service;
use crate::store::{Credentials, NewSession, Spent};
use crate::tokens::{self, Holder};

impl Service {
    pub(crate) async fn login(
        &self,
        login: Login,
        address: IpAddr,
    ) -> Result<Session, AccountsError> {
        self.limits().count_address(address)?;
        self.limits().count_user(&login.user_name)?;
        let found = self.store()?.credentials_by_name(&login.user_name).await?;
        let stored = found.as_ref().map(|found| found.password_hash.as_str());
        let verdict = self.passwords().verify(&login.password, stored).await?;
        let found = found.filter(|found| found.user.active && verdict != Verdict::Wrong);
        let Some(found) = found else {
            info!(%address, "login refused");
            return Err(AccountsError::WrongCredentials);
        };
        if verdict == Verdict::RightButOutdated {
            self.rehash(&found, &login.password).await;
        }
        self.begin_session(&found).await
    }

    /// Checks the current password of a user who is logged in.
    pub(crate) async fn check_current(
        &self,
        user_name: &UserName,
        password: Option<&Secret>,
        stored: &str,
    ) -> Result<(), AccountsError> {
        let password = password.ok_or(AccountsError::WrongCurrentPassword)?;
        self.limits().count_user(user_name)?;
        match self.passwords().verify(password, Some(stored)).await? {
            Verdict::Right | Verdict::RightButOutdated => Ok(()),
            Verdict::Wrong => Err(AccountsError::WrongCurrentPassword),
        }
    }

    /// Hashes a password, which was verified, with today's parameters. It is done again at the next
    /// login where it cannot be done now.
    async fn rehash(&self, found: &Credentials, password: &Secret) {
        let rehashed = async {
            let new = self.passwords().hash(password).await?;
            let (user, old) = (found.user.id, &found.password_hash);
            self.store()?.rehash(user, old, &new).await?;
            Ok::<_, AccountsError>(())
        };
        match rehashed.await {
            Ok(()) => info!(user = %found.user.id, "hashed a password with new parameters"),
            Err(error) => warn!(user = %found.user.id, %error, "a password hash stays outdated"),
        }
    }

    async fn begin_session(&self, found: &Credentials) -> Result<Session, AccountsError> {
        let now = Timestamp::now();
        let holder = Holder {
            user: found.user.id,
            role: found.user.role,
            generation: found.generation,
        };
        let refresh = tokens::refresh()?;
        let session = NewSession {
            user: holder.user,
            generation: holder.generation,
            family: Uuid::new_v4().to_string(),
            digest: tokens::digest(&refresh),
            expires_at: tokens::refresh_until(now),
        };
        if !self.store()?.open_session(&session).await? {
            // Deactivated, or with another password, since the password was verified.
            return Err(AccountsError::WrongCredentials);
        }
        self.session(holder, refresh, now)
    }

    pub(crate) async fn refresh(&self, token: Secret) -> Result<Session, AccountsError> {
        let now = Timestamp::now();
        let refresh = tokens::refresh()?;
        let (spent, next) = (tokens::digest(&token), tokens::digest(&refresh));
        let expires_at = tokens::refresh_until(now);
        let outcome = self.store()?.spend(&spent, &next, expires_at, now).await?;
        match outcome {
            Spent::Renewed {
                user,
                role,
                generation,
            } => {
                let holder = Holder {
                    user,
                    role,
                    generation,
                };
                self.session(holder, refresh, now)
            }
            Spent::Reused { user } => {
                warn!(%user, "a refresh token was used twice; its session has ended");
                Err(AccountsError::InvalidRefreshToken)
            }
            Spent::Invalid => Err(AccountsError::InvalidRefreshToken),
        }
    }

    pub(crate) async fn logout(&self, token: Secret) -> Result<(), AccountsError> {
        Ok(self.store()?.end_session(&tokens::digest(&token)).await?)
    }

    fn session(
        &self,
        holder: Holder,
        refresh: Secret,
        now: Timestamp,
    ) -> Result<Session, AccountsError> {
        Ok(Session {
            user: holder.user,
            tokens: Tokens {
                access: tokens::access(&self.signer(now), holder, now)?,
                expires_in: ACCESS_TOKEN_LIFETIME,
                refresh,
            },
        })
    }
}
