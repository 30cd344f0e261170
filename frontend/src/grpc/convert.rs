//! Between the contract's messages and Bazaar's own types: requests are checked here and trusted
//! afterwards.

use std::fmt::Display;

use bazaar_rpc::{
    Item, ItemName, Money, Order, OrderState, OrderStatus, Quantity, RequestId, Side, Timestamp,
    UserId,
};

use super::proto;
use crate::Error;
use crate::http::{MAX_KEY, excerpt, request_id_of_key};

/// The entries on one page where the request does not say.
const DEFAULT_PAGE: u32 = 100;

/// A field that is not as the contract says.
pub(super) fn malformed(field: &str, what: impl Display) -> Error {
    Error::Malformed(format!("{field}: {what}"))
}

/// The name in a field.
pub(super) fn item_name(field: &str, name: &str) -> Result<ItemName, Error> {
    ItemName::new(name).map_err(|error| malformed(field, error))
}

/// Which way an order goes.
pub(super) fn side(side: proto::Side) -> Result<Side, Error> {
    match side {
        proto::Side::Buy => Ok(Side::Buy),
        proto::Side::Sell => Ok(Side::Sell),
        proto::Side::Unspecified => Err(malformed("side", "SIDE_BUY or SIDE_SELL is required")),
    }
}

/// How many units an order is for. Zero is left to the shop, which refuses it and tells its own
/// bounds.
pub(super) fn units(units: u64) -> Result<Quantity, Error> {
    Quantity::new(units).map_err(|_| {
        let what = format!("{units} is not from 1 to {}", Quantity::MAX);
        malformed("quantity", what)
    })
}

/// The id of a request with that key, in the scope of the keys of `user`, or of one without.
pub(super) fn request_id(user: Option<UserId>, key: &str) -> Result<RequestId, Error> {
    if key.is_empty() {
        return Ok(RequestId::fresh());
    }
    request_id_of_key(user, key).ok_or_else(|| {
        let what = format!("it is 1 to {MAX_KEY} visible ASCII characters");
        malformed("idempotency_key", what)
    })
}

/// A page of a list by number.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// The last number on the page before.
    pub(super) after: Option<u64>,
    /// The most entries.
    pub(super) limit: u32,
}

impl Page {
    /// The page that a request asks for, of a list whose pages have at most `max` entries.
    pub(super) fn new(size: u32, token: &str, max: usize) -> Result<Self, Error> {
        let limit = if size == 0 { DEFAULT_PAGE } else { size };
        if limit as usize > max {
            let what = format!("{limit} is not from 0 to {max}");
            return Err(malformed("page_size", what));
        }
        let no_token = |_| {
            malformed(
                "page_token",
                format!("nobody gave out {:?}", excerpt(token)),
            )
        };
        let after = match token {
            "" => None,
            token => Some(token.parse().map_err(no_token)?),
        };
        Ok(Self { after, limit })
    }

    /// The token for the page after this one, which has so many entries and ends with `last`. Empty
    /// where this one is not full, and so the last.
    pub(super) fn next(&self, entries: usize, last: Option<u64>) -> String {
        match last {
            Some(last) if entries >= self.limit as usize => last.to_string(),
            _ => String::new(),
        }
    }
}

impl From<&Item> for proto::Product {
    fn from(item: &Item) -> Self {
        Self {
            number: item.number.0,
            name: item.name.to_string(),
            shop: item.shop.to_string(),
            category: item.category.as_ref().map(ToString::to_string),
            price: Some(item.price.into()),
            quantity: item.quantity.units(),
            volume: item.volume,
            description: item.description.as_ref().map(ToString::to_string),
            slogan: item.slogan.as_ref().map(ToString::to_string),
            version: item.version.0,
        }
    }
}

impl From<Money> for proto::Money {
    fn from(money: Money) -> Self {
        let cents = i64::try_from(money.cents()).expect("an amount is at most Money::MAX");
        Self { cents }
    }
}

/// An order that nothing has changed.
impl From<Order> for proto::Order {
    fn from(original: Order) -> Self {
        Self::from(&OrderState {
            original,
            history: Vec::new(),
        })
    }
}

impl From<&OrderState> for proto::Order {
    fn from(state: &OrderState) -> Self {
        let (order, trade) = (&state.original, &state.original.trade);
        let total = i64::try_from(state.total().cents()).ok();
        Self {
            number: order.number.0,
            product_number: trade.item.0,
            product_name: trade.name.to_string(),
            shop: trade.shop.to_string(),
            side: proto::Side::from(trade.request.side).into(),
            quantity: state.quantity().units(),
            unit_price: Some(trade.price.into()),
            total: total.map(|cents| proto::Money { cents }),
            product_version: trade.version.0,
            status: proto::OrderStatus::from(state.status()).into(),
            user: trade.request.user.map(|user| user.0),
            placed_at: Some(timestamp(trade.request.received)),
            history: state.history.iter().filter_map(change).collect(),
        }
    }
}

/// A compensating trade, as a change of the order that it amends.
fn change(order: &Order) -> Option<proto::OrderChange> {
    let request = &order.trade.request;
    let amendment = request.amends?;
    Some(proto::OrderChange {
        number: order.number.0,
        from_quantity: amendment.from.units(),
        to_quantity: amendment.to.units(),
        made_at: Some(timestamp(request.received)),
    })
}

impl From<Side> for proto::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

impl From<OrderStatus> for proto::OrderStatus {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Placed => Self::Placed,
            OrderStatus::Updated => Self::Updated,
            OrderStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// A moment, in milliseconds.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: (time.0 / 1000).cast_signed(),
        nanos: (time.0 % 1000) as i32 * 1_000_000,
    }
}

#[cfg(test)]
mod tests;
