//! Edits of items, and restocks by the shops' policies: every change of an item that is no trade.

use std::sync::Arc;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::edit::{Edit, EditOutcome, EditRefusal, MAX_ITEMS, MAX_NEW_NUMBER, NewItem};
use bazaar_rpc::{Item, ItemName, ItemNumber, Quantity, RequestId, ShopName, Version};

use super::State;
use crate::shop::Restock;
use crate::stock::Stock;

impl State {
    /// Makes `edit`, unless it was made, or refused, for `request` before.
    pub(super) fn edit(
        &mut self,
        request: RequestId,
        edit: Edit,
        touched: &mut Vec<Invalidation>,
    ) -> Result<EditOutcome, CatalogError> {
        // What is changed here may be a shop that has lost everything that was done to it.
        if !self.is_vouched_for() {
            return Err(CatalogError::Starting);
        }
        if let Some(outcome) = self.last_edits.outcome(&request, &edit) {
            return Ok(outcome);
        }
        let outcome = self
            .edited(edit.clone())
            .map(|stock| self.put(stock, touched));
        if !planted(Bug::EditsForgotten) {
            self.last_edits.remember(request, &edit, outcome.clone());
        }
        Ok(outcome)
    }

    /// What `edit` makes of its item.
    fn edited(&self, edit: Edit) -> Result<Stock, EditRefusal> {
        match edit {
            Edit::Create(item) => self.created(item),
            Edit::Change {
                item,
                expected,
                change,
            } => {
                let stock = self.expected(item, expected)?;
                if let Some(name) = &change.name {
                    self.check_name(name, Some(item))?;
                }
                stock.changed(change)
            }
            Edit::Restock {
                item,
                expected,
                units,
            } => self.expected(item, expected)?.restocked(units),
            Edit::Remove { item, expected } => Ok(self.expected(item, expected)?.removed()),
        }
    }

    fn created(&self, item: NewItem) -> Result<Stock, EditRefusal> {
        if !self.shops.contains_key(&item.shop) {
            return Err(EditRefusal::UnknownShop(item.shop));
        }
        if self.items.len() >= MAX_ITEMS {
            return Err(EditRefusal::TooManyItems);
        }
        let number = match item.number {
            Some(number) => self.check_number(number)?,
            None => self.next_number()?,
        };
        self.check_name(&item.name, None)?;
        Ok(Stock::created(number, item))
    }

    /// The item of that number, if it has the expected version.
    fn expected(
        &self,
        number: ItemNumber,
        expected: Option<Version>,
    ) -> Result<&Stock, EditRefusal> {
        let unknown = EditRefusal::UnknownItem(number);
        let stock = self.on_sale(number).ok_or(unknown)?;
        let current = stock.version;
        if expected.is_some_and(|expected| expected != current) {
            return Err(EditRefusal::VersionConflict { current });
        }
        Ok(stock)
    }

    /// Whether no other item than `owner` has `name`.
    fn check_name(&self, name: &ItemName, owner: Option<ItemNumber>) -> Result<(), EditRefusal> {
        match self.numbers.get(name).copied() {
            Some(by) if Some(by) != owner => {
                let name = name.clone();
                Err(EditRefusal::NameTaken { name, by })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The number, if a new item may have it.
    fn check_number(&self, number: ItemNumber) -> Result<ItemNumber, EditRefusal> {
        if number > MAX_NEW_NUMBER {
            return Err(EditRefusal::NumberTooHigh);
        }
        match self.items.get(&number) {
            Some(stock) => {
                let by = stock.item.name.clone();
                Err(EditRefusal::NumberTaken { number, by })
            }
            None => Ok(number),
        }
    }

    /// The number after the highest that was ever used.
    fn next_number(&self) -> Result<ItemNumber, EditRefusal> {
        let next = match self.items.get_max() {
            Some((highest, _)) => highest.0.checked_add(1).map(ItemNumber),
            None => Some(ItemNumber(1)),
        };
        next.filter(|next| *next <= MAX_NEW_NUMBER)
            .ok_or(EditRefusal::NoNumberLeft)
    }

    /// Puts `stock` in the place of what has its number, under its name.
    fn put(&mut self, stock: Stock, touched: &mut Vec<Invalidation>) -> Item {
        let (number, version) = (stock.item.number, stock.version);
        if let Some(former) = self.on_sale(number) {
            let name = former.item.name.clone();
            self.numbers.remove(&name);
            if name != stock.item.name {
                touched.push(Invalidation {
                    number,
                    name,
                    version,
                });
            }
        }
        if !stock.removed {
            self.numbers.insert(stock.item.name.clone(), number);
        }
        touched.push(stock.invalidation());
        let item = stock.item();
        self.items.insert(number, Arc::new(stock));
        self.edits += 1;
        item
    }

    /// Restocks those of `items` that are low.
    pub(super) fn replenish(&mut self, items: Vec<ItemNumber>, touched: &mut Vec<Invalidation>) {
        for number in items {
            if let Some(restocked) = self.on_sale(number).and_then(|stock| self.refilled(stock)) {
                self.put(restocked, touched);
            }
        }
    }

    /// What the policy of its shop makes of `stock`; none where it is not low.
    fn refilled(&self, stock: &Stock) -> Option<Stock> {
        let missing = self.missing_units(stock)?;
        stock.restocked(missing).ok()
    }

    /// How many units `stock` is short of what the policy of its shop fills it up to; none where it
    /// is not low.
    fn missing_units(&self, stock: &Stock) -> Option<Quantity> {
        let restock = self.shops.get(&stock.shop)?.restock.as_ref()?;
        if stock.removed || stock.quantity >= restock.below || !self.is_vouched_for() {
            return None;
        }
        restock.to.checked_sub(stock.quantity)
    }

    /// Whether the policy of its shop would have `stock` restocked.
    pub(crate) fn is_low(&self, stock: &Stock) -> bool {
        self.missing_units(stock).is_some()
    }

    /// The shops that restock on a timer.
    pub(crate) fn restocking(&self) -> impl Iterator<Item = (&ShopName, &Restock)> {
        let shops = self.shops.iter();
        shops.filter_map(|(name, policy)| Some((name, policy.restock.as_ref()?)))
    }
}

#[cfg(test)]
mod tests;
