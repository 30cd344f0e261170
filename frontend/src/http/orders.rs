//! Orders, of all shops.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bazaar_rpc::OrderNumber;
use bazaar_rpc::http::{Data, OrderView, TransactionNumber};
use bazaar_rpc::orders::MAX_PAGE;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Shared;
use super::contract::{self, OrderListProblems, OrderProblems, TradeProblems};
use super::extract::{Param, QueryOf, RequestKey, parse_numbers};
use super::json::JsonBody;
use super::new_order::NewOrder;
use crate::Error;
use crate::trades::Traded;

/// The item's version right after a trade, for whoever compares it with what lookups show.
pub(super) const ITEM_VERSION: HeaderName = HeaderName::from_static("item-version");

/// Marks the answer of an earlier request under the same idempotency key.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Place an order.
///
/// The stock bazaar's orders name an item and a type, the merch store's a product. Either finds any
/// shop's item; the shop's policy says which types and quantities it takes.
#[utoipa::path(
    post,
    path = "/orders",
    operation_id = "placeOrder",
    tag = contract::ORDERS,
    params(RequestKey),
    request_body(
        content = NewOrder,
        examples(
            ("stock" = (value = json!({"name": "GameStart", "quantity": 2, "type": "buy"}))),
            ("product" = (value = json!({"product_id": 3, "quantity": 1}))),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The order, made and recorded.",
            body = Data<TransactionNumber>,
            example = json!({"data": {"transaction_number": 0}}),
        ),
        TradeProblems,
    )
)]
pub(super) async fn place(
    State(frontend): Shared,
    RequestKey(request): RequestKey,
    JsonBody(order): JsonBody<NewOrder>,
) -> Result<Response, Error> {
    let quantity = order.quantity();
    let (item, side) = order.subject()?;
    let traded = frontend.trades.trade(request, item, side, quantity).await?;
    let data = TransactionNumber {
        transaction_number: traded.order.number,
    };
    Ok((headers(&traded), Json(Data { data })).into_response())
}

/// Look an order up.
#[utoipa::path(
    get,
    path = "/orders/{number}",
    operation_id = "getOrder",
    tag = contract::ORDERS,
    params(("number" = OrderNumber, Path, description = "The order's transaction number.")),
    responses(
        (status = 200, description = "The order as it is recorded.", body = Data<OrderView>),
        OrderProblems,
    )
)]
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

/// Look several orders up.
#[utoipa::path(
    get,
    path = "/orders",
    operation_id = "listOrders",
    tag = contract::ORDERS,
    params(WhichOrders),
    responses(
        (
            status = 200,
            description = "The orders of those numbers, in that order.",
            body = Data<Vec<OrderView>>,
        ),
        OrderListProblems,
    )
)]
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
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichOrders {
    /// The numbers of the orders, such as `0,3,7`.
    #[param(
        value_type = Option<Vec<OrderNumber>>,
        style = Form,
        explode = false,
        min_items = 1,
        max_items = 1000,
        nullable = false,
        example = json!([0]),
    )]
    numbers: Option<String>,
}
