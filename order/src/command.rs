//! What is replicated: the trades that the catalog has made, a batch at a time.

use std::borrow::Cow;

use bazaar_rpc::Trade;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::{self, InvalidRecord};

/// A change of the order log. New variants go last: the encoding numbers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command<'a> {
    /// Record these trades, in this order.
    Record(Cow<'a, [Trade]>),
}

impl Command<'_> {
    /// The command as it stands in the replicated log, and in a chunk of a snapshot.
    pub(crate) fn encode(&self) -> Bytes {
        format::encode(self).into()
    }

    /// Reads a command.
    pub(crate) fn decode(record: &[u8]) -> Result<Self, InvalidRecord> {
        format::decode(record)
    }
}
