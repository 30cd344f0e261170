//! Calls to the accounts service.

use std::time::Duration;

use bazaar_rpc::ServiceKind;
use bazaar_rpc::accounts::{AccountsClient, AccountsError};
use bazaar_rpc::connect::call;
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::sync::watch;

use crate::Error;

/// How long a call may take. One that hashes a password may have to wait for others.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Calls the accounts service, where there is one. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Accounts {
    client: watch::Receiver<Option<AccountsClient>>,
}

impl Accounts {
    /// Calls over the connection of the moment.
    #[must_use]
    pub(crate) fn new(client: watch::Receiver<Option<AccountsClient>>) -> Self {
        Self { client }
    }

    /// Asks for something that changes nothing, or nothing that would matter.
    ///
    /// # Errors
    /// The service's own; otherwise when there is none, or it does not answer.
    pub(crate) async fn ask<T, Answer>(
        &self,
        ask: impl FnOnce(AccountsClient, Context) -> Answer,
    ) -> Result<T, Error>
    where
        Answer: Future<Output = Result<Result<T, AccountsError>, RpcError>>,
    {
        match self.call(ask).await? {
            Ok(answer) => answer.map_err(Error::Accounts),
            Err(RpcError::Shutdown) => Err(Error::Unreachable(ServiceKind::Accounts)),
            Err(_) => Err(Error::NoAnswer(ServiceKind::Accounts)),
        }
    }

    /// Asks for a change, once: what is not answered may have taken effect, and nobody but the client
    /// knows whether it may be asked for again.
    ///
    /// # Errors
    /// As [`Accounts::ask`]; where there is no answer, that the outcome is unknown.
    pub(crate) async fn change<T, Answer>(
        &self,
        change: impl FnOnce(AccountsClient, Context) -> Answer,
    ) -> Result<T, Error>
    where
        Answer: Future<Output = Result<Result<T, AccountsError>, RpcError>>,
    {
        let answer = self.call(change).await?;
        answer
            .unwrap_or(Err(AccountsError::Unknown))
            .map_err(Error::Accounts)
    }

    async fn call<T, Answer>(
        &self,
        make: impl FnOnce(AccountsClient, Context) -> Answer,
    ) -> Result<Result<T, RpcError>, Error>
    where
        Answer: Future<Output = Result<T, RpcError>>,
    {
        let mut current = self.client.clone();
        let client = current.borrow_and_update().clone();
        let client = client.ok_or(Error::Unreachable(ServiceKind::Accounts))?;
        tokio::select! {
            answer = call(CALL_LIMIT, |context| make(client, context)) => Ok(answer),
            // Given up, or connected anew: this call is answered by nobody.
            _ = current.changed() => Ok(Err(RpcError::Shutdown)),
        }
    }
}
