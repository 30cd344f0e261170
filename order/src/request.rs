//! What callers ask of a leader: to trade, or to amend an order.

use bazaar_rpc::orders::OrderError;
use bazaar_rpc::{AmendRequest, InvocationId, Order, RequestId, TradeRequest};

/// A request that something be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A trade.
    Trade(TradeRequest),
    /// A change of a recorded order. What is to be traded for it depends on what the order then is.
    Amend(AmendRequest),
}

impl Request {
    /// The same through every retry.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Self::Trade(trade) => trade.request,
            Self::Amend(amend) => amend.request,
        }
    }

    /// The same through every attempt of one frontend for one HTTP request.
    pub(crate) fn invocation(&self) -> InvocationId {
        match self {
            Self::Trade(trade) => trade.invocation,
            Self::Amend(amend) => amend.invocation,
        }
    }

    /// Whether `order`, recorded under this request's id, records what it asks for.
    pub(crate) fn is_answered_by(&self, order: &Order) -> bool {
        match self {
            Self::Trade(trade) => order.answers(trade),
            Self::Amend(amend) => amend.is_answered_by(order),
        }
    }

    /// Makes sure that `other`, sent under the same id, asks for the same.
    ///
    /// # Errors
    /// What to tell whoever sent it.
    pub(crate) fn check_same(&self, other: &Self) -> Result<(), OrderError> {
        let is_same = match (self, other) {
            (Self::Trade(known), Self::Trade(other)) => return check_same_trade(known, other),
            (Self::Amend(known), Self::Amend(other)) => {
                (known.order, known.change, known.requester)
                    == (other.order, other.change, other.requester)
            }
            (Self::Trade(_), Self::Amend(_)) | (Self::Amend(_), Self::Trade(_)) => false,
        };
        if is_same {
            Ok(())
        } else {
            Err(OrderError::KeyReused)
        }
    }
}

fn check_same_trade(known: &TradeRequest, other: &TradeRequest) -> Result<(), OrderError> {
    if (known.side, known.quantity, known.user) != (other.side, other.quantity, other.user) {
        return Err(OrderError::KeyReused);
    }
    if known.item == other.item {
        return Ok(());
    }
    // A number and a name may be the same item: that shows once the trade is made.
    let comparable = std::mem::discriminant(&known.item) == std::mem::discriminant(&other.item);
    Err(if comparable {
        OrderError::KeyReused
    } else {
        OrderError::Busy
    })
}
