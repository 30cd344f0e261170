//! Changes of recorded orders.
//!
//! An order stays for ever as it is recorded. What changes it is a *compensating trade*: a trade of
//! the difference, with a request id, a sequence number and a transaction number of its own, that
//! names the order which it amends.

use serde::{Deserialize, Serialize};

use crate::{
    InvocationId, Money, Order, OrderNumber, Quantity, RequestId, Side, Sum, Timestamp, UserId,
};

/// The most updates of one order. It can be cancelled after that, so its history has at most one
/// record more.
pub const MAX_UPDATES: usize = 100;

/// What a compensating trade does to the order that it amends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// The order; never an amendment itself.
    pub order: OrderNumber,
    /// Its unit price, at which the difference is traded too, whatever the item costs by now.
    pub price: Money,
    /// For how many units it was; never zero, because what is cancelled stays cancelled.
    pub from: Quantity,
    /// For how many it is now, zero where it is cancelled; never as many as before.
    pub to: Quantity,
}

impl Amendment {
    /// How many units are traded.
    #[must_use]
    pub fn difference(&self) -> Quantity {
        self.from.abs_diff(self.to)
    }

    /// Which way they are traded, for an order that was made `side`.
    #[must_use]
    pub fn side(&self, side: Side) -> Side {
        if self.to > self.from {
            side
        } else {
            side.opposite()
        }
    }
}

/// What is to become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is cancelled, for good.
    Cancel,
    /// It is for so many units, within the shop's bounds; zero is in none.
    Quantity(Quantity),
}

impl Change {
    /// For how many units the order is then.
    #[must_use]
    pub fn to(self) -> Quantity {
        match self {
            Self::Cancel => Quantity::default(),
            Self::Quantity(quantity) => quantity,
        }
    }
}

/// Who asks about an order, or to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The user.
    pub user: UserId,
    /// Whether that is an admin, who sees and changes every user's orders.
    pub is_admin: bool,
}

impl Requester {
    /// Whether `order` is theirs to see: the orders of open shops are everybody's. Where it is not,
    /// it is to them as if there were none.
    #[must_use]
    pub fn sees(&self, order: &Order) -> bool {
        let owner = order.trade.request.user;
        self.is_admin || owner.is_none_or(|owner| owner == self.user)
    }
}

/// A request to change an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmendRequest {
    /// The same through every retry of this request.
    pub request: RequestId,
    /// The same through every retry by one frontend for one HTTP request.
    pub invocation: InvocationId,
    /// The order.
    pub order: OrderNumber,
    /// Who asks.
    pub requester: Requester,
    /// What is to become of it.
    pub change: Change,
    /// When a frontend received it.
    pub received: Timestamp,
}

impl AmendRequest {
    /// Whether `order`, recorded under this request's id, is the compensating trade that this
    /// request asks for, whatever the order was when it was made. Where it is not, an idempotency
    /// key was used twice.
    #[must_use]
    pub fn is_answered_by(&self, order: &Order) -> bool {
        let recorded = order.trade.request.amends;
        self.requester.sees(order)
            && recorded.is_some_and(|made| (made.order, made.to) == (self.order, self.change.to()))
    }
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// As it was placed.
    Placed,
    /// It was updated since.
    Updated,
    /// It is cancelled.
    Cancelled,
}

/// An order with everything that has changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The order as it was placed.
    pub original: Order,
    /// Its amendments in the order in which they were made, at most [`MAX_UPDATES`] and one.
    pub history: Vec<Order>,
}

impl OrderState {
    /// For how many units it is; zero where it is cancelled.
    #[must_use]
    pub fn quantity(&self) -> Quantity {
        let amendment = self.last().trade.request.amends;
        amendment.map_or(self.original.trade.request.quantity, |made| made.to)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> OrderStatus {
        if self.history.is_empty() {
            OrderStatus::Placed
        } else if self.quantity() == Quantity::default() {
            OrderStatus::Cancelled
        } else {
            OrderStatus::Updated
        }
    }

    /// What it comes to: its unit price times its units.
    #[must_use]
    pub fn total(&self) -> Sum {
        self.original.trade.price * self.quantity()
    }

    /// The record that it was left at: its last amendment, or the order itself.
    #[must_use]
    pub fn last(&self) -> &Order {
        self.history.last().unwrap_or(&self.original)
    }

    /// The state that the record of that number left it in.
    #[must_use]
    pub fn as_of(mut self, record: OrderNumber) -> Self {
        self.history.retain(|amendment| amendment.number <= record);
        self
    }
}
