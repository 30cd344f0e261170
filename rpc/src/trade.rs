//! Trades: what is asked for, what the catalog decides, what the order log records.

use serde::{Deserialize, Serialize};

use crate::{
    Amendment, InvocationId, ItemKey, ItemName, ItemNumber, Money, OrderNumber, Quantity,
    RequestId, ShopName, Timestamp, TradeSequence, UserId, Version,
};

/// The direction of a trade, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Side {
    /// Takes units from the stock.
    Buy,
    /// Returns units to the stock.
    Sell,
}

impl Side {
    /// `buy` or `sell`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// A request to trade, as it travels from a frontend to the catalog and back in every answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeRequest {
    /// The same through every retry of this request.
    pub request: RequestId,
    /// The same through every retry by one frontend for one HTTP request.
    pub invocation: InvocationId,
    /// What to trade.
    pub item: ItemKey,
    /// Which way.
    pub side: Side,
    /// How many units; never zero.
    pub quantity: Quantity,
    /// Whose order it is; nobody's in a shop that asks for no account.
    pub user: Option<UserId>,
    /// When a frontend received it.
    pub received: Timestamp,
    /// The order that this trade amends, and how. Side and quantity are those of the difference
    /// then, and the user is that order's.
    pub amends: Option<Amendment>,
}

/// A trade that the catalog has made: stock has changed, and the order log is to record it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Its place among all trades.
    pub sequence: TradeSequence,
    /// What was asked for.
    pub request: TradeRequest,
    /// The item's number.
    pub item: ItemNumber,
    /// The item's name.
    pub name: ItemName,
    /// The item's shop.
    pub shop: ShopName,
    /// The price of one unit at that moment; of an amendment, that of the order which it amends.
    pub price: Money,
    /// The item's version right after this trade.
    pub version: Version,
}

/// A recorded order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its transaction number.
    pub number: OrderNumber,
    /// The trade that it records.
    pub trade: Trade,
}

impl Order {
    /// Whether `request`, sent under this order's request id, asks for what this order records.
    /// Where it does not, an idempotency key was used twice. Amendments are asked for, and compared,
    /// by an [`crate::AmendRequest`].
    #[must_use]
    pub fn answers(&self, request: &TradeRequest) -> bool {
        let recorded = &self.trade.request;
        let same_item = match &request.item {
            ItemKey::Number(number) => *number == self.trade.item,
            ItemKey::Name(name) => *name == self.trade.name,
        };
        recorded.amends.is_none()
            && same_item
            && recorded.side == request.side
            && recorded.quantity == request.quantity
            && recorded.user == request.user
    }
}

/// Why the catalog does not make a trade. A refused trade has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No shop has such an item.
    #[error("stock not found")]
    UnknownItem,
    /// Fewer units are in stock than were asked for.
    #[error("not enough stock: {available} available")]
    NotEnoughStock {
        /// The units in stock.
        available: Quantity,
    },
    /// The shop does not trade this way.
    #[error("this shop does not accept orders of type {}", .side.as_str())]
    SideNotAllowed {
        /// The way that was asked for.
        side: Side,
    },
    /// The shop's policy bounds the units of one order.
    #[error("quantity: an order in this shop is for {min} to {max} units")]
    QuantityNotAllowed {
        /// The fewest units.
        min: Quantity,
        /// The most units.
        max: Quantity,
    },
    /// The shop sells to account holders only.
    #[error("this shop requires an account")]
    AccountRequired,
    /// The stock would grow beyond [`Quantity::MAX`].
    #[error("the stock of this item cannot hold that many units")]
    StockFull,
}
