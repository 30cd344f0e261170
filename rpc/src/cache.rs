//! The contract of a frontend's cache: the catalog pushes invalidations to it.

use serde::{Deserialize, Serialize};

use crate::{ItemName, ItemNumber, LeaseId, Version};

/// Served by every frontend that holds, or asks for, a cache lease.
#[tarpc::service]
pub trait Invalidations {
    /// When it returns, no lookup that starts later on this frontend is answered with a version of
    /// these items older than the ones named, out of the cache or out of a fetch under way.
    async fn invalidate(lease: LeaseId, items: Vec<Invalidation>);
}

/// One item has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// The item's number.
    pub number: ItemNumber,
    /// The item's name.
    pub name: ItemName,
    /// The version that it has now; older ones are obsolete.
    pub version: Version,
}
