//! The book store.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use bazaar_rpc::catalog::ListQuery;
use bazaar_rpc::http::OrderView;
use bazaar_rpc::{
    Item, ItemKey, ItemName, ItemNumber, Money, Quantity, Refusal, Side, Text, Version,
};
use serde::Serialize;

use super::Shared;
use super::extract::{Freshness, Param, QueryOf, RequestKey};
use super::json::NoBody;
use super::orders::headers;
use super::products::Page;
use crate::Error;

/// A book is bought one at a time.
const ONE: u64 = 1;

/// `GET /search/{topic}`
pub(super) async fn search(
    State(frontend): Shared,
    Param(topic): Param<Text<200>>,
    QueryOf(page): QueryOf<Page>,
) -> Result<Json<Vec<Title>>, Error> {
    let query = ListQuery {
        category: Some(topic),
        ..page.query()?
    };
    let books = frontend.items.list(&query).await?;
    Ok(Json(
        books
            .into_iter()
            .map(|book| Title {
                id: book.number,
                title: book.name,
            })
            .collect(),
    ))
}

/// `GET /info/{id}` and `GET /lookup/{id}`
pub(super) async fn info(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    freshness: Freshness,
) -> Result<Json<Book>, Error> {
    let item = frontend.item(ItemKey::Number(id), freshness).await?;
    Ok(Json(Book::from(&*item)))
}

/// `POST /purchase/{id}` and `POST /buy/{id}`
pub(super) async fn purchase(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    RequestKey(request): RequestKey,
    _: NoBody,
) -> Result<impl IntoResponse, Error> {
    let one = Quantity::new(ONE).map_err(|error| Error::Malformed(error.to_string()))?;
    let item = ItemKey::Number(id);
    let traded = match frontend.trades.trade(request, item, Side::Buy, one).await {
        Err(Error::Refused(Refusal::NotEnoughStock { .. })) => return Err(Error::OutOfStock),
        outcome => outcome?,
    };
    Ok((
        headers(&traded),
        Json(Purchase {
            order: OrderView::from(&traded.order),
        }),
    ))
}

/// A book that was found.
#[derive(Serialize)]
pub(super) struct Title {
    id: ItemNumber,
    title: ItemName,
}

/// All about a book.
#[derive(Serialize)]
pub(super) struct Book {
    id: ItemNumber,
    title: ItemName,
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
#[derive(Serialize)]
struct Purchase {
    order: OrderView,
}
