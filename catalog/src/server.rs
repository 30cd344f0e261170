//! The catalog's contract, served.

use std::sync::Arc;

use bazaar_daemon::Tasks;
use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::cache::InvalidationsClient;
use bazaar_rpc::catalog::{
    Catalog, CatalogError, Decision, Fence, LeaseGrant, LeaseRequest, ListQuery, MAX_BATCH,
    TradeBatch,
};
use bazaar_rpc::connect::{Directory, client_config, client_transport, spawned};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{FencingToken, Item, ItemKey, LeaseId, Term, Trade, TradeSequence};
use tarpc::context::Context;
use tracing::debug;

use crate::command::{Answer, Command};
use crate::leases::Renewal;
use crate::machine::Replica;
use crate::push::push;
use crate::reign::Ruler;
use crate::state::State;

/// Serves the contract. Clones serve the same catalog.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) ruler: Arc<Ruler>,
    pub(crate) replica: Arc<Replica>,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
}

impl Server {
    /// What `read` makes of the state, linearizably.
    async fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, CatalogError> {
        let term = self.ruler.confirm().await?;
        let (value, ticket) = self.replica.view(term, read)?;
        self.replica.settlement.settled(ticket).await;
        Ok(value)
    }

    fn granted(&self, lease: LeaseId) -> LeaseGrant {
        LeaseGrant {
            lease,
            length: self.replica.settlement.length(),
        }
    }
}

impl Catalog for Server {
    async fn fence(self, _: Context, term: Term) -> Result<Fence, CatalogError> {
        match self.ruler.reign()?.submit(&Command::Fence { term }).await? {
            Answer::Fenced(outcome) => outcome,
            Answer::Opened | Answer::Decided(_) => unreachable!("a fence is answered as one"),
        }
    }

    async fn decide(self, _: Context, batch: TradeBatch) -> Result<Vec<Decision>, CatalogError> {
        if batch.trades.len() > MAX_BATCH {
            let problem = format!("a batch has at most {MAX_BATCH} trades");
            return Err(CatalogError::Invalid(problem));
        }
        match self.ruler.reign()?.submit(&Command::Decide(batch)).await? {
            Answer::Decided(outcome) => outcome,
            Answer::Opened | Answer::Fenced(_) => unreachable!("a batch is answered as one"),
        }
    }

    async fn outbox(
        self,
        _: Context,
        token: FencingToken,
        from: TradeSequence,
    ) -> Result<Vec<Trade>, CatalogError> {
        self.read(|state| state.outbox(token, from)).await?
    }

    async fn lookup(self, _: Context, key: ItemKey) -> Result<Option<Item>, CatalogError> {
        let term = if planted(Bug::ReadByDeposedLeader) {
            self.ruler.reign()?.term
        } else {
            self.ruler.confirm().await?
        };
        let Some((item, ticket)) = self.replica.lookup(term, &key)? else {
            return Ok(None);
        };
        if !planted(Bug::LookupOfUnsettled) {
            self.replica.settlement.settled(ticket).await;
        }
        Ok(Some(item))
    }

    async fn list(self, _: Context, query: ListQuery) -> Result<Vec<Item>, CatalogError> {
        self.read(|state| state.list(&query)).await
    }

    async fn lease(self, _: Context, request: LeaseRequest) -> Result<LeaseGrant, CatalogError> {
        let LeaseRequest {
            holder,
            address,
            held,
        } = request;
        let settlement = &self.replica.settlement;
        // The holder counts from when it sent the request. A later leader begins to wait for the
        // lease to run out after this confirmation, and so after that.
        if planted(Bug::LeaseByDeposedLeader) {
            self.ruler.reign()?;
        } else {
            self.ruler.confirm().await?;
        }
        if let Some(held) = held {
            match settlement.renew(held, holder) {
                Renewal::Renewed => return Ok(self.granted(held)),
                Renewal::Overdue => return Err(CatalogError::Busy),
                Renewal::Unknown => {}
            }
        }
        let connected = self
            .directory
            .connect_at(address, holder, Protocol::Invalidations)
            .await;
        let stream = connected.map_err(|error| {
            debug!(%holder, %error, "no lease: the holder cannot be reached");
            CatalogError::Invalid(format!("the holder cannot be reached: {error}"))
        })?;
        let (lease, from) = settlement.grant(holder).ok_or(CatalogError::Busy)?;
        let stub = InvalidationsClient::new(client_config(), client_transport(stream));
        let client = spawned(stub);
        self.tasks
            .spawn(push(settlement.clone(), lease, client, from));
        Ok(self.granted(lease))
    }
}
