//! What Bazaar's processes agree on: the tarpc contracts between services, the types those
//! contracts carry, the codec and the transport they travel by, and the directory that turns a
//! service's name into a connection.
//!
//! Nothing here decides anything. A contract says what a call promises; the service that serves it
//! keeps the promise. Types are parsed at the edge and trusted afterwards: a [`Quantity`] is within
//! its bounds wherever it appears, and so is every other newtype with a fallible constructor.
//!
//! Encoding rules for everything that is sent: no `flatten`, no `untagged`, no
//! `skip_serializing_if`, and new enum variants go last, because the wire format is not
//! self-describing (see [`codec`]).

pub mod accounts;
mod amendment;
pub mod cache;
pub mod catalog;
pub mod codec;
pub mod connect;
pub mod edit;
pub mod http;
mod ids;
mod item;
mod money;
pub mod naming;
pub mod net;
pub mod orders;
pub mod replica;
#[cfg(feature = "schema")]
mod schema;
mod trade;

pub use amendment::{
    AmendRequest, Amendment, Change, MAX_UPDATES, OrderState, OrderStatus, Requester,
};
pub use ids::{
    CacheId, FencingToken, InvalidName, InvocationId, ItemNumber, LeaseId, OrderNumber, RequestId,
    ServiceKind, ServiceName, Term, Timestamp, TradeSequence, UserId, Version,
};
pub use item::{InvalidQuantity, Item, ItemKey, ItemName, Quantity, ShopName, Text};
pub use money::{InvalidMoney, Money, Sum};
pub use trade::{Order, Refusal, Side, Trade, TradeRequest};
