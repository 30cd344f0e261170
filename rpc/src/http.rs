//! The bodies of the HTTP interface that programs in Rust share: what a frontend writes and the
//! load generator reads.

use serde::{Deserialize, Serialize};

use crate::{Item, ItemName, ItemNumber, Money, Order, OrderNumber, Quantity, Side, Version};

/// The envelope of the stock bazaar's answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Data<T> {
    /// What was asked for.
    pub data: T,
}

/// The answer to `GET /stocks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stock {
    /// The item's name.
    pub name: ItemName,
    /// The price of one unit.
    pub price: Money,
    /// The units in stock.
    pub quantity: Quantity,
    /// Rises with every change of the item.
    pub version: Version,
}

impl From<&Item> for Stock {
    fn from(item: &Item) -> Self {
        Self {
            name: item.name.clone(),
            price: item.price,
            quantity: item.quantity,
            version: item.version,
        }
    }
}

/// The answer to a trade in the stock bazaar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TransactionNumber {
    /// The order's number.
    pub transaction_number: OrderNumber,
}

/// An order, as `GET /orders/{n}` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OrderView {
    /// Its transaction number.
    pub number: OrderNumber,
    /// The item's name.
    pub name: ItemName,
    /// The item's number.
    pub product_id: ItemNumber,
    /// Which way.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many units.
    pub quantity: Quantity,
    /// The price of one unit at that moment.
    pub price: Money,
    /// The item's version right after the trade.
    pub version: Version,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        let trade = &order.trade;
        Self {
            number: order.number,
            name: trade.name.clone(),
            product_id: trade.item,
            side: trade.request.side,
            quantity: trade.request.quantity,
            price: trade.price,
            version: trade.version,
        }
    }
}

/// An update or a cancel of an order: a trade of the difference, with a number of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OrderChange {
    /// Its transaction number.
    pub number: OrderNumber,
    /// For how many units the order was before.
    pub from: Quantity,
    /// For how many it was after; 0 where this cancelled it.
    pub to: Quantity,
    /// The item's version right after it.
    pub version: Version,
    /// When a frontend received it (RFC 3339, in UTC).
    #[cfg_attr(feature = "schema", schema(format = DateTime))]
    pub made_at: String,
}

/// What programs read of an order as it stands: the answer to `GET /orders/{n}` and to every change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StandingOrder {
    /// The order, for as many units as it is by now.
    #[serde(flatten)]
    pub order: OrderView,
    /// What has changed it since it was placed, in that order.
    pub history: Vec<OrderChange>,
}

/// An error, as RFC 9457 has it, with the original lab's envelope as an extension member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI reference that identifies the type of problem; `about:blank` where the status says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's phrase.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "schema", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// What was wrong with this request, and where.
    pub detail: String,
    /// The request's id, as its answer's `X-Request-Id` and the logs have it.
    pub request_id: String,
    /// The original envelope.
    pub error: ErrorEnvelope,
}

/// The error envelope of the original lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorEnvelope {
    /// The HTTP status.
    #[cfg_attr(feature = "schema", schema(minimum = 400, maximum = 599))]
    pub code: u16,
    /// A few words, the same for the same kind of error.
    pub message: String,
}

/// `text` as a segment of a path or a value in a query (RFC 3986, section 2).
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
