//! Trades by the request that they are: however often one was sent, it is one.

use std::collections::HashMap;

use bazaar_rpc::{ItemName, OrderNumber, Quantity, RequestId, Side, Version};

use crate::{Answer, Call, Operation, Outcome};

/// A request to trade, with every operation that sent it.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: RequestId,
    /// In the order of their invocation.
    pub(crate) operations: Vec<&'a Operation>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) item: &'a ItemName,
    pub(crate) side: Side,
    pub(crate) quantity: Quantity,
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
        let mut places = HashMap::new();
        let mut requests: Vec<Self> = Vec::new();
        for operation in operations {
            let Some(id) = operation.request() else {
                continue;
            };
            let place = *places.entry(id).or_insert(requests.len());
            match requests.get_mut(place) {
                Some(request) => request.operations.push(operation),
                None => requests.push(Self {
                    id,
                    operations: vec![operation],
                }),
            }
        }
        for request in &mut requests {
            request
                .operations
                .sort_by_key(|operation| operation.invoked);
        }
        requests.sort_by_key(|request| request.operations[0].invoked);
        requests
    }

    pub(crate) fn asked(&self) -> Asked<'a> {
        match &self.operations[0].call {
            Call::Trade {
                item,
                side,
                quantity,
                ..
            } => Asked {
                item,
                side: *side,
                quantity: *quantity,
            },
            Call::Lookup { .. } | Call::Query { .. } => {
                unreachable!("only trades have a request id")
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
                answer: Answer::Traded {
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
        let not_refused =
            |operation: &&&Operation| !matches!(operation.outcome, Outcome::Refused { .. });
        let first = self.operations.iter().find(not_refused);
        first.map(|operation| operation.invoked)
    }
}
