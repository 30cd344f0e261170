//! Trades and amendments by the request that they are: however often one was sent, it is one.

use std::collections::HashMap;
use std::hash::Hash;

use bazaar_rpc::{ItemName, OrderNumber, Quantity, RequestId, Side, Version};

use crate::{Answer, Call, Operation, Outcome};

/// A request to trade or to amend, with every operation that sent it.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: RequestId,
    /// In the order of their invocation.
    pub(crate) operations: Vec<&'a Operation>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Trade {
        item: &'a ItemName,
        side: Side,
        quantity: Quantity,
    },
    Amend {
        order: OrderNumber,
        to: Quantity,
    },
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was acknowledged.
    Acknowledged(Acknowledgement),
    /// It was refused every time.
    Refused,
    /// It may have been made.
    Unknown,
}

/// The earliest acknowledgement of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) at: u64,
    pub(crate) number: OrderNumber,
    pub(crate) version: Option<Version>,
}

impl<'a> Request<'a> {
    /// The requests in `operations`, in the order in which they were first sent.
    pub(crate) fn all(operations: &'a [Operation]) -> Vec<Self> {
        let requests = by_key(operations, Operation::request).into_iter();
        requests
            .map(|(id, operations)| Self { id, operations })
            .collect()
    }

    pub(crate) fn asked(&self) -> Asked<'a> {
        match &self.operations[0].call {
            Call::Trade {
                item,
                side,
                quantity,
                ..
            } => Asked::Trade {
                item,
                side: *side,
                quantity: *quantity,
            },
            Call::Amend { order, to, .. } => Asked::Amend {
                order: *order,
                to: *to,
            },
            Call::Lookup { .. } | Call::Restock { .. } | Call::Query { .. } => {
                unreachable!("it is recorded in no log, and has no request id")
            }
        }
    }

    /// Its acknowledgements, with the operations that were told.
    pub(crate) fn acknowledgements(
        &self,
    ) -> impl Iterator<Item = (&'a Operation, Acknowledgement)> + '_ {
        self.operations.iter().filter_map(|operation| {
            let Outcome::Ok {
                at,
                answer:
                    Answer::Traded {
                        number, version, ..
                    }
                    | Answer::Amended {
                        number, version, ..
                    },
                ..
            } = operation.outcome
            else {
                return None;
            };
            Some((
                *operation,
                Acknowledgement {
                    at,
                    number,
                    version,
                },
            ))
        })
    }

    pub(crate) fn fate(&self) -> Fate {
        let earliest = self
            .acknowledgements()
            .map(|(_, acknowledgement)| acknowledgement)
            .min_by_key(|acknowledgement| acknowledgement.at);
        match earliest {
            Some(earliest) => Fate::Acknowledged(earliest),
            None if self.began().is_some() => Fate::Unknown,
            None => Fate::Refused,
        }
    }

    /// When it may first have taken effect: when it was first sent and not refused.
    pub(crate) fn began(&self) -> Option<u64> {
        began(&self.operations)
    }
}

/// The operations that have a key, by that: in the order in which each key was first sent, and of each
/// in the order of their invocation.
pub(crate) fn by_key<K: Copy + Eq + Hash>(
    operations: &[Operation],
    key: impl Fn(&Operation) -> Option<K>,
) -> Vec<(K, Vec<&Operation>)> {
    let mut places = HashMap::new();
    let mut sent: Vec<(K, Vec<&Operation>)> = Vec::new();
    for operation in operations {
        let Some(key) = key(operation) else { continue };
        let place = *places.entry(key).or_insert(sent.len());
        match sent.get_mut(place) {
            Some((_, same)) => same.push(operation),
            None => sent.push((key, vec![operation])),
        }
    }
    for (_, same) in &mut sent {
        same.sort_by_key(|operation| operation.invoked);
    }
    sent.sort_by_key(|(_, same)| same[0].invoked);
    sent
}

/// When one of these, which are in the order of their invocation, was first sent and not refused.
pub(crate) fn began(operations: &[&Operation]) -> Option<u64> {
    let refused = |operation: &Operation| matches!(operation.outcome, Outcome::Refused { .. });
    let mut sent = operations.iter().filter(|operation| !refused(operation));
    sent.next().map(|operation| operation.invoked)
}
