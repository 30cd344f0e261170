//! The contract of the catalog: it decides trades, answers lookups and leases cached items.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::edit::{Edit, EditOutcome};
use crate::{
    CacheId, FencingToken, Item, ItemKey, ItemNumber, LeaseId, Refusal, RequestId, ServiceName,
    ShopName, Term, Text, Trade, TradeRequest, TradeSequence,
};

/// The most trades in one [`TradeBatch`], and in one page of the outbox.
pub const MAX_BATCH: usize = 1024;

/// The most items in one page of a list.
pub const MAX_PAGE: usize = 1000;

/// How many of the last edits are remembered with what came of them.
pub const REMEMBERED_EDITS: usize = 1024;

/// Served by every catalog process; all but the leader answer [`CatalogError::NotLeader`].
#[tarpc::service]
pub trait Catalog {
    /// Makes the caller, elected leader of the order group in `term`, the only one whose trades are
    /// decided from now on. Durable when it returns.
    ///
    /// `recorded` is the first trade that the caller's log has not. Where it is not within what the
    /// catalog remembers, the two do not belong together: then nothing changes, the fence shows the
    /// token that was in force before, and a catalog that was never fenced answers no lookups.
    async fn fence(term: Term, recorded: TradeSequence) -> Result<Fence, CatalogError>;

    /// Decides `batch` in order. The answer has one outcome for each trade, in the batch's order; a
    /// request id that is still in the outbox gets its first outcome again.
    ///
    /// What was made is durable, and no cache shows the items as they were before, when it returns.
    async fn decide(batch: TradeBatch) -> Result<Vec<Decision>, CatalogError>;

    /// The trades from `from` on that no order leader has reported as recorded, in sequence, at
    /// most [`MAX_BATCH`]; none when all were reported. No cache shows their items as they were
    /// before when it returns.
    async fn outbox(token: FencingToken, from: TradeSequence) -> Result<Vec<Trade>, CatalogError>;

    /// The item of that key as it is now, or none. Linearizable with respect to every acknowledged
    /// trade and every other lookup.
    async fn lookup(key: ItemKey) -> Result<Option<Item>, CatalogError>;

    /// One page of items by number. Linearizable as [`Catalog::lookup`] is, item by item.
    async fn list(query: ListQuery) -> Result<Vec<Item>, CatalogError>;

    /// Grants or renews the lease under which a frontend may serve items from its cache.
    ///
    /// The request is a promise too: see [`LeaseRequest::term`].
    async fn lease(request: LeaseRequest) -> Result<LeaseGrant, CatalogError>;

    /// Makes `edit`. What it made is durable, and no cache shows the item as it was before, when it
    /// returns.
    ///
    /// The same request id again gets the first outcome again, be it a refusal, and nothing changes:
    /// as long as that is among the last [`REMEMBERED_EDITS`].
    async fn edit(request: RequestId, edit: Edit) -> Result<EditOutcome, CatalogError>;
}

/// What a fence found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// To be shown with every batch. Older tokens are refused from now on.
    pub token: FencingToken,
    /// Trades before this one were reported as recorded and are forgotten.
    pub forgotten: TradeSequence,
    /// The sequence number that the next trade will get.
    pub next: TradeSequence,
}

/// Trades to be decided together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TradeBatch {
    /// What the caller's fence returned.
    pub token: FencingToken,
    /// Every trade before this one is recorded and may be forgotten.
    pub recorded: TradeSequence,
    /// At most [`MAX_BATCH`].
    pub trades: Vec<TradeRequest>,
}

/// The outcome of one trade.
pub type Decision = Result<Trade, Refusal>;

/// Which items to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Of this shop only.
    pub shop: Option<ShopName>,
    /// Of this category only.
    pub category: Option<Text<200>>,
    /// With higher numbers than this one only.
    pub after: Option<ItemNumber>,
    /// At most so many, and at most [`MAX_PAGE`].
    pub limit: u32,
}

/// A frontend asks to be allowed to serve from its cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// The cache for which the lease is.
    pub cache: CacheId,
    /// Whose cache that is.
    pub holder: ServiceName,
    /// Where it serves [`crate::cache::Invalidations`].
    pub address: SocketAddr,
    /// The term of the leader that is asked. Whoever sends this has given up every lease of an
    /// earlier term, and takes none any more, not even one that is on its way. So a new leader need
    /// not wait until those have run out.
    pub term: Term,
    /// The lease it holds and wants to renew.
    pub held: Option<LeaseId>,
}

/// A lease, from the moment the holder *sent* its request, for `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// The one asked for where it was renewed without a gap. Another one otherwise: what was cached
    /// under the old one must not be served.
    pub lease: LeaseId,
    /// How long it lasts, on each side's own monotonic clock.
    pub length: Duration,
}

/// Why the catalog did not do what was asked. Nothing was changed, except where the variant says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CatalogError {
    /// Another replica leads.
    #[error("not the catalog's leader")]
    NotLeader {
        /// Who does, as far as this one knows.
        leader: Option<ServiceName>,
    },
    /// Leads, but is not ready yet.
    #[error("the catalog's leader is starting")]
    Starting,
    /// A newer order leader has fenced.
    #[error("fenced: an order leader with token {by} has taken over")]
    Fenced {
        /// The token in force.
        by: FencingToken,
    },
    /// Too much is waiting, or too many trades are made and not yet recorded.
    #[error("the catalog is overloaded")]
    Busy,
    /// The batch is longer than [`MAX_BATCH`] or otherwise not as the contract says.
    #[error("invalid request to the catalog: {0}")]
    Invalid(String),
    /// Leadership was lost with the request under way: it may still take effect.
    #[error("leadership was lost; the outcome is unknown")]
    Unknown,
}

impl CatalogError {
    /// Whether the same request may succeed later or elsewhere.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotLeader { .. } | Self::Starting | Self::Busy | Self::Unknown => true,
            Self::Fenced { .. } | Self::Invalid(_) => false,
        }
    }
}
