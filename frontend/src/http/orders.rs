//! Orders, of all shops.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue, LINK};
use axum::response::{AppendHeaders, IntoResponse, Response};
use bazaar_rpc::http::{Data, TransactionNumber};
use bazaar_rpc::orders::{MAX_PAGE, MAX_STATES};
use bazaar_rpc::{Change, Order, OrderNumber, OrderState, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::contract::{self, AmendProblems, OrderListProblems, OrderProblems, TradeProblems};
use super::extract::{Keyed, Param, QueryOf, RequestKey, parse_numbers};
use super::json::{JsonBody, NoBody, Nothing};
use super::new_order::{NewOrder, Units};
use super::order_view::PlacedOrder;
use super::page::{limit, link, number};
use super::{Frontend, Shared};
use crate::Error;
use crate::auth::{Authenticated, Identity, MaybeAuthenticated};
use crate::trades::Traded;

/// The item's version right after a trade, for whoever compares it with what lookups show.
pub(super) const ITEM_VERSION: HeaderName = HeaderName::from_static("item-version");

/// Marks the answer of an earlier request under the same idempotency key.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Place an order.
///
/// The stock bazaar's orders name an item and a type, the merch store's a product. Either finds any
/// shop's item; the shop's policy says which types and quantities it takes, and whether it takes an
/// account. With a token, the order is its user's, to see and to change; without, everybody's to see.
#[utoipa::path(
    post,
    path = "/orders",
    operation_id = "placeOrder",
    tag = contract::ORDERS,
    security((), ("bearerAuth" = [])),
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
    Keyed(MaybeAuthenticated(identity), request): Keyed<MaybeAuthenticated>,
    JsonBody(order): JsonBody<NewOrder>,
) -> Result<Response, Error> {
    let quantity = order.quantity();
    let (item, side) = order.subject()?;
    let user = identity.map(|identity| identity.user);
    let trades = &frontend.trades;
    let traded = trades.trade(request, item, side, quantity, user).await?;
    let data = TransactionNumber {
        transaction_number: traded.order.number,
    };
    Ok((headers(&traded), Json(Data { data })).into_response())
}

/// Look an order up.
///
/// An order that was placed with an account is shown to its user and to administrators only.
#[utoipa::path(
    get,
    path = "/orders/{number}",
    operation_id = "getOrder",
    tag = contract::ORDERS,
    security((), ("bearerAuth" = [])),
    params(Number),
    responses(
        (status = 200, description = "The order as it stands.", body = Data<PlacedOrder>),
        OrderProblems,
    )
)]
pub(super) async fn order(
    State(frontend): Shared,
    MaybeAuthenticated(identity): MaybeAuthenticated,
    Param(number): Param<OrderNumber>,
) -> Result<Json<Data<PlacedOrder>>, Error> {
    let viewer = identity.map(Identity::requester);
    let mut states = frontend.trades.states(&[number], viewer).await?;
    let state = states.pop().ok_or(Error::UnknownOrder(number))?;
    let data = PlacedOrder::from(&state);
    Ok(Json(Data { data }))
}

/// List orders.
///
/// Those of the numbers asked for; otherwise one's own, page by page, which takes a token.
#[utoipa::path(
    get,
    path = "/orders",
    operation_id = "listOrders",
    tag = contract::ORDERS,
    security((), ("bearerAuth" = [])),
    params(WhichOrders),
    responses(
        (
            status = 200,
            description = "The orders of those numbers, in that order; or one page of one's own, by number.",
            body = Data<Vec<PlacedOrder>>,
            headers(("Link" = String, description = "The next page, where there may be one: `<…>; rel=\"next\"`.")),
        ),
        OrderListProblems,
    )
)]
pub(super) async fn list(
    State(frontend): Shared,
    MaybeAuthenticated(identity): MaybeAuthenticated,
    QueryOf(query): QueryOf<WhichOrders>,
) -> Result<Response, Error> {
    let trades = &frontend.trades;
    if let Some(numbers) = &query.numbers {
        if query.after.is_some() || query.limit.is_some() {
            let problem = "numbers: the orders of numbers have no pages: no after, and no limit";
            return Err(Error::Malformed(problem.into()));
        }
        let numbers = parse_numbers(numbers, MAX_PAGE)?;
        let viewer = identity.map(Identity::requester);
        let states = trades.states(&numbers, viewer).await?;
        return Ok(Json(shown(&states)).into_response());
    }
    let user = identity.ok_or(Error::AccountRequired)?.user;
    let limit = query.limit()?;
    let states = trades.orders_of_user(user, query.after, limit).await?;
    let last = states.last().map(|state| state.original.number);
    let next = last.filter(|_| states.len() >= limit as usize);
    let next = next.map(|last| WhichOrders {
        after: Some(last),
        ..query
    });
    let link = next.map(|next| link("/orders", &next)).transpose()?;
    let link = AppendHeaders(link.map(|link| (LINK, link)));
    Ok((link, Json(shown(&states))).into_response())
}

/// Change how many units an order is for.
///
/// The difference is traded at the order's unit price, in or out of the stock.
#[utoipa::path(
    put,
    path = "/orders/{number}",
    operation_id = "updateOrder",
    tag = contract::ORDERS,
    security(("bearerAuth" = [])),
    params(Number, RequestKey),
    request_body = NewQuantity,
    responses(
        (status = 200, description = "The order as it stands.", body = Data<PlacedOrder>),
        AmendProblems,
    )
)]
pub(super) async fn update(
    State(frontend): Shared,
    Keyed(Authenticated(identity), request): Keyed<Authenticated>,
    Param(number): Param<OrderNumber>,
    JsonBody(NewQuantity { quantity }): JsonBody<NewQuantity>,
) -> Result<Response, Error> {
    let change = Change::Quantity(quantity.0);
    amend(&frontend, request, number, identity, change).await
}

/// Cancel an order.
///
/// Its units return to the stock, once, however often it is cancelled.
#[utoipa::path(
    delete,
    path = "/orders/{number}",
    operation_id = "cancelOrder",
    tag = contract::ORDERS,
    security(("bearerAuth" = [])),
    params(Number, RequestKey),
    request_body(content = Option<Nothing>, description = "Nothing, or an empty object."),
    responses(
        (status = 200, description = "The order, cancelled.", body = Data<PlacedOrder>),
        AmendProblems,
    )
)]
pub(super) async fn cancel(
    State(frontend): Shared,
    Keyed(Authenticated(identity), request): Keyed<Authenticated>,
    Param(number): Param<OrderNumber>,
    _: NoBody,
) -> Result<Response, Error> {
    amend(&frontend, request, number, identity, Change::Cancel).await
}

async fn amend(
    frontend: &Frontend,
    request: RequestId,
    number: OrderNumber,
    identity: Identity,
    change: Change,
) -> Result<Response, Error> {
    let requester = identity.requester();
    let trades = &frontend.trades;
    let amended = trades.amend(request, number, requester, change).await?;
    let data = PlacedOrder::from(&amended.state);
    let headers = marks(amended.state.last(), amended.replayed);
    Ok((headers, Json(Data { data })).into_response())
}

fn shown(states: &[OrderState]) -> Data<Vec<PlacedOrder>> {
    Data {
        data: states.iter().map(PlacedOrder::from).collect(),
    }
}

/// What the answer to a trade says in headers.
pub(super) fn headers(traded: &Traded) -> HeaderMap {
    marks(&traded.order, traded.replayed)
}

fn marks(order: &Order, replayed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ITEM_VERSION, order.trade.version.0.into());
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// The parameter of the path of an order.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes the parameter, which Param extracts")]
struct Number {
    /// The order's transaction number.
    number: OrderNumber,
}

/// The body of an update.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQuantity {
    /// For how many units it is to be, within the shop's bounds.
    quantity: Units,
}

/// The query of `GET /orders`.
#[derive(Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichOrders {
    /// The numbers of the orders, such as `0,3,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Only orders with higher numbers than this one: the number of the last order seen.
    #[serde(
        default,
        deserialize_with = "number",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(nullable = false)]
    after: Option<OrderNumber>,
    /// The most orders to list; 100 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
}

impl WhichOrders {
    fn limit(&self) -> Result<u32, Error> {
        limit(self.limit, MAX_STATES)
    }
}
