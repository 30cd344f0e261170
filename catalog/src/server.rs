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
use bazaar_rpc::edit::{Edit, EditOutcome};
use bazaar_rpc::net::Protocol;
use bazaar_rpc::{FencingToken, Item, ItemKey, LeaseId, RequestId, Term, Trade, TradeSequence};
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
    async fn fence(
        self,
        _: Context,
        term: Term,
        recorded: TradeSequence,
    ) -> Result<Fence, CatalogError> {
        let reign = self.ruler.await_reign().await?;
        match reign.submit(&Command::Fence { term, recorded }).await? {
            Answer::Fenced(outcome) => outcome,
            other => unreachable!("a fence is answered as one, not {other:?}"),
        }
    }

    async fn decide(self, _: Context, batch: TradeBatch) -> Result<Vec<Decision>, CatalogError> {
        if batch.trades.len() > MAX_BATCH {
            let problem = format!("a batch has at most {MAX_BATCH} trades");
            return Err(CatalogError::Invalid(problem));
        }
        match self.ruler.reign()?.submit(&Command::Decide(batch)).await? {
            Answer::Decided(outcome) => outcome,
            other => unreachable!("a batch is answered as one, not {other:?}"),
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
        let (item, ticket) = self.replica.lookup(term, &key)?;
        if !planted(Bug::LookupOfUnsettled) {
            self.replica.settlement.settled(ticket).await;
        }
        Ok(item)
    }

    async fn list(self, _: Context, query: ListQuery) -> Result<Vec<Item>, CatalogError> {
        self.read(|state| state.list(&query)).await
    }

    async fn lease(self, _: Context, request: LeaseRequest) -> Result<LeaseGrant, CatalogError> {
        let LeaseRequest {
            cache,
            holder,
            address,
            term,
            held,
        } = request;
        let settlement = &self.replica.settlement;
        let reign = self.ruler.await_reign().await?;
        if term != reign.term {
            // Whoever asks has not heard of this reign yet, or this replica not of the next one.
            return Err(CatalogError::Starting);
        }
        // This alone ends a new leader's wait for the cache, whatever comes of the request.
        let admission = match settlement.call_in(cache, term) {
            Some(admission) => admission,
            None => reign.register(cache, holder).await?,
        };
        // A later leader is elected after this confirmation. So it knows of the cache, which was on
        // record by then (and if it was forgotten since, it is granted nothing). And it waits until
        // the lease has run out, because the holder counts from when it sent the request.
        let confirmed = match planted(Bug::LeaseByDeposedLeader) {
            true => term,
            false => self.ruler.confirm().await?,
        };
        if confirmed != term {
            return Err(CatalogError::Starting);
        }
        if let Some(held) = held {
            match settlement.renew(held, cache) {
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
        let (lease, from) = settlement
            .grant(cache, admission)
            .ok_or(CatalogError::Busy)?;
        let stub = InvalidationsClient::new(client_config(), client_transport(stream));
        let client = spawned(stub);
        self.tasks
            .spawn(push(settlement.clone(), lease, client, from));
        Ok(self.granted(lease))
    }

    async fn edit(
        self,
        _: Context,
        request: RequestId,
        edit: Edit,
    ) -> Result<EditOutcome, CatalogError> {
        let reign = self.ruler.await_reign().await?;
        match reign.submit(&Command::Edit { request, edit }).await? {
            Answer::Edited(outcome) => outcome,
            other => unreachable!("an edit is answered as one, not {other:?}"),
        }
    }
}
