//! The item cache: what makes a lookup cost no call to another process, and never costs it the truth.
//!
//! **The promise.** A lookup that starts after a trade was acknowledged never shows the item as it was
//! before that trade, and of two lookups of one item, one after the other, the second never shows an
//! older version, on whatever frontends they are made.
//!
//! **How it is kept.** The catalog grants this frontend a *lease*, and acknowledges no trade before
//! every live lease's holder has acknowledged an invalidation of the item, or its lease has run out.
//! So whatever the cache holds under a lease that is live *now* is as new as every trade acknowledged
//! until now. Three rules follow:
//!
//! 1. What is cached is tagged with the lease under which its fetch *began*, and is served only while
//!    that very lease is live, by a clock that is read after the cache was.
//! 2. A fetch answers those who waited for it when an invalidation overtakes it, for they asked before
//!    the trade was acknowledged. Those who ask later start another. What an overtaken fetch brings
//!    back is cached only if it is no older than the version that the invalidation named, its *floor*.
//! 3. A lookup joins a fetch only if that began under the lease that is live now, and nothing has
//!    overtaken it. Without a live lease lookups share nothing.
//!
//! The cache keeps at most `capacity` items and evicts by second chance (the CLOCK algorithm; Corbató,
//! *A Paging Experiment with the Multics System*, 1968). It is synchronous, is handed the clock, and
//! performs no I/O: whoever leads a fetch performs it and reports back.

#[cfg(test)]
mod model;
mod ring;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use slot::Fetch;
pub(crate) use store::{Cache, Counts, Lease, Lookup};
