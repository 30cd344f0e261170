//! Money, in whole cents.

use std::fmt;
use std::ops::Mul;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Quantity;

/// An amount of money in cents, from 0 to [`Money::MAX`].
///
/// Text formats show it as a number with two decimals (`15.90`); binary formats carry the cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// The largest amount: 10 million.
    pub const MAX: Self = Self(1_000_000_000);

    /// The amount of `cents`.
    ///
    /// # Errors
    /// When it is more than [`Money::MAX`].
    pub fn from_cents(cents: u64) -> Result<Self, InvalidMoney> {
        if cents > Self::MAX.0 {
            Err(InvalidMoney)
        } else {
            Ok(Self(cents))
        }
    }

    /// The amount in cents.
    #[must_use]
    pub fn cents(self) -> u64 {
        self.0
    }
}

/// What is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a number from 0 to 10000000 with at most two decimals")]
pub struct InvalidMoney;

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sum(self.0.into()).fmt(f)
    }
}

/// What several units cost together, in cents: any price times any quantity.
///
/// Text formats show it as they do [`Money`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum(u128);

impl Sum {
    /// The sum in cents.
    #[must_use]
    pub fn cents(self) -> u128 {
        self.0
    }
}

impl Mul<Quantity> for Money {
    type Output = Sum;

    fn mul(self, quantity: Quantity) -> Sum {
        Sum(u128::from(self.0) * u128::from(quantity.units()))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serialize_decimals(self, serializer)
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 2 {
            return Err(InvalidMoney);
        }
        format!("{whole}{decimals:0<2}")
            .parse()
            .map_err(|_overflow| InvalidMoney)
            .and_then(Self::from_cents)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serialize_decimals(self, serializer)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

/// A raw value, because a float would show 15.90 as 15.9.
fn serialize_decimals<S: Serializer>(
    amount: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    RawValue::from_string(amount.to_string())
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Decimal)
        } else {
            u64::deserialize(deserializer)
                .and_then(|cents| Self::from_cents(cents).map_err(de::Error::custom))
        }
    }
}

/// Reads a JSON number as an amount.
struct Decimal;

impl Visitor<'_> for Decimal {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{InvalidMoney}")
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Money, E> {
        whole
            .checked_mul(100)
            .ok_or(InvalidMoney)
            .and_then(Money::from_cents)
            .map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Money, E> {
        u64::try_from(whole)
            .map_err(|_negative| E::custom(InvalidMoney))
            .and_then(|n| self.visit_u64(n))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Money, E> {
        // A float prints as the shortest decimal that reads back as itself, so up to `MAX` the text
        // has the digits that were written, and exact parsing refuses a third decimal.
        value.to_string().parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_amount_survives_json(cents in 0..=Money::MAX.0) {
            let money = Money::from_cents(cents).unwrap();
            let json = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(json.split_once('.').unwrap().1.len(), 2);
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }
    }

    #[test]
    fn the_largest_order_has_a_total() {
        let total = Money::MAX * Quantity::MAX;
        let json = serde_json::to_string(&total).unwrap();
        assert_eq!(json, "10000000000000000000.00");
        assert_eq!(
            (Money::from_cents(4999).unwrap() * Quantity::new(3).unwrap()).cents(),
            14_997
        );
    }

    #[test]
    fn reads_what_a_person_writes_and_refuses_the_rest() {
        let read = |text: &str| serde_json::from_str::<Money>(text).map(Money::cents).ok();
        assert_eq!(read("15.99"), Some(1599));
        assert_eq!(read("15.9"), Some(1590));
        assert_eq!(read("15"), Some(1500));
        assert_eq!(read("0"), Some(0));
        for bad in [
            "-1",
            "-0.01",
            "15.999",
            "1e30",
            "\"15\"",
            "null",
            "10000000.01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
