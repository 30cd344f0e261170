//! The book store.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bazaar_rpc::catalog::ListQuery;
use bazaar_rpc::http::OrderView;
use bazaar_rpc::{
    Item, ItemKey, ItemName, ItemNumber, Money, Quantity, Refusal, Side, Text, Version,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::conditional::Conditions;
use super::contract::{self, ItemProblems, ListProblems, PurchaseProblems};
use super::extract::{Keyed, Param, QueryOf, RequestKey, percent_encoded};
use super::json::{NoBody, Nothing};
use super::orders::headers;
use super::page::{Page, Paged};
use crate::Error;
use crate::auth::MaybeAuthenticated;

/// A book is bought one at a time.
const ONE: u64 = 1;

/// Find books by their topic.
///
/// Any shop's items are found by their category.
#[utoipa::path(
    get,
    path = "/search/{topic}",
    operation_id = "searchBooks",
    tag = contract::BOOKS,
    params(("topic" = Text<200>, Path, description = "The topic, in full."), Page),
    responses(
        (
            status = 200,
            description = "One page of what was found, by number; empty where nothing was.",
            body = Vec<Title>,
            headers(("Link" = String, description = "The next page, where there may be one: `<…>; rel=\"next\"`.")),
            example = json!([{"id": 2, "title": "RPCs for Dummies"}]),
        ),
        ListProblems,
    )
)]
pub(super) async fn search(
    State(frontend): Shared,
    Param(topic): Param<Text<200>>,
    QueryOf(page): QueryOf<Page>,
) -> Result<Paged<Title>, Error> {
    let path = format!("/search/{}", percent_encoded(topic.as_str()));
    let query = ListQuery {
        category: Some(topic),
        ..page.query()?
    };
    let books = frontend.items.list(&query).await?;
    let next = |last: &Item| Page {
        after: Some(last.number),
        ..page
    };
    Paged::new(books, query.limit, &path, next, |book| Title {
        id: book.number,
        title: book.name,
    })
}

/// Look a book up.
#[utoipa::path(
    get,
    path = "/info/{id}",
    operation_id = "getBook",
    tag = contract::BOOKS,
    params(("id" = ItemNumber, Path, description = "The book's item number."), Conditions),
    responses(
        (status = 200, description = "The book as it is.", body = Book),
        ItemProblems,
    )
)]
pub(super) async fn info(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    conditions: Conditions,
) -> Result<Response, Error> {
    let item = frontend
        .item(ItemKey::Number(id), conditions.freshness)
        .await?;
    conditions.answer(item.version, &Book::from(&*item))
}

/// Buy one copy of a book.
#[utoipa::path(
    post,
    path = "/purchase/{id}",
    operation_id = "purchaseBook",
    tag = contract::BOOKS,
    security((), ("bearerAuth" = [])),
    params(("id" = ItemNumber, Path, description = "The book's item number."), RequestKey),
    request_body(content = Option<Nothing>, description = "Nothing, or an empty object."),
    responses(
        (status = 200, description = "The order, made and recorded.", body = Purchase),
        PurchaseProblems,
    )
)]
pub(super) async fn purchase(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    Keyed(MaybeAuthenticated(identity), request): Keyed<MaybeAuthenticated>,
    _: NoBody,
) -> Result<Response, Error> {
    let one = Quantity::new(ONE).map_err(|error| Error::Malformed(error.to_string()))?;
    let (item, user) = (ItemKey::Number(id), identity.map(|it| it.user));
    let trades = &frontend.trades;
    let traded = match trades.trade(request, item, Side::Buy, one, user).await {
        Err(Error::Refused(Refusal::NotEnoughStock { .. })) => return Err(Error::OutOfStock),
        outcome => outcome?,
    };
    let order = OrderView::from(&traded.order);
    Ok((headers(&traded), Json(Purchase { order })).into_response())
}

/// A book that was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Title {
    id: ItemNumber,
    title: ItemName,
}

/// All about a book.
#[derive(Serialize, ToSchema)]
pub(super) struct Book {
    id: ItemNumber,
    title: ItemName,
    #[schema(required)]
    topic: Option<Text<200>>,
    quantity: Quantity,
    price: Money,
    version: Version,
}

impl From<&Item> for Book {
    fn from(item: &Item) -> Self {
        Self {
            id: item.number,
            title: item.name.clone(),
            topic: item.category.clone(),
            quantity: item.quantity,
            price: item.price,
            version: item.version,
        }
    }
}

/// The answer to a purchase.
#[derive(Serialize, ToSchema)]
pub(super) struct Purchase {
    order: OrderView,
}
