//! Trades and recorded orders: everything that goes to the order group's leader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bazaar_daemon::{GroupClient, Leader};
use bazaar_rpc::connect::within;
use bazaar_rpc::orders::{OrderError, OrdersClient};
use bazaar_rpc::{
    InvocationId, ItemKey, Order, OrderNumber, Quantity, RequestId, ServiceKind, Side, Timestamp,
    TradeRequest,
};

use crate::Error;

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

impl Trades {
    /// Trades through the leader of `orders`.
    #[must_use]
    pub(crate) fn new(orders: GroupClient<OrdersClient>) -> Self {
        Self { orders }
    }

    /// Trades `quantity` of `item`, once under `request`, however often that is asked for.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when it may have been made; any other error says that it was not.
    pub(crate) async fn trade(
        &self,
        request: RequestId,
        item: ItemKey,
        side: Side,
        quantity: Quantity,
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
            user: None,
            received,
        };
        let in_doubt = AtomicBool::new(false);
        let send = |leader: Leader<OrdersClient>| {
            let (trade, in_doubt) = (trade.clone(), &in_doubt);
            async move {
                // An attempt that is never answered, or is dropped, leaves its doubt behind.
                let before = in_doubt.swap(true, Ordering::Relaxed);
                let answer = leader.client.trade(within(left(deadline)), trade).await;
                if matches!(&answer, Ok(Err(error)) if has_changed_nothing(error)) {
                    in_doubt.store(before, Ordering::Relaxed);
                }
                answer
            }
        };
        match self.orders.call(deadline, may_be_sent_again, send).await {
            Ok(order) => {
                let replayed = order.trade.request.invocation != invocation;
                Ok(Traded { order, replayed })
            }
            Err(error) => Err(Error::of_trade(error, in_doubt.into_inner())),
        }
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

    /// The orders of `numbers`, in that order.
    ///
    /// # Errors
    /// [`Error::UnknownOrder`] with the first number that no order has; otherwise when the order
    /// service gave no answer.
    pub(crate) async fn orders(&self, numbers: &[OrderNumber]) -> Result<Vec<Order>, Error> {
        let deadline = Instant::now() + LOOKUP_DEADLINE;
        let lookup = |leader: Leader<OrdersClient>| {
            let numbers = numbers.to_vec();
            async move { leader.client.orders(within(left(deadline)), numbers).await }
        };
        let found = self
            .orders
            .call(deadline, may_be_sent_again, lookup)
            .await
            .map_err(Error::of_order_lookup)?;
        if found.len() != numbers.len() {
            let reason = format!("{} orders for {} numbers", found.len(), numbers.len());
            return Err(Error::Contract {
                service: ServiceKind::Order,
                reason,
            });
        }
        let known = |(order, number): (Option<Order>, &OrderNumber)| {
            order.ok_or(Error::UnknownOrder(*number))
        };
        found.into_iter().zip(numbers).map(known).collect()
    }
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
        | OrderError::Inconsistent(_) => true,
        OrderError::Unknown => false,
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
