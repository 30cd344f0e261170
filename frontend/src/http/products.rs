//! The items of all shops, as products.

use axum::extract::State;
use axum::response::Response;
use bazaar_rpc::catalog::ListQuery;
use bazaar_rpc::{Item, ItemKey, ItemName, ItemNumber, Money, Quantity, ShopName, Text, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::conditional::Conditions;
use super::contract::{self, ItemProblems, ListProblems};
use super::extract::{Param, QueryOf};
use super::page::{Page, Paged, number};
use crate::Error;

/// List products.
#[utoipa::path(
    get,
    path = "/products",
    operation_id = "listProducts",
    tag = contract::PRODUCTS,
    params(Products),
    responses(
        (
            status = 200,
            description = "One page of products, by number.",
            body = Vec<Product>,
            headers(("Link" = String, description = "The next page, where there may be one: `<…>; rel=\"next\"`.")),
        ),
        ListProblems,
    )
)]
pub(super) async fn list(
    State(frontend): Shared,
    QueryOf(products): QueryOf<Products>,
) -> Result<Paged<Product>, Error> {
    let query = products.query()?;
    let items = frontend.items.list(&query).await?;
    let next = |last: &Item| Products {
        after: Some(last.number),
        ..products
    };
    Paged::new(items, query.limit, "/products", next, |item| {
        Product::from(&item)
    })
}

/// Look a product up.
#[utoipa::path(
    get,
    path = "/products/{id}",
    operation_id = "getProduct",
    tag = contract::PRODUCTS,
    params(("id" = ItemNumber, Path, description = "The product's item number."), Conditions),
    responses(
        (status = 200, description = "The product as it is.", body = Product),
        ItemProblems,
    )
)]
pub(super) async fn product(
    State(frontend): Shared,
    Param(id): Param<ItemNumber>,
    conditions: Conditions,
) -> Result<Response, Error> {
    let item = frontend
        .item(ItemKey::Number(id), conditions.freshness)
        .await?;
    conditions.answer(item.version, &Product::from(&*item))
}

/// The query of `GET /products`. (serde cannot flatten a [`Page`] into it: a query's values are
/// text, and through `flatten` they would stay so.)
#[derive(Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Products {
    /// Only this shop's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    shop: Option<ShopName>,
    /// Only of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    category: Option<Text<200>>,
    /// Only items with higher numbers than this one: the number of the last item seen.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    after: Option<ItemNumber>,
    /// The most items to list; 100 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    limit: Option<u32>,
}

impl Products {
    fn query(&self) -> Result<ListQuery, Error> {
        let page = Page {
            after: self.after,
            limit: self.limit,
        };
        Ok(ListQuery {
            shop: self.shop.clone(),
            category: self.category.clone(),
            ..page.query()?
        })
    }
}

/// A product.
#[derive(Serialize, ToSchema)]
pub(super) struct Product {
    id: ItemNumber,
    name: ItemName,
    shop: ShopName,
    #[schema(required)]
    category: Option<Text<200>>,
    price: Money,
    quantity: Quantity,
    /// The units traded so far, bought and sold.
    #[schema(minimum = 0)]
    volume: u64,
    #[schema(required)]
    description: Option<Text<2000>>,
    #[schema(required)]
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
