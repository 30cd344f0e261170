//! Edits of products, by administrators.
//!
//! Each may have `If-Match` with the product's entity tag: then it is made of that version only. And
//! it may have an `Idempotency-Key`, in the administrator's own scope.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use bazaar_rpc::edit::{Edit, EditRefusal, ItemChange, NewItem};
use bazaar_rpc::{Item, ItemName, ItemNumber, Money, Quantity, RequestId, ShopName, Text, UserId};
use serde::{Deserialize, Deserializer};
use tracing::info;
use utoipa::ToSchema;

use super::conditional::{IfMatch, tagged};
use super::contract::{self, ChangeProblems, CreateProblems, RemoveProblems, RestockProblems};
use super::extract::{Keyed, Param, RequestKey};
use super::json::{JsonBody, NoBody, Nothing, present};
use super::new_order::Units;
use super::products::Product;
use super::{Frontend, Shared};
use crate::Error;
use crate::auth::Admin;

/// Create a product.
#[utoipa::path(
    post,
    path = "/products",
    operation_id = "createProduct",
    tag = contract::PRODUCTS,
    security(("bearerAuth" = [])),
    params(RequestKey),
    request_body(
        content = NewProduct,
        example = json!({"name": "Scarf", "shop": "merch", "price": 19.90, "quantity": 10}),
    ),
    responses(
        (
            status = 201,
            description = "The product, in its shop.",
            body = Product,
            headers(("Location" = String, description = "The product's path.")),
        ),
        CreateProblems,
    )
)]
pub(super) async fn create(
    State(frontend): Shared,
    Keyed(Admin(admin), request): Keyed<Admin>,
    JsonBody(product): JsonBody<NewProduct>,
) -> Result<Response, Error> {
    let edit = Edit::Create(product.into());
    let item = frontend.edit(admin, request, edit).await?;
    let location = [(LOCATION, format!("/products/{}", item.number))];
    Ok((StatusCode::CREATED, location, shown(&item)?).into_response())
}

/// Change a product.
///
/// What the body does not have stays as it is. Orders keep the name and the price at which they were
/// placed.
#[utoipa::path(
    put,
    path = "/products/{id}",
    operation_id = "changeProduct",
    tag = contract::PRODUCTS,
    security(("bearerAuth" = [])),
    params(("id" = ItemNumber, Path, description = "The product's item number."), RequestKey, IfMatch),
    request_body = ProductChange,
    responses(
        (status = 200, description = "The product as it is now.", body = Product),
        ChangeProblems,
    )
)]
pub(super) async fn change(
    State(frontend): Shared,
    Keyed(Admin(admin), request): Keyed<Admin>,
    Param(item): Param<ItemNumber>,
    condition: IfMatch,
    JsonBody(change): JsonBody<ProductChange>,
) -> Result<Response, Error> {
    let change = ItemChange::from(change);
    if change == ItemChange::default() {
        return Err(Error::EditRefused(EditRefusal::NothingToChange));
    }
    let edit = Edit::Change {
        item,
        expected: condition.version()?,
        change,
    };
    let item = frontend.edit(admin, request, edit).await?;
    shown(&item)
}

/// Add units to a product's stock.
#[utoipa::path(
    post,
    path = "/products/{id}/restock",
    operation_id = "restockProduct",
    tag = contract::PRODUCTS,
    security(("bearerAuth" = [])),
    params(("id" = ItemNumber, Path, description = "The product's item number."), RequestKey, IfMatch),
    request_body = Restock,
    responses(
        (status = 200, description = "The product as it is now.", body = Product),
        RestockProblems,
    )
)]
pub(super) async fn restock(
    State(frontend): Shared,
    Keyed(Admin(admin), request): Keyed<Admin>,
    Param(item): Param<ItemNumber>,
    condition: IfMatch,
    JsonBody(Restock { quantity }): JsonBody<Restock>,
) -> Result<Response, Error> {
    if quantity == Quantity::default() {
        let problem = "quantity: a restock is of 1 unit at least";
        return Err(Error::Malformed(problem.into()));
    }
    let edit = Edit::Restock {
        item,
        expected: condition.version()?,
        units: quantity,
    };
    let item = frontend.edit(admin, request, edit).await?;
    shown(&item)
}

/// Take a product out of its shop.
///
/// For good: its number is never used again. Its orders stay, and can be cancelled.
#[utoipa::path(
    delete,
    path = "/products/{id}",
    operation_id = "removeProduct",
    tag = contract::PRODUCTS,
    security(("bearerAuth" = [])),
    params(("id" = ItemNumber, Path, description = "The product's item number."), RequestKey, IfMatch),
    request_body(content = Option<Nothing>, description = "Nothing, or an empty object."),
    responses(
        (status = 204, description = "The product is gone."),
        RemoveProblems,
    )
)]
pub(super) async fn remove(
    State(frontend): Shared,
    Keyed(Admin(admin), request): Keyed<Admin>,
    Param(item): Param<ItemNumber>,
    condition: IfMatch,
    _: NoBody,
) -> Result<StatusCode, Error> {
    let edit = Edit::Remove {
        item,
        expected: condition.version()?,
    };
    frontend.edit(admin, request, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Frontend {
    async fn edit(&self, admin: UserId, request: RequestId, edit: Edit) -> Result<Item, Error> {
        let item = self.items.edit(request, edit).await?;
        info!(%admin, item = %item.number, version = %item.version, "item edited");
        Ok(item)
    }
}

fn shown(item: &Item) -> Result<Response, Error> {
    tagged(item.version, &Product::from(item))
}

/// A product to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProduct {
    /// Of no item, now or before; the one after the highest ever used where there is none.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    id: Option<ItemNumber>,
    name: ItemName,
    shop: ShopName,
    price: Money,
    /// In stock at first; zero where there is none.
    #[serde(default)]
    quantity: Quantity,
    category: Option<Text<200>>,
    description: Option<Text<2000>>,
    slogan: Option<Text<200>>,
}

impl From<NewProduct> for NewItem {
    fn from(product: NewProduct) -> Self {
        Self {
            number: product.id,
            name: product.name,
            shop: product.shop,
            category: product.category,
            price: product.price,
            quantity: product.quantity,
            description: product.description,
            slogan: product.slogan,
        }
    }
}

/// What changes of a product: what is not there stays as it is, and a text that is `null` is taken
/// away. At least one thing changes.
#[derive(Deserialize, ToSchema)]
#[schema(min_properties = 1)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    name: Option<ItemName>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    price: Option<Money>,
    /// In stock from now on, whatever it was.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    quantity: Option<Quantity>,
    #[serde(default, deserialize_with = "given")]
    category: Option<Option<Text<200>>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<Text<2000>>>,
    #[serde(default, deserialize_with = "given")]
    slogan: Option<Option<Text<200>>>,
}

/// A field that is there, be it `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl From<ProductChange> for ItemChange {
    fn from(change: ProductChange) -> Self {
        Self {
            name: change.name,
            price: change.price,
            quantity: change.quantity,
            category: change.category,
            description: change.description,
            slogan: change.slogan,
        }
    }
}

/// Units to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Restock {
    /// The units to be added.
    #[schema(value_type = Units)]
    quantity: Quantity,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_tells_what_is_null_from_what_is_not_there() {
        let read = |json: &str| serde_json::from_str::<ProductChange>(json).map(ItemChange::from);
        assert_eq!(read("{}").unwrap(), ItemChange::default());
        let change = ItemChange {
            price: Money::from_cents(1250).ok(),
            category: Some(None),
            slogan: Some(Text::new("new").ok()),
            ..ItemChange::default()
        };
        let json = r#"{"price": 12.50, "category": null, "slogan": "new"}"#;
        assert_eq!(read(json).unwrap(), change);
        for wrong in [
            r#"{"shop": "x"}"#,
            r#"{"quantity": -1}"#,
            r#"{"name": "a/b"}"#,
            r#"{"name": null}"#,
            r#"{"quantity": null}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
