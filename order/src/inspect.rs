//! A look inside an order replica that runs, for checks while it does.

use bazaar_replication::Group;
use bazaar_rpc::replica::ReplicaStatus;
use bazaar_rpc::{Order, OrderNumber, TradeSequence};

use crate::App;
use crate::error::StoreError;
use crate::store::Store;

/// Looks inside one replica.
#[derive(Clone)]
pub struct Inspector {
    group: Group,
    store: Store,
}

impl App {
    /// A look inside.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector {
            group: self.group.clone(),
            store: self.store.clone(),
        }
    }
}

impl Inspector {
    /// How far the replica is.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.group.status()
    }

    /// The number of the next order, and the first trade that is not recorded.
    #[must_use]
    pub fn head(&self) -> (OrderNumber, TradeSequence) {
        let head = self.store.head();
        (head.next_number, head.next_sequence)
    }

    /// The orders from `from` on, at most `limit`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn orders(&self, from: OrderNumber, limit: usize) -> Result<Vec<Order>, StoreError> {
        self.store.page(from, limit)
    }
}
