//! Restocks by the request that they are, as [`crate::requests`] has what is recorded in order logs.

use bazaar_rpc::{ItemName, ItemNumber, Quantity, RequestId, Version};

use crate::requests::{began, by_key};
use crate::{Answer, Call, Operation, Outcome};

/// A request to restock, with every operation that sent it.
#[derive(Debug)]
pub(crate) struct Restock<'a> {
    pub(crate) item: ItemNumber,
    pub(crate) units: Quantity,
    /// In the order of their invocation.
    pub(crate) operations: Vec<&'a Operation>,
}

/// An acknowledgement of a restock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restocked<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) at: u64,
    pub(crate) name: &'a ItemName,
    /// The units in stock right after it.
    pub(crate) quantity: Quantity,
    pub(crate) version: Version,
}

impl<'a> Restock<'a> {
    /// The restocks in `operations`, in the order in which they were first sent.
    pub(crate) fn all(operations: &'a [Operation]) -> Vec<Self> {
        let key = |operation: &Operation| match &operation.call {
            Call::Restock { key, user, .. } => Some(RequestId::from_key(Some(*user), key)),
            _ => None,
        };
        let restock = |operations: Vec<&'a Operation>| match operations[0].call {
            Call::Restock { item, units, .. } => Some(Self {
                item,
                units,
                operations,
            }),
            _ => None,
        };
        let sent = by_key(operations, key).into_iter();
        sent.filter_map(|(_, operations)| restock(operations))
            .collect()
    }

    /// What it was answered.
    pub(crate) fn acknowledgements(&self) -> impl Iterator<Item = Restocked<'a>> + '_ {
        self.operations.iter().filter_map(|operation| {
            let Outcome::Ok {
                at,
                answer:
                    Answer::Restocked {
                        item,
                        quantity,
                        version,
                    },
                ..
            } = &operation.outcome
            else {
                return None;
            };
            Some(Restocked {
                operation,
                at: *at,
                name: item,
                quantity: *quantity,
                version: *version,
            })
        })
    }

    /// Its earliest acknowledgement.
    pub(crate) fn acknowledged(&self) -> Option<Restocked<'a>> {
        self.acknowledgements().min_by_key(|restocked| restocked.at)
    }

    /// When it may first have taken effect, as [`crate::requests::Request::began`].
    pub(crate) fn began(&self) -> Option<u64> {
        began(&self.operations)
    }
}
