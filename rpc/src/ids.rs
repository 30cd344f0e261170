//! Identifiers: of processes, requests, orders, items and leases.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Declares newtypes over `u64` that count or number something.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

numbers! {
    /// A Raft term: the fencing part of every write that an order leader sends to the catalog.
    Term;
    /// The number of an item, unique over all shops. Shops call it the item number.
    ItemNumber;
    /// Counts the changes of one item; every change of the item raises it by one.
    Version;
    /// The place of a trade in the catalog's order of decisions: consecutive, from 0.
    TradeSequence;
    /// A transaction number: consecutive, from 0, never reused. Assigned when an order is recorded.
    OrderNumber;
    /// A user, as the accounts service numbers them.
    UserId;
}

/// The token under which one order leader may have trades decided.
///
/// The catalog issues it when a leader fences: `epoch` rises with every fence, so that a leader
/// which restarts within its term is told apart from its former self, whose last batches may still
/// be under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FencingToken {
    /// The order group's Raft term in which the leader was elected.
    pub term: Term,
    /// Counts the fences that the catalog has accepted, over all terms.
    pub epoch: u64,
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.epoch)
    }
}

/// A cache lease, as the catalog's leader granted it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// The catalog group's Raft term of the leader that granted it.
    pub term: Term,
    /// Distinguishes the leases of one leader.
    pub serial: u64,
}

/// One incarnation of a frontend's cache: made anew whenever the frontend starts, so that what its
/// former self may still hold is never taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheId(Uuid);

impl CacheId {
    /// A new id, random (UUIDv4, RFC 9562).
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for CacheId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one request to trade, through every retry, frontend and leader: the key under which
/// exactly one order is booked, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id for a request whose client gave no idempotency key (UUIDv7, RFC 9562).
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the request that `user` sent under `key`: the same for the same two, and for no
    /// other two short of a collision of SHA-256 cut to 122 bits (UUIDv8, RFC 9562).
    #[must_use]
    pub fn from_key(user: Option<UserId>, key: &str) -> Self {
        let mut hash = Sha256::new();
        // The scope has a fixed width, so no key can imitate another user's scope.
        hash.update([u8::from(user.is_some())]);
        hash.update(user.unwrap_or_default().0.to_be_bytes());
        hash.update(key.as_bytes());
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(Uuid::new_v8(bytes))
    }

    /// The id as 16 bytes, for an index.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one arrival of a request at a frontend. It tells a client's repetition of a request
/// (another invocation) from the frontend's own retries (the same invocation), so that only the
/// former is marked as replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvocationId(u64);

impl InvocationId {
    /// A new id, random.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().as_u64_pair().0)
    }
}

/// A time of day in milliseconds since 1970-01-01 UTC. For people to read; nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time of day now; 1970-01-01 on a machine whose clock stands before that.
    #[must_use]
    pub fn now() -> Self {
        let since = bazaar_machine::clock::time_of_day()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The kinds of process that a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// Names to addresses.
    Nameserver,
    /// Stock state of every item.
    Catalog,
    /// The replicated order log.
    Order,
    /// The HTTP side.
    Frontend,
    /// The parent of the others, where `bazaar up` runs them.
    Supervisor,
    /// Users and their tokens.
    Accounts,
}

impl ServiceKind {
    /// The kind as it stands in a service's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nameserver => "nameserver",
            Self::Catalog => "catalog",
            Self::Order => "order",
            Self::Frontend => "frontend",
            Self::Supervisor => "supervisor",
            Self::Accounts => "accounts",
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of one process in the cluster, such as `order/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceName {
    /// What it is.
    pub kind: ServiceKind,
    /// Which one of its kind, from 1.
    pub id: u64,
}

impl ServiceName {
    /// Names the process `id` of `kind`.
    #[must_use]
    pub fn new(kind: ServiceKind, id: u64) -> Self {
        Self { kind, id }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.kind, self.id))
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(text.chars().take(80).collect());
        let (kind, id) = text.split_once('/').ok_or_else(invalid)?;
        let kind = [
            ServiceKind::Nameserver,
            ServiceKind::Catalog,
            ServiceKind::Order,
            ServiceKind::Frontend,
            ServiceKind::Supervisor,
            ServiceKind::Accounts,
        ]
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(invalid)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(invalid)?;
        Ok(Self { kind, id })
    }
}

/// A text that names no service.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a service name such as order/3 (kinds: nameserver, catalog, order, accounts, frontend)"
)]
pub struct InvalidName(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_of_a_key_are_scoped_by_user() {
        let anonymous = RequestId::from_key(None, "k");
        assert_eq!(anonymous, RequestId::from_key(None, "k"));
        assert_ne!(anonymous, RequestId::from_key(None, "l"));
        assert_ne!(anonymous, RequestId::from_key(Some(UserId(0)), "k"));
        assert_ne!(
            RequestId::from_key(Some(UserId(1)), "k"),
            RequestId::from_key(Some(UserId(2)), "k")
        );
    }

    #[test]
    fn service_names_round_trip_and_refuse_what_is_none() {
        let name: ServiceName = "order/3".parse().unwrap();
        assert_eq!(name, ServiceName::new(ServiceKind::Order, 3));
        assert_eq!(name.to_string(), "order/3");
        for bad in [
            "order", "order/", "order/0", "order/x", "orders/1", "/1", "",
        ] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }
}
