//! Orders, of all shops.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use bazaar_rpc::http::{Data, OrderView, TransactionNumber};
use bazaar_rpc::orders::MAX_PAGE;
use bazaar_rpc::{ItemKey, ItemName, ItemNumber, OrderNumber, Quantity, Side};
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

use super::Shared;
use super::extract::{Param, QueryOf, RequestKey, parse_numbers};
use super::json::JsonBody;
use crate::Error;
use crate::trades::Traded;

/// The item's version right after a trade, for whoever compares it with what lookups show.
const ITEM_VERSION: HeaderName = HeaderName::from_static("item-version");

/// Marks the answer of an earlier request under the same idempotency key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// `POST /orders`
pub(super) async fn place(
    State(frontend): Shared,
    RequestKey(request): RequestKey,
    JsonBody(order): JsonBody<NewOrder>,
) -> Result<impl IntoResponse, Error> {
    let quantity = order.quantity.0;
    let (item, side) = order.subject()?;
    let traded = frontend.trades.trade(request, item, side, quantity).await?;
    let data = TransactionNumber {
        transaction_number: traded.order.number,
    };
    Ok((headers(&traded), Json(Data { data })))
}

/// `GET /orders/{n}`
pub(super) async fn order(
    State(frontend): Shared,
    Param(number): Param<OrderNumber>,
) -> Result<Json<Data<OrderView>>, Error> {
    let orders = frontend.trades.orders(&[number]).await?;
    let order = orders.first().ok_or(Error::UnknownOrder(number))?;
    Ok(Json(Data {
        data: OrderView::from(order),
    }))
}

/// `GET /orders?numbers=0,3,7`
pub(super) async fn list(
    State(frontend): Shared,
    QueryOf(query): QueryOf<WhichOrders>,
) -> Result<Json<Data<Vec<OrderView>>>, Error> {
    let numbers = query.numbers.ok_or(Error::AccountRequired)?;
    let orders = frontend
        .trades
        .orders(&parse_numbers(&numbers, MAX_PAGE)?)
        .await?;
    Ok(Json(Data {
        data: orders.iter().map(OrderView::from).collect(),
    }))
}

/// What the answer to a trade says in headers.
pub(super) fn headers(traded: &Traded) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ITEM_VERSION, traded.order.trade.version.0.into());
    if traded.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// The query of `GET /orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichOrders {
    numbers: Option<String>,
}

/// The body of `POST /orders`, as the stock bazaar has it (`name`, `quantity`, `type`) or as the
/// merch store has it (`product_id`, `quantity`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    name: Option<ItemName>,
    product_id: Option<ItemNumber>,
    quantity: Units,
    #[serde(rename = "type")]
    side: Option<Side>,
}

impl NewOrder {
    /// What to trade, and which way.
    fn subject(self) -> Result<(ItemKey, Side), Error> {
        let malformed = |detail: &str| Err(Error::Malformed(detail.into()));
        match (self.name, self.product_id) {
            (Some(name), None) => match self.side {
                Some(side) => Ok((ItemKey::Name(name), side)),
                None => malformed("type: missing; it is buy or sell"),
            },
            (None, Some(number)) => Ok((ItemKey::Number(number), self.side.unwrap_or(Side::Buy))),
            (None, None) => malformed("name: missing; an order has a name or a product_id"),
            (Some(_), Some(_)) => malformed("name: an order has a name or a product_id, not both"),
        }
    }
}

/// A number of units to trade: a whole number, not zero.
struct Units(Quantity);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(UnitsVisitor)
    }
}

struct UnitsVisitor;

impl Visitor<'_> for UnitsVisitor {
    type Value = Units;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 1 to {}", Quantity::MAX)
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Units, E> {
        match Quantity::new(units) {
            Ok(quantity) if units > 0 => Ok(Units(quantity)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(units), &self)),
        }
    }
}
