//! The contract of the order service: it has trades decided, records them and finds them again.

use serde::{Deserialize, Serialize};

use crate::{
    AmendRequest, MAX_UPDATES, Order, OrderNumber, OrderState, Refusal, RequestId, ServiceName,
    TradeRequest, UserId,
};

/// The most orders in one page.
pub const MAX_PAGE: usize = 1000;

/// The most orders with their histories in one page.
pub const MAX_STATES: usize = 100;

/// Served by every order replica; all but the leader answer [`OrderError::NotLeader`], except where
/// a call says otherwise.
#[tarpc::service]
pub trait Orders {
    /// Books `request`, once, however often it is sent under its request id. When it returns an
    /// order, the order is on a majority of replicas and will be there for ever.
    async fn trade(request: TradeRequest) -> Result<Order, OrderError>;

    /// Changes an order, once, however often `request` is sent under its request id: each time it
    /// returns the state that the change left the order in. When it returns one, the change is on a
    /// majority of replicas and will be there for ever.
    ///
    /// The changes of one order are made one after the other, each upon what the one before has
    /// left. Where the order is already as is asked, its present state is returned, nothing is
    /// traded, and nothing is remembered of the request.
    async fn amend(request: AmendRequest) -> Result<OrderState, OrderError>;

    /// How the orders of `numbers` (at most [`MAX_STATES`]) stand, in that order; none where there is
    /// no such order. An amendment is not an order of its own. Whose they are is left to the caller.
    /// Linearizable.
    async fn states(numbers: Vec<OrderNumber>) -> Result<Vec<Option<OrderState>>, OrderError>;

    /// The records of `numbers` (at most [`MAX_PAGE`]), in that order, each as it was made,
    /// amendments too; none where there is no such record. Linearizable.
    async fn orders(numbers: Vec<OrderNumber>) -> Result<Vec<Option<Order>>, OrderError>;

    /// The order that was booked under `request`. Linearizable: none means that it was not booked
    /// by any request that had returned.
    async fn order_of_request(request: RequestId) -> Result<Option<Order>, OrderError>;

    /// One page (at most [`MAX_STATES`]) of a user's orders by number, after `after`. Linearizable.
    async fn orders_of_user(
        user: UserId,
        after: Option<OrderNumber>,
        limit: u32,
    ) -> Result<Vec<OrderState>, OrderError>;

    /// One page (at most [`MAX_PAGE`]) of this replica's own log, from `from` on, as far as this
    /// replica has applied it. Any replica answers.
    async fn export(from: OrderNumber, limit: u32) -> Result<Vec<Order>, OrderError>;

    /// Returns once trades are taken: the catalog is fenced, and every trade that it had made is
    /// recorded.
    async fn ready() -> Result<(), OrderError>;
}

/// Why the order service did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OrderError {
    /// The catalog refused the trade; nothing has changed.
    #[error(transparent)]
    Refused(Refusal),
    /// The request id belongs to a request that asked for something else; nothing has changed.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Another replica leads; nothing has changed.
    #[error("not the leader of the order group")]
    NotLeader {
        /// Who does, as far as this one knows.
        leader: Option<ServiceName>,
    },
    /// Too much is waiting; nothing has changed.
    #[error("the order service is overloaded")]
    Busy,
    /// The request is not as the contract says; nothing has changed.
    #[error("invalid request to the order service: {0}")]
    Invalid(String),
    /// Leadership was lost, or the catalog could not be reached, with the trade under way: it may
    /// have been made. Sent again under its request id it will be answered with what became of it.
    #[error("the outcome is unknown")]
    Unknown,
    /// The order group and the catalog do not belong together: one of them has lost data. Nothing
    /// is traded until that is mended.
    #[error("the order log and the catalog disagree: {0}")]
    Inconsistent(String),
    /// There is no such order, or it is another user's; nothing has changed.
    #[error("there is no order number {0}")]
    UnknownOrder(OrderNumber),
    /// The order cannot be changed as was asked; nothing has changed.
    #[error(transparent)]
    Unchangeable(Unchangeable),
}

/// Why an order cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unchangeable {
    /// It is cancelled.
    #[error("the order is cancelled")]
    Cancelled,
    /// It is a trade of an open shop, which is nobody's to change.
    #[error("the order belongs to no account")]
    NoAccount,
    /// It was updated [`MAX_UPDATES`] times. It can still be cancelled.
    #[error("the order was updated {MAX_UPDATES} times, and can only be cancelled")]
    TooOften,
}

impl OrderError {
    /// Whether the same request, under the same request id, may succeed later or elsewhere.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotLeader { .. } | Self::Busy | Self::Unknown => true,
            Self::Refused(_)
            | Self::KeyReused
            | Self::Invalid(_)
            | Self::Inconsistent(_)
            | Self::UnknownOrder(_)
            | Self::Unchangeable(_) => false,
        }
    }
}
