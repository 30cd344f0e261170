//! Users: who they are, and who may see and change them.

use std::net::IpAddr;

use bazaar_rpc::accounts::{
    AccountsError, Caller, Generation, MAX_PAGE, NewUser, Role, User, UserChange,
};
use bazaar_rpc::{Timestamp, UserId};
use tracing::info;

use crate::service::Service;
use crate::store::{Change, Entry};

/// Whether `caller` may see and change `user`: oneself or, as an admin, anybody. To anybody else the
/// user does not exist.
fn authorize(caller: Caller, user: UserId) -> Result<(), AccountsError> {
    if caller.user == user || caller.role == Role::Admin {
        Ok(())
    } else {
        Err(AccountsError::UnknownUser)
    }
}

fn require_admin(caller: Caller) -> Result<(), AccountsError> {
    match caller.role {
        Role::Admin => Ok(()),
        Role::Customer => Err(AccountsError::AdminRequired),
    }
}

impl Service {
    pub(crate) async fn register(
        &self,
        new: NewUser,
        address: IpAddr,
    ) -> Result<User, AccountsError> {
        self.limits().count_address(address)?;
        let store = self.store()?;
        let password_hash = self.passwords().hash(new.password.secret()).await?;
        let entry = Entry {
            student_id: new.student_id,
            user_name: new.user_name,
            email: new.email,
            password_hash,
            role: Role::Customer,
        };
        let user = store.insert(&entry, Timestamp::now()).await?;
        info!(user = %user.id, "registered");
        Ok(user)
    }

    pub(crate) async fn get(&self, caller: Caller, user: UserId) -> Result<User, AccountsError> {
        authorize(caller, user)?;
        let found = self.store()?.credentials(user).await?;
        let found = found.ok_or(AccountsError::UnknownUser)?;
        Ok(found.user)
    }

    pub(crate) async fn update(
        &self,
        caller: Caller,
        user: UserId,
        change: UserChange,
    ) -> Result<User, AccountsError> {
        authorize(caller, user)?;
        let store = self.store()?;
        let found = store.credentials(user).await?;
        let found = found.ok_or(AccountsError::UnknownUser)?;
        let mut password_hash = None;
        if let Some(password) = &change.password {
            // Whoever finds somebody else's session open shall not be able to keep it.
            if caller.user == user {
                let (name, current) = (&found.user.user_name, change.current_password.as_ref());
                self.check_current(name, current, &found.password_hash)
                    .await?;
            }
            password_hash = Some(self.passwords().hash(password.secret()).await?);
        }
        let change = Change {
            user_name: change.user_name,
            email: change.email,
            password_hash,
        };
        let now = Timestamp::now();
        let changed = store.change(user, &change, now).await?;
        let changed = changed.ok_or(AccountsError::UnknownUser)?;
        if change.password_hash.is_some() {
            self.void(user, changed.generation, now);
            info!(%user, "a new password, and every token is void");
        }
        Ok(changed.user)
    }

    pub(crate) async fn deactivate(
        &self,
        caller: Caller,
        user: UserId,
    ) -> Result<(), AccountsError> {
        authorize(caller, user)?;
        let now = Timestamp::now();
        match self.store()?.deactivate(user, now).await? {
            Some(generation) => {
                self.void(user, generation, now);
                info!(%user, by = %caller.user, "deactivated");
            }
            None => {
                // It was before, perhaps by a call that was not answered: what that has made void is
                // made known here too.
                let found = self.store()?.credentials(user).await?;
                let found = found.ok_or(AccountsError::UnknownUser)?;
                if found.generation > Generation::default() {
                    self.void(user, found.generation, now);
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn reactivate(
        &self,
        caller: Caller,
        user: UserId,
    ) -> Result<User, AccountsError> {
        require_admin(caller)?;
        let found = self.store()?.reactivate(user).await?;
        let found = found.ok_or(AccountsError::UnknownUser)?;
        info!(%user, by = %caller.user, "reactivated");
        Ok(found)
    }

    pub(crate) async fn list(
        &self,
        caller: Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>, AccountsError> {
        require_admin(caller)?;
        if limit == 0 || limit as usize > MAX_PAGE {
            let reason = format!("a page has 1 to {MAX_PAGE} users, not {limit}");
            return Err(AccountsError::Invalid(reason));
        }
        Ok(self.store()?.list(after, limit).await?)
    }
}
