//! The operator of a cluster, at a machine of their own: does what no process does for itself.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use bazaar_rpc::ServiceName;
use bazaar_rpc::connect::Directory;
use tokio::sync::Notify;

/// Has groups remove replicas whose disks are lost.
#[derive(Default)]
pub(crate) struct Operator {
    /// The replicas to be removed, each with the others of its group.
    asked: RefCell<VecDeque<(ServiceName, Vec<ServiceName>)>>,
    wanted: Notify,
    removed: RefCell<BTreeSet<ServiceName>>,
}

impl Operator {
    /// Has the group of `name` and `others` remove it, soon.
    pub(crate) fn remove(&self, name: ServiceName, others: Vec<ServiceName>) {
        self.asked.borrow_mut().push_back((name, others));
        self.wanted.notify_one();
    }

    /// Whether that is done; says so once.
    pub(crate) fn has_removed(&self, name: ServiceName) -> bool {
        self.removed.borrow_mut().remove(&name)
    }

    /// Does what is asked, one after the other, over and over where there is no majority.
    pub(crate) async fn work(&self, directory: Directory) {
        loop {
            let asked = self.asked.borrow_mut().pop_front();
            let Some((name, others)) = asked else {
                self.wanted.notified().await;
                continue;
            };
            let removed = bazaar_replication::remove(&directory, name, &others).await;
            match removed {
                Ok(()) => {
                    self.removed.borrow_mut().insert(name);
                }
                Err(_) => self.asked.borrow_mut().push_back((name, others)),
            }
        }
    }
}
