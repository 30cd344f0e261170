//! Orders with what has amended them: the indexes by user and by amended order.
//!
//! Both have keys of two numbers: whose orders they are, or which order is amended, and the number
//! of the record. So a user's orders, and an order's amendments, are one range each, in order.

use std::collections::HashMap;

use bazaar_rpc::{Order, OrderNumber, OrderState, Quantity, UserId};

use super::Store;
use crate::engine::Keyspace;
use crate::error::StoreError;

/// A key of either index.
type Key = [u8; 16];

/// Where `order` is indexed, besides under its request id: an amendment under the order that it
/// amends, any other order under its user, if it has one.
pub(super) fn entry(order: &Order) -> Option<(Keyspace, Key)> {
    let request = &order.trade.request;
    match (request.amends, request.user) {
        (Some(made), _) => Some((Keyspace::Amendments, key(made.order.0, order.number.0))),
        (None, Some(user)) => Some((Keyspace::ByUser, key(user.0, order.number.0))),
        (None, None) => None,
    }
}

fn key(of: u64, number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&of.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Store {
    /// How the order of that number stands; none where there is none, or where it is an amendment.
    pub(crate) fn state(&self, number: OrderNumber) -> Result<Option<OrderState>, StoreError> {
        let order = self.order(number)?;
        let original = order.filter(|order| order.trade.request.amends.is_none());
        original.map(|original| self.stand(original)).transpose()
    }

    /// How at most `limit` orders of `user` stand, by number, after `after`.
    pub(crate) fn states_of_user(
        &self,
        user: UserId,
        after: Option<OrderNumber>,
        limit: usize,
    ) -> Result<Vec<OrderState>, StoreError> {
        let from = after.map_or(OrderNumber(0), OrderNumber::next);
        let mut states = Vec::new();
        for original in self.indexed(Keyspace::ByUser, user.0, from, limit)? {
            states.push(self.stand(original)?);
        }
        Ok(states)
    }

    /// How `original` stands.
    fn stand(&self, original: Order) -> Result<OrderState, StoreError> {
        let history = self.indexed(
            Keyspace::Amendments,
            original.number.0,
            original.number,
            usize::MAX,
        )?;
        Ok(OrderState { original, history })
    }

    /// At most `limit` orders from `from` on that `keyspace` has under `of`.
    fn indexed(
        &self,
        keyspace: Keyspace,
        of: u64,
        from: OrderNumber,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let (first, last) = (key(of, from.0), key(of, u64::MAX));
        let mut orders = Vec::new();
        for entry in self.engine.range(keyspace, &first, &last).take(limit) {
            let (key, _) = entry?;
            let number = self.number(&key[8..])?;
            // The index may already be ahead of the head that readers see.
            orders.extend(self.order(number)?);
        }
        Ok(orders)
    }

    /// The amendments among `orders`, which follow the last one here, whose orders are not what they
    /// say: because they are for other units by then, are cancelled, or are no orders. A leader lets
    /// no such thing be made.
    pub(crate) fn contradictions(&self, orders: &[Order]) -> Result<Vec<OrderNumber>, StoreError> {
        let mut found = Vec::new();
        let mut amended = HashMap::<OrderNumber, Quantity>::new();
        for (place, order) in orders.iter().enumerate() {
            let Some(amendment) = order.trade.request.amends else {
                continue;
            };
            let quantity = match amended.get(&amendment.order) {
                Some(quantity) => Some(*quantity),
                None => self.quantity(amendment.order, &orders[..place])?,
            };
            let is_cancelled = amendment.from == Quantity::default();
            if quantity != Some(amendment.from) || is_cancelled {
                found.push(order.number);
            }
            amended.insert(amendment.order, amendment.to);
        }
        Ok(found)
    }

    /// For how many units an order is, here or else among `later` ones.
    fn quantity(
        &self,
        number: OrderNumber,
        later: &[Order],
    ) -> Result<Option<Quantity>, StoreError> {
        if let Some(state) = self.state(number)? {
            return Ok(Some(state.quantity()));
        }
        let place = later.binary_search_by_key(&number, |order| order.number);
        let request = place.ok().map(|place| &later[place].trade.request);
        let original = request.filter(|request| request.amends.is_none());
        Ok(original.map(|request| request.quantity))
    }
}
