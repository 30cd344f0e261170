//! Items: what shops sell.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ItemNumber, Money, Version};

/// A short text with a bound: not empty, at most `MAX` characters (Unicode scalar values, as JSON
/// Schema counts them), no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Text<const MAX: usize>(Arc<str>);

impl<const MAX: usize> Text<MAX> {
    /// Checks `text` against the bounds.
    ///
    /// # Errors
    /// Says which bound it breaks.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        if text.is_empty() || text.len() > MAX && text.chars().count() > MAX {
            Err(InvalidText::Length { max: MAX })
        } else if text.chars().any(char::is_control) {
            Err(InvalidText::Control)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Empty, or longer than allowed.
    #[error("a text here has 1 to {max} characters")]
    Length {
        /// The most characters it may have.
        max: usize,
    },
    /// It holds control characters.
    #[error("a text here has no control characters")]
    Control,
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::new(&text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0.as_ref().into()
    }
}

/// The name of an item, unique over all shops: a [`Text`] without slashes, since it stands in paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ItemName(Text<{ Self::MAX_LENGTH }>);

impl ItemName {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 200;

    /// Checks `name`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, InvalidItemName> {
        if name.contains('/') {
            return Err(InvalidItemName::Slash);
        }
        Ok(Self(Text::new(name)?))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Why a text is not the name of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidItemName {
    /// It holds a slash.
    #[error("an item's name has no slash")]
    Slash,
    /// It breaks the bounds of a text.
    #[error(transparent)]
    Text(#[from] InvalidText),
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for ItemName {
    type Error = InvalidItemName;

    fn try_from(name: String) -> Result<Self, InvalidItemName> {
        Self::new(&name)
    }
}

impl From<ItemName> for String {
    fn from(name: ItemName) -> Self {
        name.0.into()
    }
}

/// The name of a shop.
pub type ShopName = Text<64>;

/// A number of units, from 0 to [`Quantity::MAX`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "u64", try_from = "u64")]
pub struct Quantity(u64);

impl Quantity {
    /// The most units an item's stock, or one order, may have: 10^12.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// Checks `units`.
    ///
    /// # Errors
    /// When it is more than [`Quantity::MAX`].
    pub fn new(units: u64) -> Result<Self, InvalidQuantity> {
        if units > Self::MAX.0 {
            Err(InvalidQuantity)
        } else {
            Ok(Self(units))
        }
    }

    /// The number of units.
    #[must_use]
    pub fn units(self) -> u64 {
        self.0
    }

    /// This many and `other` more; nothing beyond [`Quantity::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0).ok()
    }

    /// By how many these and `other` differ.
    #[must_use]
    pub fn abs_diff(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0))
    }

    /// This many less `other`; nothing below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

/// A quantity out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quantity is a whole number from 0 to {}", Quantity::MAX)]
pub struct InvalidQuantity;

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u64> for Quantity {
    type Error = InvalidQuantity;

    fn try_from(units: u64) -> Result<Self, InvalidQuantity> {
        Self::new(units)
    }
}

impl From<Quantity> for u64 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// How a request names an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ItemKey {
    /// By its number.
    Number(ItemNumber),
    /// By its name.
    Name(ItemName),
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// An item as a lookup shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique over all shops.
    pub number: ItemNumber,
    /// Unique over all shops.
    pub name: ItemName,
    /// The shop that sells it.
    pub shop: ShopName,
    /// What it is filed under: a book's topic, a product's category.
    pub category: Option<Text<200>>,
    /// The price of one unit.
    pub price: Money,
    /// The units in stock.
    pub quantity: Quantity,
    /// The units traded so far, bought and sold.
    pub volume: u64,
    /// A sentence or two about it.
    pub description: Option<Text<2000>>,
    /// A line to sell it by.
    pub slogan: Option<Text<200>>,
    /// Rises with every change of the item.
    pub version: Version,
}
