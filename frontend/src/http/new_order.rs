//! The body of `POST /orders`.

use std::fmt;

use bazaar_rpc::{ItemKey, ItemName, ItemNumber, Quantity, Side};
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::json::present;
use crate::Error;

/// An order as the stock bazaar has it (`name`, `quantity`, `type`) or as the merch store has it
/// (`product_id`, `quantity`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    #[serde(default, deserialize_with = "present")]
    name: Option<ItemName>,
    #[serde(default, deserialize_with = "present")]
    product_id: Option<ItemNumber>,
    quantity: Units,
    #[serde(default, deserialize_with = "present", rename = "type")]
    side: Option<Side>,
}

impl NewOrder {
    /// How many units to trade.
    pub(super) fn quantity(&self) -> Quantity {
        self.quantity.0
    }

    /// What to trade, and which way.
    ///
    /// # Errors
    /// When it is neither of the two forms.
    pub(super) fn subject(self) -> Result<(ItemKey, Side), Error> {
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

/// A number of units to trade: a whole number. Zero is left to the shop, which refuses it and tells
/// its own bounds.
pub(super) struct Units(pub(super) Quantity);

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
        Quantity::new(units)
            .map(Units)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(units), &self))
    }
}

impl PartialSchema for Units {
    fn schema() -> RefOr<Schema> {
        let units = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1_u64))
            .maximum(Some(Quantity::MAX.units()))
            .description(Some("A number of units, at least one."))
            .build();
        RefOr::T(Schema::Object(units))
    }
}

impl ToSchema for Units {}

impl PartialSchema for NewOrder {
    fn schema() -> RefOr<Schema> {
        let form = || {
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .property("quantity", Units::schema())
                .required("quantity")
                .property("type", Side::schema())
                .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        };
        let by_name: Object = form()
            .description(Some("By name, as in the stock bazaar."))
            .property("name", ItemName::schema())
            .required("name")
            .required("type")
            .build();
        let by_number: Object = form()
            .description(Some(
                "By number, as in the merch store. Without a type, it is to buy.",
            ))
            .property("product_id", ItemNumber::schema())
            .required("product_id")
            .build();
        OneOfBuilder::new().item(by_name).item(by_number).into()
    }
}

impl ToSchema for NewOrder {}
