//! Shop files: what a shop sells and by which rules, as a person writes it down.
//!
//! A file is checked as a whole, and all files together, before anything is made of them. What is
//! wrong is said with the file, the line and the field.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bazaar_rpc::{ItemName, ItemNumber, Money, Quantity, ShopName, Side, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ShopError;

mod restock;

pub use restock::{Period, Restock};

/// The shops that ship, by the names of their files.
const SHIPPED: [(&str, &str); 3] = [
    ("data/stocks.json", include_str!("../../data/stocks.json")),
    ("data/books.json", include_str!("../../data/books.json")),
    ("data/merch.json", include_str!("../../data/merch.json")),
];

/// The largest shop file, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// A shop: what it sells, by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shop {
    /// Its name, unique among shops.
    pub name: ShopName,
    /// Its rules.
    pub policy: Policy,
    /// What it sells.
    pub items: Vec<ShopItem>,
}

/// By which rules a shop trades.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedPolicy")]
pub struct Policy {
    /// The ways it trades.
    pub sides: BTreeSet<Side>,
    /// The fewest units of one order, at least 1.
    pub min: Quantity,
    /// The most units of one order; no bound but [`Quantity::MAX`] where there is none.
    pub max: Option<Quantity>,
    /// Whether only account holders may trade.
    pub account: bool,
    /// How it restocks by itself, if it does.
    pub restock: Option<Restock>,
}

/// An item as a shop opens with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopItem {
    /// Unique over all shops.
    pub number: ItemNumber,
    /// Unique over all shops.
    pub name: ItemName,
    /// The price of one unit.
    pub price: Money,
    /// The units in stock when the shop opens.
    pub quantity: Quantity,
    /// What it is filed under.
    #[serde(default)]
    pub category: Option<Text<200>>,
    /// A sentence or two about it.
    #[serde(default)]
    pub description: Option<Text<2000>>,
    /// A line to sell it by.
    #[serde(default)]
    pub slogan: Option<Text<200>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedPolicy {
    sides: BTreeSet<Side>,
    min: Quantity,
    max: Option<Quantity>,
    account: bool,
    restock: Option<Restock>,
}

/// A [`Policy`] that contradicts itself.
#[derive(Debug, thiserror::Error)]
enum InvalidPolicy {
    #[error("`sides` is empty: it names buy, sell or both")]
    NoSide,
    #[error("`min` is zero: an order is for one unit at least")]
    ZeroMin,
    #[error("`max` is less than `min`")]
    MaxBelowMin,
}

impl TryFrom<UncheckedPolicy> for Policy {
    type Error = InvalidPolicy;

    fn try_from(unchecked: UncheckedPolicy) -> Result<Self, InvalidPolicy> {
        let UncheckedPolicy {
            sides,
            min,
            max,
            account,
            restock,
        } = unchecked;
        if sides.is_empty() {
            Err(InvalidPolicy::NoSide)
        } else if min == Quantity::default() {
            Err(InvalidPolicy::ZeroMin)
        } else if max.is_some_and(|max| max < min) {
            Err(InvalidPolicy::MaxBelowMin)
        } else {
            Ok(Self {
                sides,
                min,
                max,
                account,
                restock,
            })
        }
    }
}

/// Reads and checks the shops that ship, and the shop files at `paths`.
///
/// # Errors
/// Names the file, the line and the field of the first thing that is wrong in them.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Shop>, ShopError> {
    let mut seen = Seen::default();
    let mut shops = Vec::with_capacity(SHIPPED.len() + paths.len());
    for (name, text) in SHIPPED {
        shops.push(seen.shop(Path::new(name), text)?);
    }
    for path in paths {
        shops.push(seen.shop(path, &read_file(path)?)?);
    }
    Ok(shops)
}

fn read_file(path: &Path) -> Result<String, ShopError> {
    let failed = |source| ShopError::Read {
        file: path.into(),
        source,
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a shop file has at most {MAX_FILE} bytes"),
        )));
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ShopError::Content {
            file: path.into(),
            line: 1 + valid.iter().filter(|byte| **byte == b'\n').count(),
            problem: "not UTF-8".into(),
        }
    })
}

/// A file before its items are looked at. Each is parsed by itself, so that what is wrong with it
/// beyond its own text, such as a number that another item has, can still be placed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    shop: &'a RawValue,
    policy: Policy,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// The fields of an item that must be unique, as they stand in the file.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    number: &'a RawValue,
    #[serde(borrow)]
    name: &'a RawValue,
}

/// What the files read so far have used up, with where.
#[derive(Default)]
struct Seen {
    shops: BTreeMap<ShopName, String>,
    numbers: BTreeMap<ItemNumber, String>,
    names: BTreeMap<ItemName, String>,
}

impl Seen {
    /// Parses `text`, which stands in `file`.
    fn shop(&mut self, file: &Path, text: &str) -> Result<Shop, ShopError> {
        let source = Source { file, text };
        let parsed: File = source.parse(text, "")?;
        let name: ShopName = source.parse(parsed.shop.get(), "shop")?;
        source.unique(&mut self.shops, &name, parsed.shop, "shop")?;
        let mut items = Vec::with_capacity(parsed.items.len());
        for (index, raw) in parsed.items.into_iter().enumerate() {
            let path = format!("items[{index}]");
            let item: ShopItem = source.parse(raw.get(), &path)?;
            let keys: Keys = source.parse(raw.get(), &path)?;
            let field = |name| format!("{path}.{name}");
            source.unique(
                &mut self.numbers,
                &item.number,
                keys.number,
                &field("number"),
            )?;
            source.unique(&mut self.names, &item.name, keys.name, &field("name"))?;
            items.push(item);
        }
        Ok(Shop {
            name,
            policy: parsed.policy,
            items,
        })
    }
}

/// A file being parsed.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// Parses `part`, a slice of the file's text that is the value of `field`.
    fn parse<'a, T: Deserialize<'a>>(&self, part: &'a str, field: &str) -> Result<T, ShopError> {
        let mut json = serde_json::Deserializer::from_str(part);
        let parsed = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| (error.path().to_string(), error.into_inner()))
            .and_then(|value| {
                json.end()
                    .map(|()| value)
                    .map_err(|error| (".".into(), error))
            });
        parsed.map_err(|(within, error)| {
            let field = match (field, within.as_str()) {
                (field, ".") => field.to_owned(),
                ("", within) => within.to_owned(),
                (field, within) => format!("{field}.{within}"),
            };
            let line = self.line_of(part) + error.line().saturating_sub(1);
            // The line is said once, by this error and counted from the file's beginning.
            let said = error.to_string();
            let said = said
                .rsplit_once(" at line ")
                .map_or(said.as_str(), |(said, _)| said);
            self.wrong(line, &field, said)
        })
    }

    /// Enters `key`, which is written at `raw`, among those that `seen` has.
    fn unique<K: Ord + Clone>(
        &self,
        seen: &mut BTreeMap<K, String>,
        key: &K,
        raw: &RawValue,
        field: &str,
    ) -> Result<(), ShopError> {
        let line = self.line_of(raw.get());
        let here = format!("{}:{line}", self.file.display());
        match seen.insert(key.clone(), here) {
            None => Ok(()),
            Some(first) => Err(self.wrong(
                line,
                field,
                &format!("{} repeats that of {first}", raw.get()),
            )),
        }
    }

    /// The line on which `part`, a slice of the text, begins.
    fn line_of(&self, part: &str) -> usize {
        let offset = part.as_ptr() as usize - self.text.as_ptr() as usize;
        1 + self.text.as_bytes()[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }

    fn wrong(&self, line: usize, field: &str, problem: &str) -> ShopError {
        let problem = if field.is_empty() {
            problem.to_owned()
        } else {
            format!("{field}: {problem}")
        };
        ShopError::Content {
            file: self.file.into(),
            line,
            problem,
        }
    }
}

#[cfg(test)]
mod tests;
