//! Edits: what an administrator changes of the items of shops.

use serde::{Deserialize, Serialize};

use crate::{Item, ItemName, ItemNumber, Money, Quantity, ShopName, Text, Version};

/// The highest number that a new item may be given: 2^53 − 1, which JSON carries exactly everywhere.
/// (A shop file may say a higher one.)
pub const MAX_NEW_NUMBER: ItemNumber = ItemNumber((1 << 53) - 1);

/// The most items that there may be over all shops, those that were removed included.
pub const MAX_ITEMS: usize = 1_000_000;

/// A change of one item. Each raises the item's version by one; a new item begins with version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// Adds an item to an open shop.
    Create(NewItem),
    /// Changes what an item is.
    Change {
        /// Which one.
        item: ItemNumber,
        /// The version that it must have; any where none is said.
        expected: Option<Version>,
        /// What changes of it.
        change: ItemChange,
    },
    /// Adds units to an item's stock.
    Restock {
        /// Which one.
        item: ItemNumber,
        /// The version that it must have; any where none is said.
        expected: Option<Version>,
        /// How many units; not zero.
        units: Quantity,
    },
    /// Takes an item out of its shop for good: it is in no lookup and no list, and is not traded. Its
    /// number is never used again; its name may be.
    Remove {
        /// Which one.
        item: ItemNumber,
        /// The version that it must have; any where none is said.
        expected: Option<Version>,
    },
}

/// An item to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewItem {
    /// Its number, which no item has or ever had, at most [`MAX_NEW_NUMBER`]; the one after the
    /// highest ever used where none is said.
    pub number: Option<ItemNumber>,
    /// Its name, which no other item has.
    pub name: ItemName,
    /// The shop that sells it, which is open.
    pub shop: ShopName,
    /// What it is filed under.
    pub category: Option<Text<200>>,
    /// The price of one unit.
    pub price: Money,
    /// The units in stock at first.
    pub quantity: Quantity,
    /// A sentence or two about it.
    pub description: Option<Text<2000>>,
    /// A line to sell it by.
    pub slogan: Option<Text<200>>,
}

/// What changes of an item. What is none stays as it is; at least one thing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemChange {
    /// Its name, which no other item has.
    pub name: Option<ItemName>,
    /// The price of one unit. Orders keep the price at which they were made.
    pub price: Option<Money>,
    /// The units in stock, whatever they were.
    pub quantity: Option<Quantity>,
    /// What it is filed under, or that it is not.
    pub category: Option<Option<Text<200>>>,
    /// A sentence or two about it, or none.
    pub description: Option<Option<Text<2000>>>,
    /// A line to sell it by, or none.
    pub slogan: Option<Option<Text<200>>>,
}

/// What came of an edit: the item as it made it, or as it was when it was removed.
pub type EditOutcome = Result<Item, EditRefusal>;

/// Why the catalog does not make an edit. A refused edit has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EditRefusal {
    /// There is no such item, or there is none any more.
    #[error("there is no item {0}")]
    UnknownItem(ItemNumber),
    /// No such shop is open.
    #[error("shop: there is no shop {0}")]
    UnknownShop(ShopName),
    /// Another item has the name.
    #[error("name: {name} is the name of item {by}")]
    NameTaken {
        /// The name.
        name: ItemName,
        /// Whose it is.
        by: ItemNumber,
    },
    /// An item has the number, or had it before it was removed.
    #[error("number: {number} is, or was, the number of {by}")]
    NumberTaken {
        /// The number.
        number: ItemNumber,
        /// Whose it is.
        by: ItemName,
    },
    /// The item has another version than the one that was expected.
    #[error("the item has version {current} by now")]
    VersionConflict {
        /// The version that it has.
        current: Version,
    },
    /// The number is out of its bounds.
    #[error("number: a new item's number is from 0 to {MAX_NEW_NUMBER}")]
    NumberTooHigh,
    /// The highest number was used, so that none comes after it.
    #[error("number: no number is left after the highest one; say one that is free")]
    NoNumberLeft,
    /// There are [`MAX_ITEMS`].
    #[error("the shops have had {MAX_ITEMS} items, and can have no more")]
    TooManyItems,
    /// A change that changes nothing.
    #[error("the change names nothing that is to be changed")]
    NothingToChange,
    /// A restock of no units.
    #[error("units: a restock is of 1 unit at least")]
    NoUnits,
    /// The stock would grow beyond [`Quantity::MAX`], or its counters are full.
    #[error("the stock of an item is of at most {} units", Quantity::MAX)]
    StockFull,
    /// The request id belongs to an edit that asked for something else.
    #[error("the request id was used for another edit")]
    KeyReused,
}
