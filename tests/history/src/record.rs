//! The lines of each kind of history, behind its header.
//!
//! All are JSON objects that refuse unknown fields, so that a slip of whoever writes them by another
//! way than this crate is found where it is made.

use std::fmt;

use bazaar_rpc::http::StandingOrder;
use bazaar_rpc::{
    Amendment, ItemName, ItemNumber, Order, OrderNumber, Quantity, RequestId, ServiceName, Side,
    Term, Trade, TradeSequence, UserId, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// A line of one kind of history.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind.
    const KIND: Kind;
}

impl Record for ClientEvent {
    const KIND: Kind = Kind::Client;
}

impl Record for OrdersLine {
    const KIND: Kind = Kind::Orders;
}

impl Record for StockLine {
    const KIND: Kind = Kind::Stock;
}

impl Record for FaultEvent {
    const KIND: Kind = Kind::Faults;
}

impl Record for Observation {
    const KIND: Kind = Kind::Consensus;
}

/// Something that a client did or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEvent {
    /// When, in nanoseconds of the file's clock. An invocation's is read before its first byte
    /// leaves, a completion's after the last one of the answer has arrived.
    pub at: u64,
    /// Which session of the client; its times never go back.
    pub process: u64,
    /// Which operation; rises with every one that the process invokes.
    pub op: u64,
    /// What happened.
    pub event: Event,
}

/// What happens to an operation: it is invoked, and completed at most once, however many attempts
/// were made at it. One that is never completed may have taken effect, or may still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// It begins.
    Invoke {
        /// The frontend that is asked first.
        frontend: String,
        /// What it is asked for.
        call: Call,
    },
    /// It has been done.
    Ok {
        /// The frontend that answered.
        frontend: String,
        /// What it said.
        answer: Answer,
    },
    /// It has not been done, and will not be: no attempt at it may still take effect.
    Refused {
        /// The frontend that answered; none where nobody was reached.
        frontend: Option<String>,
        /// Why not.
        reason: Reason,
    },
    /// It may have been done, or may still be.
    Unknown {
        /// Why that is not known.
        reason: String,
    },
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// The stock of an item.
    Lookup {
        /// The item.
        item: ItemName,
    },
    /// A trade.
    Trade {
        /// The item.
        item: ItemName,
        /// Which way.
        side: Side,
        /// How many units.
        quantity: Quantity,
        /// The idempotency key.
        key: String,
        /// Whose order it is to be; none without an account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// A change of an order: an update, or a cancel.
    Amend {
        /// The order's number.
        order: OrderNumber,
        /// For how many units it is to be; zero to cancel it.
        to: Quantity,
        /// The idempotency key.
        key: String,
        /// Who asks for it.
        user: UserId,
    },
    /// More units of an item, which come from nowhere.
    Restock {
        /// The item's number.
        item: ItemNumber,
        /// How many units.
        units: Quantity,
        /// The idempotency key.
        key: String,
        /// The administrator who asks for it.
        user: UserId,
    },
    /// An order by its number.
    Query {
        /// The number.
        number: OrderNumber,
    },
}

/// What a client is told when what it asked for was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The stock of an item.
    Stock {
        /// The units in stock.
        quantity: Quantity,
        /// The item's version, where it was shown.
        version: Option<Version>,
    },
    /// A trade is made and recorded.
    Traded {
        /// The order's number.
        number: OrderNumber,
        /// The item's version right after it, where it was shown.
        version: Option<Version>,
        /// Whether this answer is marked as one that was given before.
        replayed: bool,
    },
    /// An order.
    Order(ShownOrder),
    /// An order is as it was to be, by this change or another one before it.
    Amended {
        /// The number of what left it so: of that change, or its own.
        number: OrderNumber,
        /// The item's version right after that, where it was shown.
        version: Option<Version>,
        /// Whether this answer is marked as one that was given before.
        replayed: bool,
        /// How that left it.
        order: ShownOrder,
    },
    /// An item is restocked.
    Restocked {
        /// The item.
        item: ItemName,
        /// The units in stock right after it.
        quantity: Quantity,
        /// The version that it made.
        version: Version,
    },
}

/// An order, as it was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownOrder {
    /// What it traded.
    pub item: ItemName,
    /// Which way.
    pub side: Side,
    /// For how many units it is by now.
    pub quantity: Quantity,
    /// The item's version right after it was made, where it was shown.
    pub version: Option<Version>,
    /// How many changes it has had by now.
    pub changes: u64,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// Fewer units were in stock than it takes.
    NotEnoughStock {
        /// How many there were, where that was said.
        available: Option<Quantity>,
    },
    /// There is no such item, or no such order.
    NotFound,
    /// The order cannot be changed any more.
    Unchangeable,
    /// Anything else.
    Other(String),
}

/// A line of an order replica's log. Orders come in the order of their numbers; the end is last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OrdersLine {
    /// An order.
    Order(OrderRecord),
    /// There are no more.
    End(End),
}

/// A line of a catalog replica's stock. The end is last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StockLine {
    /// An item.
    Item(StockRecord),
    /// A trade that is made and was not yet reported as recorded in the order log.
    Outbox(TradeRecord),
    /// There is no more.
    End(StockEnd),
}

/// The last line of what a replica holds. Without it, a file that was cut short between two lines
/// would pass for a replica that has lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The first trade that this replica has not applied.
    pub applied: TradeSequence,
}

/// The last line of what a catalog replica holds, as [`End`] is an order replica's. Trades and edits
/// come in one order for all replicas: what two hold that have applied equally many of each is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockEnd {
    /// The first trade that this replica has not applied.
    pub applied: TradeSequence,
    /// How many times it has added, edited or restocked an item.
    pub edits: u64,
}

/// A trade that the catalog has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TradeRecord {
    /// Its place among all trades.
    pub sequence: TradeSequence,
    /// The request that asked for it.
    pub request: RequestId,
    /// The item.
    pub item: ItemName,
    /// Its number, which it keeps when it is renamed.
    pub item_number: ItemNumber,
    /// Which way.
    pub side: Side,
    /// How many units.
    pub quantity: Quantity,
    /// The item's version right after it.
    pub version: Version,
    /// The order that it amends, and how; none where it is an order of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amends: Option<AmendmentRecord>,
}

/// What a compensating trade does to the order that it amends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmendmentRecord {
    /// The order's number.
    pub order: OrderNumber,
    /// For how many units it was.
    pub from: Quantity,
    /// For how many it is now; zero where it is cancelled.
    pub to: Quantity,
}

/// A recorded order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRecord {
    /// Its transaction number.
    pub number: OrderNumber,
    /// What it records.
    pub trade: TradeRecord,
}

/// The stock of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockRecord {
    /// The item's number.
    pub number: ItemNumber,
    /// Its name.
    pub item: ItemName,
    /// The units with which its shop opened, under [`StockRecord::FIRST`] version.
    pub initial: Quantity,
    /// The units in stock.
    pub quantity: Quantity,
    /// The units traded so far, bought and sold.
    pub volume: u64,
    /// The units that were added so far otherwise than by trades,
    pub restocked: u64,
    /// and taken away.
    pub written_off: u64,
    /// Rises by one with every change.
    pub version: Version,
    /// How many of the changes were no trades. They are in no order log.
    pub edits: u64,
    /// Whether the item was taken out of its shop.
    pub removed: bool,
}

impl StockRecord {
    /// The version under which an item is opened.
    pub const FIRST: Version = Version(1);
}

impl From<&StandingOrder> for ShownOrder {
    fn from(standing: &StandingOrder) -> Self {
        let StandingOrder { order, history } = standing;
        Self {
            item: order.name.clone(),
            side: order.side,
            quantity: order.quantity,
            version: Some(order.version),
            changes: history.len() as u64,
        }
    }
}

impl From<&Trade> for TradeRecord {
    fn from(trade: &Trade) -> Self {
        Self {
            sequence: trade.sequence,
            request: trade.request.request,
            item: trade.name.clone(),
            item_number: trade.item,
            side: trade.request.side,
            quantity: trade.request.quantity,
            version: trade.version,
            amends: trade.request.amends.as_ref().map(AmendmentRecord::from),
        }
    }
}

impl From<&Amendment> for AmendmentRecord {
    fn from(amendment: &Amendment) -> Self {
        let Amendment {
            order, from, to, ..
        } = *amendment;
        Self { order, from, to }
    }
}

impl From<&Order> for OrderRecord {
    fn from(order: &Order) -> Self {
        Self {
            number: order.number,
            trade: TradeRecord::from(&order.trade),
        }
    }
}

/// A fault begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEvent {
    /// When, in nanoseconds of the file's clock: before it begins, after it has ended.
    pub at: u64,
    /// Tells it from the others in this file.
    pub fault: u64,
    /// What happens.
    pub event: FaultChange,
}

/// What happens to a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultChange {
    /// It begins.
    Begin {
        /// What is done to whom, for people to read.
        what: String,
    },
    /// It is over: whatever was stopped, cut off or damaged is as it was.
    End {},
}

/// How a replica saw its group at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// When, in nanoseconds of the file's clock.
    pub at: u64,
    /// Whose view it is. Replicas of one kind are one group.
    pub replica: ServiceName,
    /// The term it was in.
    pub term: Term,
    /// Who led that term, as far as it knew.
    pub leader: Option<ServiceName>,
    /// The index of the last log entry that it had applied.
    pub applied: Option<u64>,
    /// A digest of its state at that index, where one was taken.
    pub digest: Option<String>,
}

impl fmt::Display for TradeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, quantity) = (self.side.as_str(), self.quantity);
        let (sequence, item, version) = (self.sequence, &self.item, self.version);
        write!(
            f,
            "trade {sequence}: {side} {quantity} of {item}, version {version}"
        )?;
        if let Some(AmendmentRecord { order, from, to }) = self.amends {
            write!(f, ", amends order {order} from {from} to {to}")?;
        }
        write!(f, ", request {}", self.request)
    }
}

impl fmt::Display for OrderRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {}, {}", self.number, self.trade)
    }
}
