//! The accounts service as others call it.

use std::net::IpAddr;

use bazaar_rpc::UserId;
use bazaar_rpc::accounts::{
    Accounts, AccountsError, Caller, Feed, Login, NewUser, Secret, Session, User, UserChange,
};
use tarpc::context::Context;

use crate::service::{Service, to_its_end};

/// Serves [`Accounts`].
#[derive(Clone)]
pub(crate) struct AccountsServer(pub(crate) Service);

impl Accounts for AccountsServer {
    async fn register(
        self,
        _: Context,
        user: NewUser,
        address: IpAddr,
    ) -> Result<User, AccountsError> {
        to_its_end(async move { self.0.register(user, address).await }).await
    }

    async fn login(
        self,
        _: Context,
        login: Login,
        address: IpAddr,
    ) -> Result<Session, AccountsError> {
        self.0.login(login, address).await
    }

    async fn refresh(self, _: Context, token: Secret) -> Result<Session, AccountsError> {
        to_its_end(async move { self.0.refresh(token).await }).await
    }

    async fn logout(self, _: Context, token: Secret) -> Result<(), AccountsError> {
        to_its_end(async move { self.0.logout(token).await }).await
    }

    async fn get(self, _: Context, caller: Caller, user: UserId) -> Result<User, AccountsError> {
        self.0.get(caller, user).await
    }

    async fn update(
        self,
        _: Context,
        caller: Caller,
        user: UserId,
        change: UserChange,
    ) -> Result<User, AccountsError> {
        to_its_end(async move { self.0.update(caller, user, change).await }).await
    }

    async fn deactivate(
        self,
        _: Context,
        caller: Caller,
        user: UserId,
    ) -> Result<(), AccountsError> {
        to_its_end(async move { self.0.deactivate(caller, user).await }).await
    }

    async fn reactivate(
        self,
        _: Context,
        caller: Caller,
        user: UserId,
    ) -> Result<User, AccountsError> {
        to_its_end(async move { self.0.reactivate(caller, user).await }).await
    }

    async fn list(
        self,
        _: Context,
        caller: Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>, AccountsError> {
        self.0.list(caller, after, limit).await
    }

    async fn watch(self, _: Context, known: u64) -> Result<Option<Feed>, AccountsError> {
        self.0.board().watch(known).await
    }
}
