//! Histories, and the checkers that hold them against Bazaar's promises.
//!
//! A *history* is an NDJSON file. Its first line is a header (format, version, [`Kind`], [`Origin`]);
//! what the others are depends on the kind:
//!
//! | kind | written by | lines |
//! |---|---|---|
//! | `client` | whoever sends requests | [`ClientEvent`]: invocations and completions, with times |
//! | `orders` | an order replica, at the end | [`OrdersLine`]: its whole log |
//! | `stock` | a catalog replica, at the end | [`StockLine`]: every item's stock, and the outbox |
//! | `faults` | whoever injects them | [`FaultEvent`]: which was active when |
//! | `consensus` | whoever watches replicas | [`Observation`]: terms, leaders, digests |
//!
//! [`Writer`] writes them and [`Source`] reads them, both line by line. [`Evidence`] is all of a run's
//! histories in memory, read from files or put together by a simulation; [`suite::check`] runs every
//! checker of [`check`] that it permits.
//!
//! Times are numbers: of [`clock`] where processes are real, of a simulation's own clock otherwise.

pub mod check;
pub mod clock;
mod error;
mod evidence;
mod header;
pub mod http;
mod operation;
mod reader;
mod record;
mod requests;
mod restocks;
#[cfg(test)]
mod samples;
pub mod suite;
mod verdict;
mod writer;

pub use error::{Error, Problem};
pub use evidence::{Evidence, Fault, Faults, OrderLog, StockReport};
pub use header::{Kind, Origin};
pub use operation::{Operation, Operations, Outcome, Place};
pub use reader::{Records, Source};
pub use record::{
    AmendmentRecord, Answer, Call, ClientEvent, End, Event, FaultChange, FaultEvent, Observation,
    OrderRecord, OrdersLine, Reason, Record, ShownOrder, StockEnd, StockLine, StockRecord,
    TradeRecord,
};
pub use verdict::{Finding, Findings, MAX_FINDINGS, Verdict};
pub use writer::Writer;
