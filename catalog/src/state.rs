//! The catalog's state: a pure function of the commands applied to it.
//!
//! It promises, whatever commands come:
//!
//! - `initial + restocked − written off + sold − bought = quantity`, within the bounds of a
//!   [`bazaar_rpc::Quantity`], for every item;
//! - a trade that is made has the next sequence number and raises its item's version by one; so does
//!   every edit;
//! - an item's number is never another's, not even once it is removed;
//! - a request id that is still in the outbox, or among the last edits, gets its first outcome again
//!   and changes nothing;
//! - what is refused changes nothing.
//!
//! Its maps are persistent (shared structure, copied where they change), so a clone is a snapshot
//! that costs next to nothing.

use std::ops::Bound;
use std::sync::Arc;

use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::cache::Invalidation;
use bazaar_rpc::catalog::{
    CatalogError, Decision, Fence, ListQuery, MAX_BATCH, MAX_PAGE, TradeBatch,
};
use bazaar_rpc::{
    Amendment, CacheId, FencingToken, Item, ItemKey, ItemName, ItemNumber, Quantity, Refusal,
    RequestId, ServiceName, ShopName, Term, Trade, TradeRequest, TradeSequence,
};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::command::{Answer, Command};
use crate::shop::{Policy, Shop, ShopItem};
use crate::stock::Stock;
use last_edits::LastEdits;

/// The most trades that may be made and not yet reported as recorded. It bounds the outbox; an order
/// service that records what it is given stays far below it.
pub(crate) const MAX_OUTBOX: usize = 100_000;

/// The most caches that are known at once. A frontend has one, and one more for a moment when it
/// has started anew.
pub(crate) const MAX_CACHES: usize = 1024;

/// Everything that the catalog knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub(crate) struct State {
    /// The catalog group's term in which the last command was proposed.
    reign: Term,
    /// The token in force.
    fence: FencingToken,
    /// Trades before this one were reported as recorded and are forgotten.
    forgotten: TradeSequence,
    /// The sequence number of the next trade.
    next: TradeSequence,
    /// The rules of each shop.
    shops: OrdMap<ShopName, Arc<Policy>>,
    /// What they sell.
    items: OrdMap<ItemNumber, Arc<Stock>>,
    /// The trades from `forgotten` up to `next`.
    outbox: OrdMap<TradeSequence, Arc<Trade>>,
    /// The caches that may hold a lease, granted in whatever reign, and whose they are.
    caches: OrdMap<CacheId, ServiceName>,
    /// How often an item was added, edited or restocked.
    edits: u64,
    /// What came of the last edits that were asked for.
    last_edits: LastEdits,
    /// The items by name, without those that were removed.
    #[serde(skip)]
    numbers: OrdMap<ItemName, ItemNumber>,
    /// The outbox by request id.
    #[serde(skip)]
    requests: OrdMap<RequestId, TradeSequence>,
}

impl State {
    /// Applies `command`. Adds the items that it changes to `touched`.
    pub(crate) fn apply(&mut self, command: Command, touched: &mut Vec<Invalidation>) -> Answer {
        match command {
            Command::Open { term, shops } => {
                let former = std::mem::replace(&mut self.reign, term);
                for shop in shops {
                    self.open(shop, touched);
                }
                Answer::Opened { former }
            }
            Command::Fence { term, recorded } => Answer::Fenced(self.fence(term, recorded)),
            Command::Decide(batch) => Answer::Decided(self.decide(batch, touched)),
            Command::Register { cache, holder } => Answer::Registered(self.register(cache, holder)),
            Command::Forget { term, caches } => {
                if term == self.reign {
                    caches.iter().for_each(|cache| {
                        self.caches.remove(cache);
                    });
                }
                Answer::Forgotten
            }
            Command::Edit { request, edit } => Answer::Edited(self.edit(request, edit, touched)),
            Command::Replenish { items } => {
                self.replenish(items, touched);
                Answer::Replenished
            }
        }
    }

    fn open(&mut self, shop: Shop, touched: &mut Vec<Invalidation>) {
        let Shop {
            name,
            policy,
            items,
        } = shop;
        for item in items {
            if !self.knows(&item) {
                let stock = Stock::opened(&name, item);
                touched.push(stock.invalidation());
                self.numbers
                    .insert(stock.item.name.clone(), stock.item.number);
                self.items.insert(stock.item.number, Arc::new(stock));
                self.edits += 1;
            }
        }
        self.shops.entry(name).or_insert_with(|| Arc::new(policy));
    }

    /// Whether the item's number is, or was, another's, or its name is taken.
    fn knows(&self, item: &ShopItem) -> bool {
        self.items.contains_key(&item.number) || self.numbers.contains_key(&item.name)
    }

    /// What of `shops` is not open yet.
    pub(crate) fn missing(&self, shops: &[Shop]) -> Vec<Shop> {
        let unknown = |shop: &Shop| Shop {
            items: shop
                .items
                .iter()
                .filter(|item| !self.knows(item))
                .cloned()
                .collect(),
            ..shop.clone()
        };
        let is_news = |shop: &Shop| !shop.items.is_empty() || !self.shops.contains_key(&shop.name);
        shops.iter().map(unknown).filter(is_news).collect()
    }

    /// The items of `shops` that cannot be opened, because another item has their number or name.
    pub(crate) fn conflicts<'a>(&self, shops: &'a [Shop]) -> Vec<&'a ShopItem> {
        let conflicts = |shop: &'a Shop| {
            let items = shop.items.iter().filter(|item| self.knows(item));
            items.filter(|item| match self.items.get(&item.number) {
                // It may have been renamed or removed since it was opened.
                Some(stock) if stock.edits > 0 => stock.shop != shop.name,
                Some(stock) => stock.item.name != item.name,
                None => true,
            })
        };
        shops.iter().flat_map(conflicts).collect()
    }

    fn fence(&mut self, term: Term, recorded: TradeSequence) -> Result<Fence, CatalogError> {
        if term < self.fence.term {
            return Err(CatalogError::Fenced { by: self.fence });
        }
        if (self.forgotten..=self.next).contains(&recorded) {
            self.fence = FencingToken {
                term,
                epoch: self.fence.epoch + 1,
            };
        }
        Ok(Fence {
            token: self.fence,
            forgotten: self.forgotten,
            next: self.next,
        })
    }

    /// Whether `token` is the one in force.
    fn check(&self, token: FencingToken) -> Result<(), CatalogError> {
        if token < self.fence && !planted(Bug::NoFencing) {
            Err(CatalogError::Fenced { by: self.fence })
        } else if token > self.fence {
            Err(CatalogError::Invalid(format!(
                "token {token} was never issued"
            )))
        } else {
            Ok(())
        }
    }

    fn decide(
        &mut self,
        batch: TradeBatch,
        touched: &mut Vec<Invalidation>,
    ) -> Result<Vec<Decision>, CatalogError> {
        self.check(batch.token)?;
        if batch.recorded > self.next {
            return Err(CatalogError::Invalid(format!(
                "trades up to {} are said to be recorded, and {} is the next to be made",
                batch.recorded, self.next
            )));
        }
        if let Some(amendment) = batch.trades.iter().find_map(unsound) {
            return Err(CatalogError::Invalid(format!(
                "an amendment trades other than its difference: {amendment:?}"
            )));
        }
        self.forget(if planted(Bug::OutboxForgottenTooEarly) {
            self.next
        } else {
            batch.recorded
        });
        if self.outbox.len() + batch.trades.len() > MAX_OUTBOX {
            return Err(CatalogError::Busy);
        }
        Ok(batch
            .trades
            .into_iter()
            .map(|request| self.trade(request, touched))
            .collect())
    }

    /// Drops the trades before `recorded` from the outbox.
    fn forget(&mut self, recorded: TradeSequence) {
        while self.forgotten < recorded {
            if let Some(trade) = self.outbox.remove(&self.forgotten) {
                self.requests.remove(&trade.request.request);
            }
            self.forgotten = self.forgotten.next();
        }
    }

    fn trade(&mut self, request: TradeRequest, touched: &mut Vec<Invalidation>) -> Decision {
        let earlier = self.requests.get(&request.request);
        if let Some(made) = earlier.and_then(|sequence| self.outbox.get(sequence)) {
            return Ok(Trade::clone(made));
        }
        let number = self.number(&request.item).ok_or(Refusal::UnknownItem)?;
        // What was bought of an item that is removed since can be given back.
        let stock = if request
            .amends
            .is_some_and(|amendment| amendment.to < amendment.from)
        {
            self.items.get(&number).map(AsRef::as_ref)
        } else {
            self.on_sale(number)
        };
        let stock = stock.ok_or(Refusal::UnknownItem)?;
        let policy = self.shops.get(&stock.shop).ok_or(Refusal::UnknownItem)?;
        policy.check(&request)?;
        let stock = stock.traded(request.side, request.quantity)?;
        touched.push(stock.invalidation());
        let trade = Trade {
            sequence: self.next,
            item: number,
            name: stock.item.name.clone(),
            shop: stock.shop.clone(),
            price: (request.amends).map_or(stock.item.price, |amendment| amendment.price),
            version: stock.version,
            request,
        };
        self.items.insert(number, Arc::new(stock));
        self.next = self.next.next();
        self.requests.insert(trade.request.request, trade.sequence);
        self.outbox.insert(trade.sequence, Arc::new(trade.clone()));
        Ok(trade)
    }

    fn register(&mut self, cache: CacheId, holder: ServiceName) -> Result<(), CatalogError> {
        if self.caches.len() >= MAX_CACHES && !self.caches.contains_key(&cache) {
            return Err(CatalogError::Busy);
        }
        self.caches.insert(cache, holder);
        Ok(())
    }

    /// The caches that may hold a lease.
    pub(crate) fn caches(&self) -> impl Iterator<Item = CacheId> {
        self.caches.keys().copied()
    }

    fn number(&self, key: &ItemKey) -> Option<ItemNumber> {
        match key {
            ItemKey::Number(number) => Some(*number),
            ItemKey::Name(name) => self.numbers.get(name).copied(),
        }
    }

    /// The item of that number, unless it was removed.
    fn on_sale(&self, number: ItemNumber) -> Option<&Stock> {
        let stock = self.items.get(&number)?;
        (!stock.removed).then_some(stock)
    }

    /// The outbox's bounds: the first trade in it, and the one after the last.
    #[cfg(feature = "simulation")]
    pub(crate) fn outbox_bounds(&self) -> std::ops::Range<TradeSequence> {
        self.forgotten..self.next
    }

    /// The catalog group's term in which the last command was proposed.
    pub(crate) fn reign(&self) -> Term {
        self.reign
    }

    /// Whether an order leader has ever found that this catalog and its log belong together. Until
    /// then this may be a catalog that has lost its disk, and shows stock that was sold long ago.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.fence != FencingToken::default()
    }

    /// The item of that key.
    pub(crate) fn lookup(&self, key: &ItemKey) -> Option<Item> {
        self.on_sale(self.number(key)?).map(Stock::item)
    }

    /// Every item with its stock, by number, removed ones included.
    pub(crate) fn stocks(&self) -> impl Iterator<Item = &Stock> {
        self.items.values().map(AsRef::as_ref)
    }

    /// The trades that were not reported as recorded, in sequence.
    pub(crate) fn unrecorded(&self) -> impl Iterator<Item = &Trade> {
        self.outbox.values().map(AsRef::as_ref)
    }

    /// How often an item was added, edited or restocked.
    pub(crate) fn edits(&self) -> u64 {
        self.edits
    }

    /// The sequence number of the next trade.
    pub(crate) fn next_sequence(&self) -> TradeSequence {
        self.next
    }

    /// One page of items, by number.
    pub(crate) fn list(&self, query: &ListQuery) -> Vec<Item> {
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(query.limit)
            .unwrap_or(MAX_PAGE)
            .min(MAX_PAGE);
        self.items
            .range((start, Bound::Unbounded))
            .map(|(_, stock)| stock)
            .filter(|stock| !stock.removed)
            .filter(|stock| query.shop.as_ref().is_none_or(|shop| *shop == stock.shop))
            .filter(|stock| query.category.is_none() || query.category == stock.item.category)
            .take(limit)
            .map(|stock| stock.item())
            .collect()
    }

    /// One page of the trades from `from` on that were not reported as recorded.
    pub(crate) fn outbox(
        &self,
        token: FencingToken,
        from: TradeSequence,
    ) -> Result<Vec<Trade>, CatalogError> {
        self.check(token)?;
        let trades = self.outbox.range(from..);
        Ok(trades
            .take(MAX_BATCH)
            .map(|(_, trade)| Trade::clone(trade))
            .collect())
    }
}

/// The amendment of `request`, where that does not trade its difference.
fn unsound(request: &TradeRequest) -> Option<Amendment> {
    let amendment = request.amends?;
    let difference = amendment.difference();
    (difference != request.quantity || difference == Quantity::default()).then_some(amendment)
}

/// A state as it is read back, before it is known to be whole.
#[derive(Deserialize)]
struct Unchecked {
    reign: Term,
    fence: FencingToken,
    forgotten: TradeSequence,
    next: TradeSequence,
    shops: OrdMap<ShopName, Arc<Policy>>,
    items: OrdMap<ItemNumber, Arc<Stock>>,
    outbox: OrdMap<TradeSequence, Arc<Trade>>,
    caches: OrdMap<CacheId, ServiceName>,
    edits: u64,
    last_edits: LastEdits,
}

/// A state that no commands lead to.
#[derive(Debug, thiserror::Error)]
enum InvalidState {
    #[error("the stock of item {0} does not add up")]
    Stock(ItemNumber),
    #[error("item {0} is filed under another number, shares its name or is of no shop")]
    Item(ItemNumber),
    #[error("the outbox does not hold the trades from {forgotten} up to {next}")]
    Outbox {
        forgotten: TradeSequence,
        next: TradeSequence,
    },
}

impl TryFrom<Unchecked> for State {
    type Error = InvalidState;

    fn try_from(unchecked: Unchecked) -> Result<Self, InvalidState> {
        let Unchecked {
            reign,
            fence,
            forgotten,
            next,
            shops,
            items,
            outbox,
            caches,
            edits,
            last_edits,
        } = unchecked;
        let mut numbers = OrdMap::new();
        for (number, stock) in &items {
            if !stock.adds_up() {
                return Err(InvalidState::Stock(*number));
            }
            let has_own_name =
                stock.removed || numbers.insert(stock.item.name.clone(), *number).is_none();
            if !has_own_name || stock.item.number != *number || !shops.contains_key(&stock.shop) {
                return Err(InvalidState::Item(*number));
            }
        }
        let mut requests = OrdMap::new();
        let mut expected = forgotten;
        for (sequence, trade) in &outbox {
            let is_new = requests.insert(trade.request.request, *sequence).is_none();
            if !is_new || *sequence != expected || trade.sequence != expected {
                return Err(InvalidState::Outbox { forgotten, next });
            }
            expected = expected.next();
        }
        if expected != next {
            return Err(InvalidState::Outbox { forgotten, next });
        }
        Ok(Self {
            reign,
            fence,
            forgotten,
            next,
            shops,
            items,
            outbox,
            caches,
            edits,
            last_edits,
            numbers,
            requests,
        })
    }
}

mod edit;
mod last_edits;
pub(crate) mod restore;
#[cfg(test)]
mod tests;
