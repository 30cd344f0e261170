//! The items of all shops, as products.

use axum::Json;
use axum::extract::State;
use bazaar_rpc::catalog::{ListQuery, MAX_PAGE};
use bazaar_rpc::{Item, ItemKey, ItemName, ItemNumber, Money, Quantity, ShopName, Text, Version};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{Freshness, Param, QueryOf};
use crate::Error;

/// The products on one page where the client does not say.
const DEFAULT_PAGE: u32 = 100;

/// `GET /products`
pub(super) async fn list(
    State(frontend): Shared,
    QueryOf(products): QueryOf<Products>,
) -> Result<Json<Vec<Product>>, Error> {
    let Products {
        shop,
        category,
        after,
        limit,
    } = products;
    let query = ListQuery {
        shop,
        category,
        ..Page { after, limit }.query()?
    };
    let items = frontend.items.list(&query).await?;
    Ok(Json(items.iter().map(Product::from).collect()))
}

/// `GET /products/{id}`
pub(super) async fn product(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    freshness: Freshness,
) -> Result<Json<Product>, Error> {
    let item = frontend.item(ItemKey::Number(id), freshness).await?;
    Ok(Json(Product::from(&*item)))
}

/// Which part of a list. A page that is shorter than its limit is the last; the number of a page's
/// last item is the next page's `after`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<ItemNumber>,
    limit: Option<u32>,
}

/// The query of `GET /products`. (serde cannot flatten a [`Page`] into it: a query's values are
/// text, and through `flatten` they would stay so.)
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Products {
    shop: Option<ShopName>,
    category: Option<Text<200>>,
    after: Option<ItemNumber>,
    limit: Option<u32>,
}

impl Page {
    /// The page of a list of everything.
    pub(super) fn query(&self) -> Result<ListQuery, Error> {
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        if limit == 0 || limit as usize > MAX_PAGE {
            return Err(Error::Malformed(format!(
                "limit: {limit} is not from 1 to {MAX_PAGE}"
            )));
        }
        Ok(ListQuery {
            after: self.after,
            limit,
            ..ListQuery::default()
        })
    }
}

/// A product.
#[derive(Serialize)]
pub(super) struct Product {
    id: ItemNumber,
    name: ItemName,
    shop: ShopName,
    category: Option<Text<200>>,
    price: Money,
    quantity: Quantity,
    volume: u64,
    description: Option<Text<2000>>,
    slogan: Option<Text<200>>,
    version: Version,
}

impl From<&Item> for Product {
    fn from(item: &Item) -> Self {
        Self {
            id: item.number,
            name: item.name.clone(),
            shop: item.shop.clone(),
            category: item.category.clone(),
            price: item.price,
            quantity: item.quantity,
            volume: item.volume,
            description: item.description.clone(),
            slogan: item.slogan.clone(),
            version: item.version,
        }
    }
}
