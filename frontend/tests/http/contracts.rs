//! The contracts that the [services](crate::services) keep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bazaar_rpc::catalog::*;
use bazaar_rpc::edit::{Edit, EditOutcome};
use bazaar_rpc::orders::{OrderError, Orders};
use bazaar_rpc::replica::{Leadership, RemoveError, Replica, ReplicaStatus};
use bazaar_rpc::*;
use tarpc::context::Context;

use crate::services::{LEASE, Services, is};

impl Catalog for Services {
    async fn fence(self, _: Context, _: Term, _: TradeSequence) -> Result<Fence, CatalogError> {
        Err(CatalogError::Invalid("no order service asks here".into()))
    }

    async fn decide(self, _: Context, _: TradeBatch) -> Result<Vec<Decision>, CatalogError> {
        Err(CatalogError::Invalid("no order service asks here".into()))
    }

    async fn outbox(
        self,
        _: Context,
        _: FencingToken,
        _: TradeSequence,
    ) -> Result<Vec<Trade>, CatalogError> {
        Err(CatalogError::Invalid("no order service asks here".into()))
    }

    async fn lookup(self, _: Context, key: ItemKey) -> Result<Option<Item>, CatalogError> {
        self.shared.lookups.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.shared.gate.subscribe();
        gate.wait_for(|open| *open).await.unwrap();
        Ok(self.shop().items.into_iter().find(|item| is(item, &key)))
    }

    async fn list(self, _: Context, query: ListQuery) -> Result<Vec<Item>, CatalogError> {
        let ListQuery {
            shop,
            category,
            after,
            limit,
        } = query;
        let selected = |item: &Item| {
            shop.as_ref().is_none_or(|shop| item.shop == *shop)
                && (category.is_none() || item.category == category)
                && after.is_none_or(|after| item.number > after)
        };
        let items = self.shop().items.into_iter().filter(selected);
        Ok(items.take(limit as usize).collect())
    }

    async fn lease(self, _: Context, request: LeaseRequest) -> Result<LeaseGrant, CatalogError> {
        let Some(serial) = *self.shared.lease.lock().unwrap() else {
            self.shared.refused_leases.fetch_add(1, Ordering::SeqCst);
            return Err(CatalogError::Busy);
        };
        let lease = LeaseId {
            term: Term(1),
            serial,
        };
        let holder = (request.holder, lease);
        self.shared
            .holders
            .lock()
            .unwrap()
            .insert(request.address, holder);
        Ok(LeaseGrant {
            lease,
            length: LEASE,
        })
    }

    async fn edit(self, _: Context, _: RequestId, _: Edit) -> Result<EditOutcome, CatalogError> {
        Err(CatalogError::Invalid("nobody edits here".into()))
    }
}

impl Orders for Services {
    async fn trade(self, context: Context, request: TradeRequest) -> Result<Order, OrderError> {
        *self.shared.trace.lock().unwrap() = (*context.trace_id()).into();
        if let Some(error) = self.shared.answer.lock().unwrap().clone() {
            return Err(error);
        }
        let (order, change) = self.book(&request)?;
        if let Some(change) = change {
            self.invalidate(change).await;
        }
        Ok(order)
    }

    async fn ready(self, _: Context) -> Result<(), OrderError> {
        self.shared
            .answer
            .lock()
            .unwrap()
            .clone()
            .map_or(Ok(()), Err)
    }

    async fn orders(
        self,
        _: Context,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<Order>>, OrderError> {
        let orders = self.shop().orders;
        Ok(numbers
            .iter()
            .map(|number| orders.get(number.0 as usize).cloned())
            .collect())
    }

    async fn order_of_request(
        self,
        _: Context,
        request: RequestId,
    ) -> Result<Option<Order>, OrderError> {
        let orders = self.shop().orders.into_iter();
        Ok(orders
            .into_iter()
            .find(|order| order.trade.request.request == request))
    }

    async fn orders_of_user(
        self,
        _: Context,
        _: UserId,
        _: Option<OrderNumber>,
        _: u32,
    ) -> Result<Vec<OrderState>, OrderError> {
        Ok(Vec::new())
    }

    async fn amend(self, _: Context, request: AmendRequest) -> Result<OrderState, OrderError> {
        Err(OrderError::UnknownOrder(request.order))
    }

    async fn states(
        self,
        _: Context,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<OrderState>>, OrderError> {
        Ok(vec![None; numbers.len()])
    }

    async fn export(
        self,
        _: Context,
        from: OrderNumber,
        limit: u32,
    ) -> Result<Vec<Order>, OrderError> {
        let orders = self.shop().orders.into_iter().skip(from.0 as usize);
        Ok(orders.take(limit as usize).collect())
    }
}

/// The only replica of its group, which it leads.
#[derive(Clone)]
pub(crate) struct Sole(pub(crate) ServiceName);

impl Replica for Sole {
    async fn leadership(self, _: Context, known: Leadership, patience: Duration) -> Leadership {
        let leadership = Leadership {
            term: Term(1),
            leader: Some(self.0),
        };
        if known == leadership {
            tokio::time::sleep(patience).await;
        }
        leadership
    }

    async fn status(self, _: Context) -> ReplicaStatus {
        unreachable!("no frontend asks")
    }

    async fn remove(self, _: Context, _: u64) -> Result<(), RemoveError> {
        unreachable!("nobody asks")
    }
}
