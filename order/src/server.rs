//! The order contract, as this replica serves it.

use bazaar_daemon::{Failure, Tasks};
use bazaar_replication::{Group, ProposeError};
use bazaar_rpc::orders::{MAX_PAGE, OrderError, Orders};
use bazaar_rpc::{Order, OrderNumber, RequestId, TradeRequest, UserId};
use std::sync::Arc;
use tarpc::context::Context;
use tokio::sync::watch;

use crate::error::StoreError;
use crate::reign::Reign;
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
        if request.quantity.units() == 0 {
            return Err(OrderError::Invalid("an order for no units".into()));
        }
        let answer = self.reign()?.submit(&request)?;
        // The work is the reign's: when the caller hangs up, only the waiting stops.
        answer.await.unwrap_or(Err(OrderError::Unknown))
    }

    async fn ready(self, _: Context) -> Result<(), OrderError> {
        self.reign()?.trades().await
    }

    async fn orders(
        self,
        _: Context,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<Order>>, OrderError> {
        if numbers.len() > MAX_PAGE {
            return Err(OrderError::Invalid(format!(
                "more than {MAX_PAGE} order numbers"
            )));
        }
        self.barrier().await?;
        self.read(numbers.len(), move |store| {
            numbers
                .into_iter()
                .map(|number| store.order(number))
                .collect()
        })
        .await
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
    ) -> Result<Vec<Order>, OrderError> {
        self.barrier().await?;
        let limit = page(limit);
        self.read(limit, move |store| store.orders_of_user(user, after, limit))
            .await
    }

    async fn export(
        self,
        _: Context,
        from: OrderNumber,
        limit: u32,
    ) -> Result<Vec<Order>, OrderError> {
        let limit = page(limit);
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

    /// Makes sure that this replica leads and shows every order that was acknowledged before.
    async fn barrier(&self) -> Result<(), OrderError> {
        match self.group.barrier().await {
            Ok(_) => Ok(()),
            Err(ProposeError::NotLeader { leader }) => Err(OrderError::NotLeader { leader }),
            // A read changes nothing, whatever becomes of it.
            Err(ProposeError::Unknown) => Err(OrderError::NotLeader { leader: None }),
        }
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

/// The size of a page for which `limit` was asked.
fn page(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE)
}
