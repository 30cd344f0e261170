//! What a process that runs knows, to be looked at between two steps.

use bazaar_rpc::replica::ReplicaStatus;

/// A look inside a catalog replica.
pub use bazaar_catalog::Inspector as CatalogProbe;
/// A look inside an order replica.
pub use bazaar_order::Inspector as OrderProbe;

/// A look inside a process. Not to be kept across the process's end.
#[derive(Clone)]
pub enum Probe {
    /// A catalog replica.
    Catalog(CatalogProbe),
    /// An order replica.
    Order(OrderProbe),
    /// A process that holds nothing that could be checked.
    Other,
}

impl Probe {
    /// How far the replica is, where it is one.
    #[must_use]
    pub fn status(&self) -> Option<ReplicaStatus> {
        match self {
            Self::Catalog(catalog) => Some(catalog.status()),
            Self::Order(order) => Some(order.status()),
            Self::Other => None,
        }
    }
}
