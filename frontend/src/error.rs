//! Everything that a client can be told instead of what it asked for.

use std::time::Duration;

use bazaar_daemon::GroupError;
use bazaar_daemon::planted::{Bug, planted};
use bazaar_rpc::accounts::AccountsError;
use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::edit::EditRefusal;
use bazaar_rpc::orders::{OrderError, Unchangeable};
use bazaar_rpc::{OrderNumber, Refusal, ServiceKind};

use crate::auth::AuthError;

/// Why a request was not done. Nothing has changed, except where the variant says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The request is not as the interface says. The text names the field and what it should be.
    #[error("{0}")]
    Malformed(String),
    /// The body is in another format than JSON.
    #[error("the content type {0:?} is not application/json")]
    NotJson(String),
    /// What was sent to a gRPC method is no gRPC.
    #[error("a gRPC method takes HTTP/2 and the content type application/grpc")]
    NotGrpc,
    /// The body is larger than a body may be.
    #[error("a body has at most {max} bytes")]
    BodyTooLarge {
        /// The most bytes.
        max: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", .limit.as_secs())]
    BodyTooSlow {
        /// The time it has.
        limit: Duration,
    },
    /// There is nothing under that path.
    #[error("nothing is served under {0}")]
    UnknownPath(String),
    /// The path is served, but not with that method.
    #[error("{method} is not among the methods that {path} is served with")]
    UnknownMethod {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
    },
    /// No shop has that item.
    #[error("no shop has an item {0:?}")]
    UnknownItem(String),
    /// There is no such order.
    #[error("there is no order number {0}")]
    UnknownOrder(OrderNumber),
    /// The order cannot be changed as was asked.
    #[error(transparent)]
    Unchangeable(Unchangeable),
    /// No unit of the item is in stock.
    #[error("the item is out of stock")]
    OutOfStock,
    /// The catalog refused the trade.
    #[error(transparent)]
    Refused(Refusal),
    /// The catalog refused the edit.
    #[error(transparent)]
    EditRefused(EditRefusal),
    /// The item has another version than those that the client would have it have.
    #[error("If-Match: {0:?} is not an entity tag of this item")]
    NoMatch(String),
    /// Orders without a number are one's own, which takes an account.
    #[error(
        "a list of orders is a list of one's own, and requires an account; ?numbers=0,3,7 does not"
    )]
    AccountRequired,
    /// The request comes from nobody who is known.
    #[error(transparent)]
    Unauthenticated(#[from] AuthError),
    /// The accounts service refused, or failed.
    #[error(transparent)]
    Accounts(AccountsError),
    /// There is no connection to the service: it was not asked.
    #[error("the {0} service cannot be reached at the moment")]
    Unreachable(ServiceKind),
    /// The idempotency key belongs to a request that asked for something else.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The client's address has asked too often.
    #[error("too many requests from one address; the next one is allowed in {retry_after} s")]
    TooManyRequests {
        /// How long to wait, in seconds.
        retry_after: u64,
    },
    /// Too much is waiting.
    #[error("too many requests are waiting")]
    Busy,
    /// This frontend cannot serve trades and lookups yet.
    #[error("not ready: there is no {missing} yet")]
    NotReady {
        /// What it waits for.
        missing: String,
    },
    /// Nobody leads the group that would have to answer.
    #[error("the {0} service has no leader at the moment")]
    NoLeader(ServiceKind),
    /// A question had no answer in time.
    #[error("the {0} service did not answer in time")]
    NoAnswer(ServiceKind),
    /// A trade had no answer in time: it may have been made.
    #[error(
        "the order may or may not have been made; a request that carries an Idempotency-Key can be \
         repeated under that key, and is answered with what became of it"
    )]
    OutcomeUnknown,
    /// An edit had no answer in time: it may have been made.
    #[error(
        "the change may or may not have been made; a request that carries an Idempotency-Key can be \
         repeated under that key, and is answered with what became of it"
    )]
    EditInDoubt,
    /// The order log and the catalog disagree, and nothing is traded until that is mended.
    #[error("the order log and the catalog disagree: {0}")]
    Inconsistent(String),
    /// This frontend and another service disagree about their contract.
    #[error("unexpected answer from the {service} service: {reason}")]
    Contract {
        /// Who answered.
        service: ServiceKind,
        /// What was unexpected.
        reason: String,
    },
}

impl Error {
    /// What a question to the catalog came to.
    #[must_use]
    pub(crate) fn of_lookup(error: GroupError<CatalogError>) -> Self {
        let service = ServiceKind::Catalog;
        match error {
            GroupError::NoLeader => Self::NoLeader(service),
            GroupError::NoAnswer => Self::NoAnswer(service),
            GroupError::Answer(answer) => match answer {
                CatalogError::Busy => Self::Busy,
                CatalogError::NotLeader { .. } | CatalogError::Starting => Self::NoLeader(service),
                CatalogError::Unknown => Self::NoAnswer(service),
                CatalogError::Fenced { .. } | CatalogError::Invalid(_) => Self::Contract {
                    service,
                    reason: answer.to_string(),
                },
            },
        }
    }

    /// What an edit came to. It is `in_doubt` where an attempt at it was sent and may have made it.
    #[must_use]
    pub(crate) fn of_edit(error: GroupError<CatalogError>, in_doubt: bool) -> Self {
        match error {
            _ if in_doubt => Self::EditInDoubt,
            GroupError::Answer(CatalogError::Unknown) => Self::EditInDoubt,
            // Every attempt that was sent is known to have changed nothing.
            GroupError::NoAnswer => Self::NoLeader(ServiceKind::Catalog),
            GroupError::NoLeader | GroupError::Answer(_) => Self::of_lookup(error),
        }
    }

    /// What a question to the order service came to.
    #[must_use]
    pub(crate) fn of_order_lookup(error: GroupError<OrderError>) -> Self {
        let service = ServiceKind::Order;
        match error {
            GroupError::NoLeader => Self::NoLeader(service),
            GroupError::NoAnswer => Self::NoAnswer(service),
            GroupError::Answer(answer) => match answer {
                OrderError::Busy => Self::Busy,
                OrderError::NotLeader { .. } => Self::NoLeader(service),
                OrderError::Unknown => Self::NoAnswer(service),
                OrderError::Inconsistent(reason) => Self::Inconsistent(reason),
                OrderError::UnknownOrder(number) => Self::UnknownOrder(number),
                OrderError::Refused(_)
                | OrderError::KeyReused
                | OrderError::Invalid(_)
                | OrderError::Unchangeable(_) => Self::Contract {
                    service,
                    reason: answer.to_string(),
                },
            },
        }
    }

    /// What a trade came to. It is `in_doubt` where an attempt at it was sent and may have made it:
    /// the last attempt's answer that nothing has changed does not speak of the ones before it.
    #[must_use]
    pub(crate) fn of_trade(error: GroupError<OrderError>, in_doubt: bool) -> Self {
        let service = ServiceKind::Order;
        let in_doubt = in_doubt && !planted(Bug::UnknownToldAsRefused);
        match (error, in_doubt) {
            // These speak of the request id, and so of every attempt.
            (GroupError::Answer(OrderError::Refused(refusal)), _) => Self::Refused(refusal),
            (GroupError::Answer(OrderError::KeyReused), _) => Self::KeyReused,
            (GroupError::Answer(OrderError::UnknownOrder(number)), _) => Self::UnknownOrder(number),
            (GroupError::Answer(OrderError::Unchangeable(reason)), _) => Self::Unchangeable(reason),
            (_, true) | (GroupError::Answer(OrderError::Unknown), false) => Self::OutcomeUnknown,
            (
                GroupError::NoLeader
                | GroupError::NoAnswer
                | GroupError::Answer(OrderError::NotLeader { .. }),
                false,
            ) => Self::NoLeader(service),
            (GroupError::Answer(OrderError::Busy), false) => Self::Busy,
            (GroupError::Answer(OrderError::Inconsistent(reason)), false) => {
                Self::Inconsistent(reason)
            }
            (GroupError::Answer(OrderError::Invalid(reason)), false) => {
                Self::Contract { service, reason }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_never_reported_as_nothing_changed() {
        let busy = || GroupError::Answer(OrderError::Busy);
        assert_eq!(Error::of_trade(busy(), false), Error::Busy);
        assert_eq!(Error::of_trade(busy(), true), Error::OutcomeUnknown);
        assert_eq!(
            Error::of_trade(GroupError::NoAnswer, true),
            Error::OutcomeUnknown
        );
        let unknown = GroupError::Answer(OrderError::Unknown);
        assert_eq!(Error::of_trade(unknown, true), Error::OutcomeUnknown);
    }

    #[test]
    fn an_edit_in_doubt_is_never_reported_as_not_made() {
        let busy = || GroupError::Answer(CatalogError::Busy);
        assert_eq!(Error::of_edit(busy(), false), Error::Busy);
        assert_eq!(Error::of_edit(busy(), true), Error::EditInDoubt);
        let unknown = || GroupError::Answer(CatalogError::Unknown);
        assert_eq!(Error::of_edit(unknown(), false), Error::EditInDoubt);
        let no_leader = Error::NoLeader(ServiceKind::Catalog);
        for error in [GroupError::NoAnswer, GroupError::NoLeader] {
            assert_eq!(Error::of_edit(error.clone(), false), no_leader);
            assert_eq!(Error::of_edit(error, true), Error::EditInDoubt);
        }
    }

    #[test]
    fn a_refusal_settles_the_doubt_about_earlier_attempts() {
        let refused = GroupError::Answer(OrderError::Refused(Refusal::UnknownItem));
        assert_eq!(
            Error::of_trade(refused, true),
            Error::Refused(Refusal::UnknownItem)
        );
    }
}
