//! The state as the shop files and the order log tell it, for a catalog whose disk is lost.
//!
//! It promises the very state that the lost catalog was in after the last recorded trade: trades
//! that it had decided and no order records never happened. Every order is held against what the
//! shop files and the orders before it lead to, so a wrong shop file or a gap does not go unnoticed.

use std::sync::Arc;

use bazaar_rpc::{
    FencingToken, ItemName, ItemNumber, Money, Order, OrderNumber, Quantity, Refusal, ShopName,
    Side, Term, Version,
};

use super::State;
use crate::command::Command;
use crate::shop::Shop;

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
         shop's file with --shop"
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
        if (&stock.item.name, &stock.shop, stock.item.price)
            != (&trade.name, &trade.shop, trade.price)
        {
            return Err(RestoreError::OtherItem {
                order: number,
                item: trade.item,
                name: trade.name.clone(),
                shop: trade.shop.clone(),
                price: trade.price,
            });
        }
        let (side, quantity) = (trade.request.side, trade.request.quantity);
        let traded = stock
            .traded(side, quantity)
            .map_err(|refusal| RestoreError::Stock {
                order: number,
                side,
                quantity,
                name: trade.name.clone(),
                refusal,
            })?;
        if traded.version != trade.version {
            return Err(RestoreError::Version {
                order: number,
                name: trade.name.clone(),
                recorded: trade.version,
                restored: traded.version,
            });
        }
        self.state.items.insert(trade.item, Arc::new(traded));
        self.state.next = self.state.next.next();
        Ok(())
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
