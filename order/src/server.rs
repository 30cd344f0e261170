//! The order contract, as this replica serves it.

use bazaar_daemon::{Failure, Tasks};
use bazaar_replication::{Group, ProposeError};
use bazaar_rpc::orders::{MAX_PAGE, MAX_STATES, OrderError, Orders};
use bazaar_rpc::{
    AmendRequest, Order, OrderNumber, OrderState, RequestId, Term, TradeRequest, UserId,
};
use std::sync::Arc;
use tarpc::context::Context;
use tokio::sync::watch;

use crate::error::StoreError;
use crate::reign::Reign;
use crate::request::Request;
use crate::store::Store;

/// Up to so many look-ups are made at once on the thread at hand; more of them move to one that may
/// block.
const FEW: usize = 16;

/// Serves [`Orders`]. Clones share one replica.
#[derive(Clone)]
pub(crate) struct OrdersServer {
    pub(crate) group: Group,
    pub(crate) store: Store,
    /// The reign that this replica is in.
    pub(crate) reign: watch::Receiver<Option<Arc<Reign>>>,
    pub(crate) tasks: Tasks,
}

impl Orders for OrdersServer {
    async fn trade(self, _: Context, request: TradeRequest) -> Result<Order, OrderError> {
        if request.amends.is_some() {
            return Err(OrderError::Invalid("an amendment sent as a trade".into()));
        }
        let answer = self.reign()?.submit(&Request::Trade(request))?;
        // The work is the reign's: when the caller hangs up, only the waiting stops.
        answer.await.unwrap_or(Err(OrderError::Unknown))
    }

    async fn amend(self, _: Context, request: AmendRequest) -> Result<OrderState, OrderError> {
        let reign = self.reign()?;
        let answer = reign.submit(&Request::Amend(request))?;
        let answer = answer.await.unwrap_or(Err(OrderError::Unknown));
        let was_only_read = match &answer {
            Ok(last) => last.trade.request.request != request.request,
            Err(OrderError::UnknownOrder(_) | OrderError::Unchangeable(_)) => true,
            Err(_) => false,
        };
        if was_only_read && self.barrier().await? != reign.term {
            // It may have been read when another leader had recorded more.
            return Err(OrderError::NotLeader { leader: None });
        }
        let last = answer?.number;
        let state = self.state(request.order).await?;
        state
            .map(|state| state.as_of(last))
            .ok_or(OrderError::UnknownOrder(request.order))
    }

    async fn states(
        self,
        _: Context,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<OrderState>>, OrderError> {
        let numbers = at_most(MAX_STATES, numbers)?;
        self.barrier().await?;
        let state = |store: &Store, number| store.state(number);
        self.read_each(numbers, state).await
    }

    async fn ready(self, _: Context) -> Result<(), OrderError> {
        self.reign()?.trades().await
    }

    async fn orders(
        self,
        _: Context,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<Order>>, OrderError> {
        let numbers = at_most(MAX_PAGE, numbers)?;
        self.barrier().await?;
        let order = |store: &Store, number| store.order(number);
        self.read_each(numbers, order).await
    }

    async fn order_of_request(
        self,
        _: Context,
        request: RequestId,
    ) -> Result<Option<Order>, OrderError> {
        self.barrier().await?;
        self.read(1, move |store| store.order_of_request(request))
            .await
    }

    async fn orders_of_user(
        self,
        _: Context,
        user: UserId,
        after: Option<OrderNumber>,
        limit: u32,
    ) -> Result<Vec<OrderState>, OrderError> {
        self.barrier().await?;
        let limit = page(limit, MAX_STATES);
        self.read(limit, move |store| store.states_of_user(user, after, limit))
            .await
    }

    async fn export(
        self,
        _: Context,
        from: OrderNumber,
        limit: u32,
    ) -> Result<Vec<Order>, OrderError> {
        let limit = page(limit, MAX_PAGE);
        self.read(limit, move |store| store.page(from, limit)).await
    }
}

impl OrdersServer {
    /// The reign that this replica is in.
    fn reign(&self) -> Result<Arc<Reign>, OrderError> {
        self.reign
            .borrow()
            .clone()
            .ok_or_else(|| OrderError::NotLeader {
                leader: self.group.leadership().borrow().leader,
            })
    }

    /// How the order of that number stands.
    async fn state(&self, number: OrderNumber) -> Result<Option<OrderState>, OrderError> {
        // Most orders are amended a few times at most.
        self.read(1, move |store| store.state(number)).await
    }

    /// Makes sure that this replica leads and shows every order that was acknowledged before.
    /// Returns the term.
    async fn barrier(&self) -> Result<Term, OrderError> {
        match self.group.barrier().await {
            Ok(term) => Ok(term),
            Err(ProposeError::NotLeader { leader }) => Err(OrderError::NotLeader { leader }),
            // A read changes nothing, whatever becomes of it.
            Err(ProposeError::Unknown) => Err(OrderError::NotLeader { leader: None }),
        }
    }

    /// Reads something of each of `numbers` from the store.
    async fn read_each<T: Send + 'static>(
        &self,
        numbers: Vec<OrderNumber>,
        read: impl Fn(&Store, OrderNumber) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Vec<T>, OrderError> {
        self.read(numbers.len(), move |store| {
            let numbers = numbers.into_iter();
            numbers.map(|number| read(store, number)).collect()
        })
        .await
    }

    /// Reads from the store, which takes `lookups` of them.
    async fn read<T: Send + 'static>(
        &self,
        lookups: usize,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, OrderError> {
        let outcome = if lookups <= FEW {
            read(&self.store)
        } else {
            let store = self.store.clone();
            match bazaar_machine::task::spawn_blocking(move || read(&store)).await {
                Ok(outcome) => outcome,
                // The runtime is shutting down.
                Err(_) => return Err(OrderError::NotLeader { leader: None }),
            }
        };
        outcome.map_err(|error| {
            self.tasks.fail(Failure {
                task: "order store",
                reason: error.to_string(),
            });
            OrderError::NotLeader { leader: None }
        })
    }
}

/// `numbers`, if they are no more than `max`.
fn at_most(max: usize, numbers: Vec<OrderNumber>) -> Result<Vec<OrderNumber>, OrderError> {
    if numbers.len() > max {
        let reason = format!("more than {max} order numbers");
        return Err(OrderError::Invalid(reason));
    }
    Ok(numbers)
}

/// The size of a page for which `limit` was asked.
fn page(limit: u32, max: usize) -> usize {
    usize::try_from(limit).unwrap_or(max).min(max)
}
