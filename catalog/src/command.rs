//! What is replicated: the commands that change the catalog, and the answers to them.

use std::io;

use bazaar_rpc::catalog::{CatalogError, Decision, Fence, TradeBatch};
use bazaar_rpc::edit::{Edit, EditOutcome};
use bazaar_rpc::{CacheId, ItemNumber, RequestId, ServiceName, Term, TradeSequence};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::leases::Ticket;
use crate::shop::Shop;

/// The version of the encoding of commands, the first byte of each. They are kept in the log, so a
/// command of another version may be found there after an upgrade.
const FORMAT: u8 = 3;

/// The most items that one command opens, which bounds its size.
const MAX_OPENED: usize = 1000;

/// A change of the catalog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The first command of every reign: a replica was elected in `term` and opens its shops.
    Open {
        /// The catalog group's term.
        term: Term,
        /// What is not known yet of them is added; nothing is changed of what is.
        shops: Vec<Shop>,
    },
    /// Makes the leader that the order group elected in `term` the only one whose trades are
    /// decided.
    Fence {
        /// The order group's term.
        term: Term,
        /// The first trade that its log has not. A log that this catalog does not belong to fences
        /// nothing.
        recorded: TradeSequence,
    },
    /// Decides trades.
    Decide(TradeBatch),
    /// A cache is about to be granted its first lease.
    Register {
        /// The cache.
        cache: CacheId,
        /// Whose it is.
        holder: ServiceName,
    },
    /// Caches hold no lease any more. Without effect in a later reign, which may have granted them
    /// others.
    Forget {
        /// The catalog group's term of the reign that says so.
        term: Term,
        /// The caches.
        caches: Vec<CacheId>,
    },
    /// Makes an edit.
    Edit {
        /// The request that asks for it.
        request: RequestId,
        /// The edit.
        edit: Edit,
    },
    /// Restocks those of the items that their shops' policies say are low.
    Replenish {
        /// The items that were low when this was proposed.
        items: Vec<ItemNumber>,
    },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The shops are open.
    Opened {
        /// The term of the reign before, or of this one where it was on record already.
        former: Term,
    },
    /// What the fence found.
    Fenced(Result<Fence, CatalogError>),
    /// The outcome of each trade, in the batch's order.
    Decided(Result<Vec<Decision>, CatalogError>),
    /// Whether the cache is known from now on.
    Registered(Result<(), CatalogError>),
    /// The caches are not known any more.
    Forgotten,
    /// The outcome of the edit.
    Edited(Result<EditOutcome, CatalogError>),
    /// No item is low any more.
    Replenished,
}

/// An answer, with the moment from which it may be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// What the answer shows is settled once this ticket is, on the replica that applied it.
    pub(crate) ticket: Ticket,
    /// The answer.
    pub(crate) answer: Answer,
}

impl Command {
    /// The command with which a reign begins.
    pub(crate) fn begin(term: Term) -> Self {
        let shops = Vec::new();
        Self::Open { term, shops }
    }

    /// The commands that open `shops`, as many as that needs.
    pub(crate) fn open(term: Term, shops: Vec<Shop>) -> Vec<Self> {
        let mut commands = Vec::new();
        for Shop {
            name,
            policy,
            mut items,
        } in shops
        {
            // A shop without items is opened too.
            loop {
                let rest = items.split_off(items.len().min(MAX_OPENED));
                let shop = Shop {
                    name: name.clone(),
                    policy: policy.clone(),
                    items,
                };
                commands.push(Self::Open {
                    term,
                    shops: vec![shop],
                });
                if rest.is_empty() {
                    break;
                }
                items = rest;
            }
        }
        commands
    }

    /// The command as it is kept in the log.
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![FORMAT])
            .expect("a command is plain data, and a vector grows")
            .into()
    }

    /// Reads a command from the log.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        match bytes.split_first() {
            Some((&FORMAT, command)) => decode(command),
            Some((other, _)) => Err(invalid(format!("a command in the log has format {other}"))),
            None => Err(invalid("a command in the log is empty")),
        }
    }
}

impl Applied {
    /// The answer as it goes back to the proposer, in the same process.
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("an answer is plain data, and a vector grows")
            .into()
    }

    /// Reads the answer to a proposal.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        decode(bytes)
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(invalid)
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{ItemName, ItemNumber};

    use super::*;
    use crate::shop;

    #[test]
    fn a_command_of_an_unknown_format_is_not_guessed_at() {
        let fence = Command::Fence {
            term: Term(7),
            recorded: TradeSequence(3),
        };
        let command = fence.encode();
        assert!(matches!(
            Command::decode(&command),
            Ok(Command::Fence {
                term: Term(7),
                recorded: TradeSequence(3),
            })
        ));
        let mut other = command.to_vec();
        other[0] = FORMAT + 1;
        let error = Command::decode(&other).unwrap_err().to_string();
        assert_eq!(error, "a command in the log has format 4");
        assert!(Command::decode(&command[..1]).is_err());
        assert!(Command::decode(&[]).is_err());
    }

    #[test]
    fn a_shop_is_opened_however_little_it_sells() {
        assert_eq!(Command::open(Term(1), Vec::new()).len(), 0);
        let mut shops = shop::load(&[]).unwrap();
        shops[0].items.clear();
        assert_eq!(Command::open(Term(1), shops).len(), 3);
    }

    #[test]
    fn a_large_shop_is_opened_in_pieces() {
        let mut shop = shop::load(&[]).unwrap().remove(0);
        let first = shop.items.remove(0);
        let item = |number: u64| shop::ShopItem {
            number: ItemNumber(number),
            name: ItemName::new(&number.to_string()).unwrap(),
            ..first.clone()
        };
        shop.items = (0..2 * MAX_OPENED as u64 + 1).map(item).collect();
        let mut opened = Vec::new();
        for command in Command::open(Term(1), vec![shop.clone()]) {
            let Command::Open { shops, .. } = command else {
                unreachable!()
            };
            for piece in shops {
                assert!(piece.items.len() <= MAX_OPENED);
                assert_eq!((&piece.name, &piece.policy), (&shop.name, &shop.policy));
                opened.extend(piece.items);
            }
        }
        assert_eq!(opened, shop.items);
    }
}
