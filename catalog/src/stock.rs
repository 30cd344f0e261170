//! One item with its stock, and the rules by which it is traded.

use std::sync::Arc;

use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::edit::{EditRefusal, ItemChange, NewItem};
use bazaar_rpc::{Item, ItemNumber, Quantity, Refusal, ShopName, Side, TradeRequest, Version};
use serde::{Deserialize, Serialize};

use crate::shop::{Policy, ShopItem};

/// An item with its stock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stock {
    /// The shop that sells it.
    pub(crate) shop: ShopName,
    /// The item as it is described now, with the initial quantity.
    pub(crate) item: Arc<ShopItem>,
    /// The units in stock.
    pub(crate) quantity: Quantity,
    /// The units bought so far,
    pub(crate) bought: u64,
    /// and sold; the sum of both fits in 64 bits.
    pub(crate) sold: u64,
    /// The units that edits and restocks on a timer added so far,
    pub(crate) restocked: u64,
    /// and that edits took away.
    pub(crate) written_off: u64,
    /// Raised by every change.
    pub(crate) version: Version,
    /// How many of the changes were no trades.
    pub(crate) edits: u64,
    /// Whether it was taken out of its shop. What is left of it keeps its number from being used
    /// again, and its counters.
    pub(crate) removed: bool,
}

impl Stock {
    /// The stock with which `shop` opens.
    pub(crate) fn opened(shop: &ShopName, item: ShopItem) -> Self {
        Self {
            shop: shop.clone(),
            quantity: item.quantity,
            item: Arc::new(item),
            bought: 0,
            sold: 0,
            restocked: 0,
            written_off: 0,
            version: Version::default().next(),
            edits: 0,
            removed: false,
        }
    }

    /// The stock with which `item` begins as number `number`.
    pub(crate) fn created(number: ItemNumber, item: NewItem) -> Self {
        let NewItem {
            number: _,
            name,
            shop,
            category,
            price,
            quantity,
            description,
            slogan,
        } = item;
        let item = ShopItem {
            number,
            name,
            price,
            quantity,
            category,
            description,
            slogan,
        };
        Self::opened(&shop, item)
    }

    /// The units traded so far.
    pub(crate) fn volume(&self) -> u64 {
        self.bought + self.sold
    }

    /// The item as a lookup shows it.
    pub(crate) fn item(&self) -> Item {
        let ShopItem {
            number,
            name,
            price,
            category,
            description,
            slogan,
            quantity: _,
        } = self.item.as_ref();
        Item {
            number: *number,
            name: name.clone(),
            shop: self.shop.clone(),
            category: category.clone(),
            price: *price,
            quantity: self.quantity,
            volume: self.volume(),
            description: description.clone(),
            slogan: slogan.clone(),
            version: self.version,
        }
    }

    /// What caches are told of its last change.
    pub(crate) fn invalidation(&self) -> Invalidation {
        Invalidation {
            number: self.item.number,
            name: self.item.name.clone(),
            version: self.version,
        }
    }

    /// What becomes of it by a trade of `quantity` units, or why there can be none.
    pub(crate) fn traded(&self, side: Side, quantity: Quantity) -> Result<Self, Refusal> {
        // Reached after 10^7 orders of the largest size: the counters stay exact, and the item is
        // no longer traded.
        if self.volume().checked_add(quantity.units()).is_none() {
            return Err(Refusal::StockFull);
        }
        let mut traded = self.clone();
        match side {
            Side::Buy => {
                let available = self.quantity;
                traded.quantity = available
                    .checked_sub(quantity)
                    .ok_or(Refusal::NotEnoughStock { available })?;
                traded.bought += quantity.units();
            }
            Side::Sell => {
                traded.quantity = self
                    .quantity
                    .checked_add(quantity)
                    .ok_or(Refusal::StockFull)?;
                traded.sold += quantity.units();
            }
        }
        traded.version = self.version.next();
        Ok(traded)
    }

    /// What becomes of it by `change`, or why it cannot be. Whether a new name is free is not known
    /// here.
    pub(crate) fn changed(&self, change: ItemChange) -> Result<Self, EditRefusal> {
        if change == ItemChange::default() {
            return Err(EditRefusal::NothingToChange);
        }
        let ItemChange {
            name,
            price,
            quantity,
            category,
            description,
            slogan,
        } = change;
        let mut changed = self.edited();
        let item = Arc::make_mut(&mut changed.item);
        replace(&mut item.name, name);
        replace(&mut item.price, price);
        replace(&mut item.category, category);
        replace(&mut item.description, description);
        replace(&mut item.slogan, slogan);
        if let Some(quantity) = quantity {
            changed.set_quantity(quantity)?;
        }
        Ok(changed)
    }

    /// What becomes of it by `units` more, or why there cannot be so many.
    pub(crate) fn restocked(&self, units: Quantity) -> Result<Self, EditRefusal> {
        if units == Quantity::default() {
            return Err(EditRefusal::NoUnits);
        }
        let quantity = self.quantity.checked_add(units);
        let mut restocked = self.edited();
        restocked.set_quantity(quantity.ok_or(EditRefusal::StockFull)?)?;
        Ok(restocked)
    }

    /// What is left of it when it is removed.
    pub(crate) fn removed(&self) -> Self {
        Self {
            removed: true,
            ..self.edited()
        }
    }

    /// As it is, one edit later.
    fn edited(&self) -> Self {
        Self {
            version: self.version.next(),
            edits: self.edits + 1,
            ..self.clone()
        }
    }

    /// Has `quantity` units in stock, and counts the difference.
    pub(crate) fn set_quantity(&mut self, quantity: Quantity) -> Result<(), EditRefusal> {
        let (before, after) = (self.quantity.units(), quantity.units());
        let counter = match after > before {
            true => &mut self.restocked,
            false => &mut self.written_off,
        };
        // Full after 10^7 edits of the largest size.
        *counter = counter
            .checked_add(after.abs_diff(before))
            .ok_or(EditRefusal::StockFull)?;
        self.quantity = quantity;
        Ok(())
    }

    /// Whether the counters explain the quantity.
    pub(crate) fn adds_up(&self) -> bool {
        let sum = |units: [u64; 3]| units.map(u128::from).iter().sum::<u128>();
        let initial = self.item.quantity.units();
        let came = sum([initial, self.restocked, self.sold]);
        came == sum([self.quantity.units(), self.written_off, self.bought])
            && self.bought.checked_add(self.sold).is_some()
    }
}

fn replace<T>(value: &mut T, by: Option<T>) {
    if let Some(by) = by {
        *value = by;
    }
}

impl Policy {
    /// Whether the shop takes `request` at all. Of an order that is amended, the bounds are for what
    /// it is amended to, unless that is nothing; which way the difference goes is free.
    pub(crate) fn check(&self, request: &TradeRequest) -> Result<(), Refusal> {
        let (side, amends) = (request.side, request.amends);
        let (min, max) = (self.min, self.max.unwrap_or(Quantity::MAX));
        let is_cancel = amends.is_some_and(|amendment| amendment.to == Quantity::default());
        let ordered = amends.map_or(request.quantity, |amendment| amendment.to);
        if self.account && request.user.is_none() {
            Err(Refusal::AccountRequired)
        } else if amends.is_none() && !self.sides.contains(&side) {
            Err(Refusal::SideNotAllowed { side })
        } else if !is_cancel && !(min..=max).contains(&ordered) {
            Err(Refusal::QuantityNotAllowed { min, max })
        } else {
            Ok(())
        }
    }
}
