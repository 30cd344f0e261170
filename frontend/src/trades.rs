//! Trades and recorded orders: everything that goes to the order group's leader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bazaar_daemon::{GroupClient, Leader};
use bazaar_rpc::orders::{MAX_STATES, OrderError, OrdersClient};
use bazaar_rpc::{
    AmendRequest, Change, InvocationId, ItemKey, Order, OrderNumber, OrderState, Quantity,
    RequestId, Requester, ServiceKind, Side, Timestamp, TradeRequest, UserId,
};
use tarpc::client::RpcError;

use crate::Error;
use crate::request::within;

/// How long a trade may take, through every leader change.
const TRADE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a question about recorded orders may take.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// Has trades made and finds recorded orders. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Trades {
    orders: GroupClient<OrdersClient>,
}

/// A trade, made and recorded.
#[derive(Clone, Debug)]
pub(crate) struct Traded {
    /// As it is recorded.
    pub order: Order,
    /// Whether it was recorded for an earlier request under the same idempotency key.
    pub replayed: bool,
}

/// An order that was changed.
#[derive(Clone, Debug)]
pub(crate) struct Amended {
    /// As the change has left it.
    pub state: OrderState,
    /// Whether it was changed for an earlier request under the same idempotency key.
    pub replayed: bool,
}

impl Trades {
    /// Trades through the leader of `orders`.
    #[must_use]
    pub(crate) fn new(orders: GroupClient<OrdersClient>) -> Self {
        Self { orders }
    }

    /// Trades `quantity` of `item` for `user`, once under `request`, however often that is asked for.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when it may have been made; any other error says that it was not.
    pub(crate) async fn trade(
        &self,
        request: RequestId,
        item: ItemKey,
        side: Side,
        quantity: Quantity,
        user: Option<UserId>,
    ) -> Result<Traded, Error> {
        let deadline = Instant::now() + TRADE_DEADLINE;
        let invocation = InvocationId::fresh();
        let received = Timestamp::now();
        let trade = TradeRequest {
            request,
            invocation,
            item,
            side,
            quantity,
            user,
            received,
            amends: None,
        };
        let send = |leader: Leader<OrdersClient>| {
            let trade = trade.clone();
            async move { leader.client.trade(within(left(deadline)), trade).await }
        };
        let order = self.submit(deadline, send).await?;
        let replayed = order.trade.request.invocation != invocation;
        Ok(Traded { order, replayed })
    }

    /// Changes an order, once under `request`, however often that is asked for.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when it may have been changed; any other error says that it was not.
    pub(crate) async fn amend(
        &self,
        request: RequestId,
        order: OrderNumber,
        requester: Requester,
        change: Change,
    ) -> Result<Amended, Error> {
        let deadline = Instant::now() + TRADE_DEADLINE;
        let invocation = InvocationId::fresh();
        let amend = AmendRequest {
            request,
            invocation,
            order,
            requester,
            change,
            received: Timestamp::now(),
        };
        let send = |leader: Leader<OrdersClient>| async move {
            leader.client.amend(within(left(deadline)), amend).await
        };
        let state = self.submit(deadline, send).await?;
        let last = &state.last().trade.request;
        let replayed = last.request == request && last.invocation != invocation;
        Ok(Amended { state, replayed })
    }

    /// How at most `limit` orders of `user` stand, by number, after `after`.
    ///
    /// # Errors
    /// When the order service gave no answer.
    pub(crate) async fn orders_of_user(
        &self,
        user: UserId,
        after: Option<OrderNumber>,
        limit: u32,
    ) -> Result<Vec<OrderState>, Error> {
        let deadline = Instant::now() + LOOKUP_DEADLINE;
        let ask = |leader: Leader<OrdersClient>| async move {
            let context = within(left(deadline));
            leader
                .client
                .orders_of_user(context, user, after, limit)
                .await
        };
        self.ask(deadline, ask).await
    }

    /// Has the order group's leader make a change by `send`, under a request id of its own.
    async fn submit<T, F, Fut>(&self, deadline: Instant, send: F) -> Result<T, Error>
    where
        F: Fn(Leader<OrdersClient>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Result<T, OrderError>, RpcError>> + Send,
    {
        let in_doubt = AtomicBool::new(false);
        let attempt = |leader| {
            let (answer, in_doubt) = (send(leader), &in_doubt);
            async move {
                // An attempt that is never answered, or is dropped, leaves its doubt behind.
                let before = in_doubt.swap(true, Ordering::Relaxed);
                let answer = answer.await;
                if matches!(&answer, Ok(Err(error)) if has_changed_nothing(error)) {
                    in_doubt.store(before, Ordering::Relaxed);
                }
                answer
            }
        };
        let outcome = self.orders.call(deadline, may_be_sent_again, attempt).await;
        outcome.map_err(|error| Error::of_trade(error, in_doubt.into_inner()))
    }

    /// Returns once trades are taken.
    ///
    /// # Errors
    /// When they are not by `deadline`, or not until somebody has mended what is wrong.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), Error> {
        let ask = |leader: Leader<OrdersClient>| async move {
            leader.client.ready(within(left(deadline))).await
        };
        self.orders
            .call(deadline, OrderError::is_retryable, ask)
            .await
            .map_err(Error::of_order_lookup)
    }

    /// How the orders of `numbers` stand, in that order, as far as `viewer` may see them: whoever has
    /// no account sees the orders of open shops.
    ///
    /// # Errors
    /// [`Error::UnknownOrder`] with the first number of which they see no order; otherwise when the
    /// order service gave no answer.
    pub(crate) async fn states(
        &self,
        numbers: &[OrderNumber],
        viewer: Option<Requester>,
    ) -> Result<Vec<OrderState>, Error> {
        let deadline = Instant::now() + LOOKUP_DEADLINE;
        let is_visible = |order: &Order| match viewer {
            Some(viewer) => viewer.sees(order),
            None => order.trade.request.user.is_none(),
        };
        let records = self.records(deadline, numbers).await?;
        let mut states = Vec::with_capacity(records.len());
        for (record, number) in records.into_iter().zip(numbers) {
            let original = record
                .filter(|order| is_visible(order) && order.trade.request.amends.is_none())
                .ok_or(Error::UnknownOrder(*number))?;
            let history = Vec::new();
            states.push(OrderState { original, history });
        }
        // Nothing changes the orders of open shops.
        let changeable = |state: &&mut OrderState| state.original.trade.request.user.is_some();
        let mut changeable: Vec<_> = states.iter_mut().filter(changeable).collect();
        for page in changeable.chunks_mut(MAX_STATES) {
            let numbers = page.iter().map(|state| state.original.number).collect();
            let current = self.current(deadline, numbers).await?;
            for (state, current) in page.iter_mut().zip(current) {
                **state = current.ok_or(Error::UnknownOrder(state.original.number))?;
            }
        }
        Ok(states)
    }

    /// What is recorded under `numbers`.
    async fn records(
        &self,
        deadline: Instant,
        numbers: &[OrderNumber],
    ) -> Result<Vec<Option<Order>>, Error> {
        let ask = |leader: Leader<OrdersClient>| {
            let numbers = numbers.to_vec();
            async move { leader.client.orders(within(left(deadline)), numbers).await }
        };
        let found = self.ask(deadline, ask).await?;
        one_each(found, numbers)
    }

    /// How the orders of `numbers` stand, at most [`MAX_STATES`] of them.
    async fn current(
        &self,
        deadline: Instant,
        numbers: Vec<OrderNumber>,
    ) -> Result<Vec<Option<OrderState>>, Error> {
        let ask = |leader: Leader<OrdersClient>| {
            let numbers = numbers.clone();
            async move { leader.client.states(within(left(deadline)), numbers).await }
        };
        let found = self.ask(deadline, ask).await?;
        one_each(found, &numbers)
    }

    /// Asks the order group's leader what changes nothing.
    async fn ask<T, F, Fut>(&self, deadline: Instant, ask: F) -> Result<T, Error>
    where
        F: Fn(Leader<OrdersClient>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Result<T, OrderError>, RpcError>> + Send,
    {
        let answer = self.orders.call(deadline, may_be_sent_again, ask).await;
        answer.map_err(Error::of_order_lookup)
    }
}

/// `found`, if it has an entry for each of `numbers`.
fn one_each<T>(found: Vec<T>, numbers: &[OrderNumber]) -> Result<Vec<T>, Error> {
    if found.len() == numbers.len() {
        return Ok(found);
    }
    Err(Error::Contract {
        service: ServiceKind::Order,
        reason: format!("{} orders for {} numbers", found.len(), numbers.len()),
    })
}

/// An overloaded leader is not asked again: the client is told at once, and decides.
fn may_be_sent_again(error: &OrderError) -> bool {
    error.is_retryable() && *error != OrderError::Busy
}

/// Whether an attempt that was answered with `error` is known to have had no effect.
fn has_changed_nothing(error: &OrderError) -> bool {
    match error {
        OrderError::Refused(_)
        | OrderError::KeyReused
        | OrderError::NotLeader { .. }
        | OrderError::Busy
        | OrderError::Invalid(_)
        | OrderError::Inconsistent(_)
        | OrderError::UnknownOrder(_)
        | OrderError::Unchangeable(_) => true,
        OrderError::Unknown => false,
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
