//! Edits of products, by administrators.
//!
//! Each has `If-Match` with the product's entity tag, which is its version in quotes: then it is made
//! of that version only. It may have an `Idempotency-Key`, in the administrator's own scope.

#![expect(
    dead_code,
    reason = "served once the frontend verifies who is an administrator"
)]

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bazaar_rpc::edit::{Edit, ItemChange, NewItem};
use bazaar_rpc::{Item, ItemName, ItemNumber, Money, Quantity, ShopName, Text, UserId, Version};
use serde::{Deserialize, Deserializer};
use tracing::info;

use super::extract::{Param, request_id};
use super::json::{JsonBody, NoBody};
use super::products::Product;
use super::{Frontend, Shared, excerpt};
use crate::Error;

/// An administrator, whom a verified token names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(pub(super) UserId);

/// `POST /products`
pub(super) async fn create(
    State(frontend): Shared,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(product): JsonBody<NewProduct>,
) -> Result<impl IntoResponse, Error> {
    let edit = Edit::Create(product.into());
    let item = frontend.edit(admin, &headers, edit).await?;
    let location = [(LOCATION, format!("/products/{}", item.number))];
    Ok((StatusCode::CREATED, location, shown(&item)))
}

/// `PUT /products/{id}`
pub(super) async fn change(
    State(frontend): Shared,
    Admin(admin): Admin,
    Param(item): Param<ItemNumber>,
    headers: HeaderMap,
    JsonBody(change): JsonBody<ProductChange>,
) -> Result<impl IntoResponse, Error> {
    let edit = Edit::Change {
        item,
        expected: expected(&headers)?,
        change: change.into(),
    };
    let item = frontend.edit(admin, &headers, edit).await?;
    Ok(shown(&item))
}

/// `POST /products/{id}/restock`
pub(super) async fn restock(
    State(frontend): Shared,
    Admin(admin): Admin,
    Param(item): Param<ItemNumber>,
    headers: HeaderMap,
    JsonBody(Restock { quantity }): JsonBody<Restock>,
) -> Result<impl IntoResponse, Error> {
    let edit = Edit::Restock {
        item,
        expected: expected(&headers)?,
        units: quantity,
    };
    let item = frontend.edit(admin, &headers, edit).await?;
    Ok(shown(&item))
}

/// `DELETE /products/{id}`
pub(super) async fn remove(
    State(frontend): Shared,
    Admin(admin): Admin,
    Param(item): Param<ItemNumber>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<StatusCode, Error> {
    let expected = expected(&headers)?;
    let edit = Edit::Remove { item, expected };
    frontend.edit(admin, &headers, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Frontend {
    async fn edit(&self, admin: UserId, headers: &HeaderMap, edit: Edit) -> Result<Item, Error> {
        let request = request_id(headers, Some(admin))?;
        let item = self.items.edit(request, edit).await?;
        info!(%admin, item = %item.number, version = %item.version, "item edited");
        Ok(item)
    }
}

fn shown(item: &Item) -> impl IntoResponse + use<> {
    let tag = [(ETAG, format!("\"{}\"", item.version))];
    (tag, Json(Product::from(item)))
}

/// The version that `If-Match` asks for (RFC 9110, section 13.1.1); none where any will do.
fn expected(headers: &HeaderMap) -> Result<Option<Version>, Error> {
    let mut conditions = headers.get_all(IF_MATCH).iter();
    let (condition, another) = (conditions.next(), conditions.next());
    let Some(condition) = condition else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(condition.as_bytes());
    if another.is_some() || text.contains(',') {
        let problem = "If-Match: one entity tag, or *".into();
        return Err(Error::Malformed(problem));
    }
    if text.trim() == "*" {
        return Ok(None);
    }
    // A tag that is no version, a weak one too, is a tag that no item has.
    let version = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok());
    let no_match = || Error::NoMatch(excerpt(&text));
    version.map(Some).ok_or_else(no_match)
}

/// The body of `POST /products`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProduct {
    /// The next free one where there is none.
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

/// The body of `PUT /products/{id}`: what is not there stays as it is, and a text that is `null` is
/// taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductChange {
    name: Option<ItemName>,
    price: Option<Money>,
    /// In stock from now on, whatever it was.
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

/// The body of `POST /products/{id}/restock`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restock {
    /// The units to be added; at least 1.
    quantity: Quantity,
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn if_match(conditions: &[&'static str]) -> Result<Option<Version>, Error> {
        let mut headers = HeaderMap::new();
        for condition in conditions {
            headers.append(IF_MATCH, HeaderValue::from_static(condition));
        }
        expected(&headers)
    }

    #[test]
    fn if_match_is_a_version_in_quotes_or_anything() {
        assert_eq!(if_match(&[]), Ok(None));
        assert_eq!(if_match(&["*"]), Ok(None));
        assert_eq!(if_match(&[" \"17\" "]), Ok(Some(Version(17))));
        for other in ["17", "\"\"", "\"+1\"", "W/\"17\"", "\"x\"", "\"17", "\""] {
            assert!(
                matches!(if_match(&[other]), Err(Error::NoMatch(_))),
                "{other}"
            );
        }
        for several in [&["\"1\", \"2\""][..], &["\"1\"", "\"2\""]] {
            assert!(matches!(if_match(several), Err(Error::Malformed(_))));
        }
    }

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
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
