//! The state as the shop files and the order log tell it, for a catalog whose disk is lost.
//!
//! For items that were changed by trades alone it promises the very state that the lost catalog was
//! in after the last recorded trade: trades that it had decided and no order records never happened.
//! Every order is held against what the shop files and the orders before it lead to, so a wrong shop
//! file or a gap does not go unnoticed.
//!
//! Edits and restocks are not in the order log. They show in the versions that trades made: where
//! versions are missing before an order, its item was edited that often. What the order then says of
//! name and price is taken over, and where it bought more than there can have been, the rest is taken
//! for restocked. Such an item is told of (see the report): its stock is a guess from below, and what
//! was edited after its last order, or was created or removed, is lost.

use std::sync::Arc;

use bazaar_rpc::{
    FencingToken, ItemName, ItemNumber, Money, Order, OrderNumber, Quantity, Refusal, ShopName,
    Side, Term, Trade, Version,
};

use super::State;
use crate::command::Command;
use crate::shop::Shop;
use crate::stock::Stock;

/// A state that is being restored.
pub(crate) struct Restoration {
    state: State,
}

/// An order that does not follow from the shop files and the orders before it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// An order is missing, or there is one too many.
    #[error("the order log is not whole: order {found} stands where {expected} is due")]
    Gap {
        /// The order that is there.
        found: OrderNumber,
        /// The order that ought to be.
        expected: OrderNumber,
    },
    /// No shop has the item.
    #[error(
        "order {order} is for item {item} ({name}, shop {shop}), which no shop file has; give its \
         shop's file with --shop, and where the item was created while the shop was open, add it to \
         a shop file, as it was then"
    )]
    UnknownItem {
        /// The order.
        order: OrderNumber,
        /// The item's number,
        item: ItemNumber,
        /// Its name.
        name: ItemName,
        /// Its shop.
        shop: ShopName,
    },
    /// A shop has another item under that number.
    #[error(
        "order {order} is for item {item} as {name} of shop {shop} at {price}, and the shop file has \
         something else there; give the shop files as they were when the shops opened"
    )]
    OtherItem {
        /// The order.
        order: OrderNumber,
        /// The item's number,
        item: ItemNumber,
        /// Its name.
        name: ItemName,
        /// Its shop.
        shop: ShopName,
        /// Its price.
        price: Money,
    },
    /// There was not that much in stock, or the stock could not hold it.
    #[error(
        "order {order} ({} {quantity} of {name}) cannot have been made: {refusal}; give the shop \
         files as they were when the shops opened", side.as_str()
    )]
    Stock {
        /// The order.
        order: OrderNumber,
        /// Which way it trades.
        side: Side,
        /// How many units.
        quantity: Quantity,
        /// Its name.
        name: ItemName,
        /// Why the catalog would refuse it.
        refusal: Refusal,
    },
    /// Something else has changed the item.
    #[error(
        "order {order} made version {recorded} of {name}, and the orders before it lead to version \
         {restored}: the order log is not this catalog's alone"
    )]
    Version {
        /// The order.
        order: OrderNumber,
        /// Its name.
        name: ItemName,
        /// As the order says.
        recorded: Version,
        /// As the orders before it say.
        restored: Version,
    },
}

impl Restoration {
    /// Begins with `shops` as they open, in `term` of the catalog group.
    pub(crate) fn new(shops: Vec<Shop>, term: Term) -> Self {
        let mut state = State::default();
        state.apply(Command::Open { term, shops }, &mut Vec::new());
        Self { state }
    }

    /// The number of the next order.
    pub(crate) fn next(&self) -> OrderNumber {
        OrderNumber(self.state.next.0)
    }

    /// Has `order`, which is the next one, happen.
    pub(crate) fn record(&mut self, order: &Order) -> Result<(), RestoreError> {
        let (number, trade) = (order.number, &order.trade);
        if number != self.next() || trade.sequence != self.state.next {
            return Err(RestoreError::Gap {
                found: number,
                expected: self.next(),
            });
        }
        let Some(stock) = self.state.items.get(&trade.item) else {
            return Err(RestoreError::UnknownItem {
                order: number,
                item: trade.item,
                name: trade.name.clone(),
                shop: trade.shop.clone(),
            });
        };
        let due = stock.version.next();
        if trade.version < due {
            return Err(RestoreError::Version {
                order: number,
                name: trade.name.clone(),
                recorded: trade.version,
                restored: due,
            });
        }
        let (side, quantity) = (trade.request.side, trade.request.quantity);
        let refused = |refusal| RestoreError::Stock {
            order: number,
            side,
            quantity,
            name: trade.name.clone(),
            refusal,
        };
        let former = stock.item.name.clone();
        let edits = trade.version.0 - due.0;
        let stock = match edits {
            0 => stock.clone(),
            _ => Arc::new(self.edited(stock, edits, trade).map_err(refused)?),
        };
        // Where an edited item's name could not be taken over, it has kept the one before.
        let has_name = stock.item.name == trade.name || stock.edits > 0;
        // An amendment has its order's price, which that order was held against.
        let amends = trade.request.amends;
        let price = amends.map_or(stock.item.price, |amendment| amendment.price);
        if !has_name || (&stock.shop, price) != (&trade.shop, trade.price) {
            return Err(RestoreError::OtherItem {
                order: number,
                item: trade.item,
                name: trade.name.clone(),
                shop: trade.shop.clone(),
                price: trade.price,
            });
        }
        let traded = stock.traded(side, quantity).map_err(refused)?;
        if traded.item.name != former {
            self.state.numbers.remove(&former);
            let name = traded.item.name.clone();
            self.state.numbers.insert(name, trade.item);
        }
        self.state.items.insert(trade.item, Arc::new(traded));
        self.state.edits += edits;
        self.state.next = self.state.next.next();
        Ok(())
    }

    /// What may have become of `stock` by so many `edits`, after which `trade` was made.
    fn edited(&self, stock: &Stock, edits: u64, trade: &Trade) -> Result<Stock, Refusal> {
        let mut edited = Stock {
            version: Version(stock.version.0 + edits),
            edits: stock.edits + edits,
            ..stock.clone()
        };
        let item = Arc::make_mut(&mut edited.item);
        if trade.request.amends.is_none() {
            item.price = trade.price;
        }
        if !self.state.numbers.contains_key(&trade.name) {
            item.name = trade.name.clone();
        }
        let units = trade.request.quantity;
        let room = Quantity::MAX.checked_sub(units).unwrap_or_default();
        let quantity = match trade.request.side {
            Side::Buy => edited.quantity.max(units),
            Side::Sell => edited.quantity.min(room),
        };
        edited
            .set_quantity(quantity)
            .map_err(|_full| Refusal::StockFull)?;
        Ok(edited)
    }

    /// Ends with the order log. `fence` is a token that no order leader holds, and that is higher
    /// than any that one may have held: what was sent under those is refused.
    pub(crate) fn finish(self, fence: FencingToken) -> State {
        State {
            fence,
            // All that was made is recorded, so nothing is left in the outbox.
            forgotten: self.state.next,
            ..self.state
        }
    }
}

#[cfg(test)]
mod tests;
