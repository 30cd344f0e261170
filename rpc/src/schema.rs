//! What the types of this crate look like in JSON, as JSON Schema (draft 2020-12, which OpenAPI 3.1
//! uses): for the crate that publishes a contract whose bodies carry them.
//!
//! Each schema has the bounds that the type's constructor checks, so that what a schema accepts the
//! type accepts too.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::accounts::{Email, Password, Secret, StudentId, UserName};
use crate::{
    ItemName, ItemNumber, Money, OrderNumber, Quantity, ServiceName, Term, Text, UserId, Version,
};

/// No control characters: what `char::is_control` refuses.
const TEXT_PATTERN: &str = r"^[^\u0000-\u001F\u007F-\u009F]+$";

/// The same, and no slash.
const NAME_PATTERN: &str = r"^[^/\u0000-\u001F\u007F-\u009F]+$";

/// What HTML takes for a valid email address. (The format `email` would be another language: RFC 5321
/// has quoted names, and no dots side by side.)
const EMAIL_PATTERN: &str = concat!(
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
);

/// Gives types a schema under their own names.
macro_rules! schemas {
    ($($type:ty => $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema))
            }
        }

        impl ToSchema for $type {}
    )*};
}

schemas! {
    Money => ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0_u64))
        .maximum(Some(Money::MAX.cents() / 100))
        .multiple_of(Some(0.01))
        .description(Some("An amount of money: a number with at most two decimals; answers have two."))
        .examples([15.99])
        .build();
    Quantity => whole(0, Quantity::MAX.units(), "A number of units.", 100);
    ItemNumber => number("The number of an item, unique over all shops.", 101);
    Version => number("Counts the changes of an item: every change raises it.", 1);
    OrderNumber => number("A transaction number: consecutive, from 0, never reused.", 0);
    UserId => number("The number of a user.", 1);
    Term => number("A Raft term: each has at most one leader, and a later one is higher.", 1);
    ItemName => text(ItemName::MAX_LENGTH, NAME_PATTERN, "The name of an item, unique over all shops.")
        .examples(["GameStart"])
        .build();
    UserName => text(64, "^[A-Za-z0-9][A-Za-z0-9._-]+$", "The name that a user logs in with, in any case of letters.")
        .min_length(Some(3))
        .examples(["alice"])
        .build();
    Email => text(254, EMAIL_PATTERN, "An address of electronic mail.")
        .min_length(Some(3))
        .examples(["alice@example.org"])
        .build();
    StudentId => text(20, "^[0-9]+$", "The number of a student. Leading zeros count.")
        .examples(["4711"])
        .build();
    Password => secret(Password::MIN_LENGTH, Password::MAX_LENGTH, "A password to be set.");
    Secret => secret(1, Secret::MAX_LENGTH, "A password or a token.");
    ServiceName => ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[a-z]+/[1-9][0-9]*$"))
        .description(Some("The name of a process."))
        .examples(["order/3"])
        .build();
}

impl<const MAX: usize> PartialSchema for Text<MAX> {
    fn schema() -> RefOr<Schema> {
        let text = text(MAX, TEXT_PATTERN, "A text without control characters.");
        RefOr::T(Schema::Object(text.build()))
    }
}

impl<const MAX: usize> ToSchema for Text<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }
}

fn text(max: usize, pattern: &str, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max))
        .pattern(Some(pattern))
        .description(Some(description))
}

/// A text that no answer has.
fn secret(min: usize, max: usize, description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .min_length(Some(min))
        .max_length(Some(max))
        .write_only(true)
        .description(Some(description))
        .build()
}

/// Any number of 64 bits.
fn number(description: &str, example: u64) -> Object {
    whole(0, u64::MAX, description, example)
}

fn whole(min: u64, max: u64, description: &str, example: u64) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(min))
        .maximum(Some(max))
        .description(Some(description))
        .examples([example])
        .build()
}
