//! One item with its stock, and the rules by which it is traded.

use std::sync::Arc;

use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::{Item, Quantity, Refusal, ShopName, Side, TradeRequest, Version};
use serde::{Deserialize, Serialize};

use crate::shop::{Policy, ShopItem};

/// An item with its stock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stock {
    /// The shop that sells it.
    pub(crate) shop: ShopName,
    /// The item as it was when its shop opened, with the initial quantity.
    pub(crate) item: Arc<ShopItem>,
    /// The units in stock.
    pub(crate) quantity: Quantity,
    /// The units bought so far,
    pub(crate) bought: u64,
    /// and sold; the sum of both fits in 64 bits.
    pub(crate) sold: u64,
    /// Raised by every change.
    pub(crate) version: Version,
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
            version: Version::default().next(),
        }
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

    /// Whether the counters explain the quantity.
    pub(crate) fn adds_up(&self) -> bool {
        let sum = |a: u64, b: u64| u128::from(a) + u128::from(b);
        let initial = self.item.quantity.units();
        sum(initial, self.sold) == sum(self.quantity.units(), self.bought)
            && self.bought.checked_add(self.sold).is_some()
    }
}

impl Policy {
    /// Whether the shop takes `request` at all.
    pub(crate) fn check(&self, request: &TradeRequest) -> Result<(), Refusal> {
        let (side, quantity) = (request.side, request.quantity);
        let max = self.max.unwrap_or(Quantity::MAX);
        if self.account && request.user.is_none() {
            Err(Refusal::AccountRequired)
        } else if !self.sides.contains(&side) {
            Err(Refusal::SideNotAllowed { side })
        } else if quantity < self.min || quantity > max {
            Err(Refusal::QuantityNotAllowed { min: self.min, max })
        } else {
            Ok(())
        }
    }
}
