//! Restocking on a timer, as shops' policies say, while this replica leads.
//!
//! The timer only proposes: which items are low is decided where it is applied. A reign looks at its
//! beginning and then in every period, so that changes of leader put nothing off.

use std::sync::Arc;

use bazaar_replication::{Group, ProposeError};
use bazaar_rpc::ShopName;
use futures::future::try_join_all;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::command::Command;
use crate::machine::Replica;
use crate::reign::End;
use crate::shop::Period;

/// The most items that are restocked by one command.
const MAX_ITEMS: usize = 1000;

/// How many items are looked at in a row before others have their turn.
const LOOK: usize = 4096;

/// Restocks in one reign.
pub(crate) struct Restocker {
    pub(crate) group: Group,
    pub(crate) replica: Arc<Replica>,
}

impl Restocker {
    /// Restocks the shops that are open now and whose policies ask for it.
    pub(crate) async fn run(&self) -> Result<(), End> {
        let state = self.replica.state();
        let shops = state.restocking();
        try_join_all(shops.map(|(shop, restock)| self.keep(shop, restock.every))).await?;
        Ok(())
    }

    async fn keep(&self, shop: &ShopName, every: Period) -> Result<(), End> {
        let mut timer = interval(every.length());
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.restock(shop).await?;
        }
    }

    /// Has what is low in `shop` restocked.
    async fn restock(&self, shop: &ShopName) -> Result<(), End> {
        let state = self.replica.state();
        let mut low = Vec::new();
        for (looked_at, stock) in state.stocks().enumerate() {
            if looked_at % LOOK == LOOK - 1 {
                yield_now().await;
            }
            if stock.shop == *shop && state.is_low(stock) {
                low.push(stock.item.number);
            }
        }
        for items in low.chunks(MAX_ITEMS) {
            info!(%shop, items = items.len(), "restocking");
            let items = items.to_vec();
            let replenish = Command::Replenish { items }.encode();
            let mut receipts = self.group.propose(vec![replenish]).await?;
            // Nobody is told, so nothing need be settled.
            receipts
                .next()
                .await
                .unwrap_or(Err(ProposeError::Unknown))?;
        }
        Ok(())
    }
}
