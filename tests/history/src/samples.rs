//! Small pieces of evidence, for tests.

use std::path::Path;
use std::sync::Arc;

use bazaar_rpc::{
    ItemName, ItemNumber, OrderNumber, Quantity, RequestId, Side, TradeSequence, UserId, Version,
};

use crate::{
    AmendmentRecord, Answer, Call, Operation, OrderLog, OrderRecord, Outcome, Place, Reason,
    ShownOrder, StockRecord, StockReport, TradeRecord, Verdict,
};

/// When an operation was invoked, and when completed.
pub(crate) type Span = (u64, u64);

pub(crate) fn item() -> ItemName {
    ItemName::new("GameStart").unwrap()
}

pub(crate) fn units(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

pub(crate) fn operation(invoked: u64, call: Call, outcome: Outcome) -> Operation {
    Operation {
        place: Place {
            file: Path::new("client.ndjson").into(),
            line: invoked + 2,
        },
        process: invoked,
        frontend: frontend(),
        call,
        invoked,
        outcome,
    }
}

pub(crate) fn ok(at: u64, answer: Answer) -> Outcome {
    Outcome::Ok {
        at,
        frontend: frontend(),
        answer,
    }
}

fn frontend() -> Arc<str> {
    "http://127.0.0.1:8080".into()
}

pub(crate) fn trade(side: Side, quantity: u64, key: &str) -> Call {
    Call::Trade {
        item: item(),
        side,
        quantity: units(quantity),
        key: key.into(),
        user: None,
    }
}

/// A lookup that was shown so many units under a version.
pub(crate) fn lookup((invoked, at): Span, quantity: u64, version: u64) -> Operation {
    let answer = Answer::Stock {
        quantity: units(quantity),
        version: Some(Version(version)),
    };
    operation(invoked, Call::Lookup { item: item() }, ok(at, answer))
}

/// A trade that was acknowledged under a number and a version.
pub(crate) fn traded(span: Span, call: Call, number: u64, version: u64) -> Operation {
    let answer = Answer::Traded {
        number: OrderNumber(number),
        version: Some(Version(version)),
        replayed: false,
    };
    operation(span.0, call, ok(span.1, answer))
}

/// An acknowledged purchase of one unit; its key is its number.
pub(crate) fn bought(span: Span, number: u64, version: u64) -> Operation {
    traded(
        span,
        trade(Side::Buy, 1, &number.to_string()),
        number,
        version,
    )
}

/// A change of an order to so many units.
pub(crate) fn amend(order: u64, to: u64, key: &str) -> Call {
    Call::Amend {
        order: OrderNumber(order),
        to: units(to),
        key: key.into(),
        user: UserId(1),
    }
}

/// An acknowledged change of a purchase that made version 2; it is recorded under `number`, which is also
/// how many changes the order has had by then.
pub(crate) fn amended(span: Span, order: u64, to: u64, number: u64, version: u64) -> Operation {
    let answer = Answer::Amended {
        number: OrderNumber(number),
        version: Some(Version(version)),
        replayed: false,
        order: shown(to, number),
    };
    let call = amend(order, to, &format!("amendment {number}"));
    operation(span.0, call, ok(span.1, answer))
}

/// A restock of the item.
pub(crate) fn restock(units: u64, key: &str) -> Call {
    Call::Restock {
        item: ItemNumber(1),
        units: self::units(units),
        key: key.into(),
        user: UserId(1),
    }
}

/// An acknowledged restock, which left so many units in stock under a version.
pub(crate) fn restocked(
    span: Span,
    units: u64,
    key: &str,
    (quantity, version): (u64, u64),
) -> Operation {
    let answer = Answer::Restocked {
        item: item(),
        quantity: self::units(quantity),
        version: Version(version),
    };
    operation(span.0, restock(units, key), ok(span.1, answer))
}

/// A look at an order, for so many units after so many changes.
pub(crate) fn queried(span: Span, order: u64, quantity: u64, changes: u64) -> Operation {
    let number = OrderNumber(order);
    let answer = Answer::Order(shown(quantity, changes));
    operation(span.0, Call::Query { number }, ok(span.1, answer))
}

/// A purchase that made version 2.
fn shown(quantity: u64, changes: u64) -> ShownOrder {
    ShownOrder {
        item: item(),
        side: Side::Buy,
        quantity: units(quantity),
        version: Some(Version(2)),
        changes,
    }
}

/// A request of unknown outcome.
pub(crate) fn unknown(invoked: u64, call: Call) -> Operation {
    let outcome = Outcome::Unknown {
        at: Some(invoked + 1),
        reason: "no answer".into(),
    };
    operation(invoked, call, outcome)
}

pub(crate) fn refused(span: Span, call: Call, reason: Reason) -> Operation {
    let outcome = Outcome::Refused {
        at: span.1,
        frontend: Some(frontend()),
        reason,
    };
    operation(span.0, call, outcome)
}

/// A refused purchase.
pub(crate) fn short(span: Span, wanted: u64, available: Option<u64>) -> Operation {
    let available = available.map(units);
    let key = format!("refused at {}", span.0);
    let reason = Reason::NotEnoughStock { available };
    refused(span, trade(Side::Buy, wanted, &key), reason)
}

/// The order of a number, of one unit bought under the key that is the number.
pub(crate) fn order(number: u64) -> OrderRecord {
    OrderRecord {
        number: OrderNumber(number),
        trade: TradeRecord {
            sequence: TradeSequence(number),
            request: RequestId::from_key(None, &number.to_string()),
            item: item(),
            item_number: ItemNumber(1),
            side: Side::Buy,
            quantity: units(1),
            version: Version(number + 2),
            amends: None,
        },
    }
}

/// The record of a number that amends a purchase from so many units to so many.
pub(crate) fn amendment(number: u64, order: u64, from: u64, to: u64) -> OrderRecord {
    let side = if to > from { Side::Buy } else { Side::Sell };
    let mut record = self::order(number);
    record.trade.side = side;
    record.trade.quantity = units(from.abs_diff(to));
    record.trade.amends = Some(AmendmentRecord {
        order: OrderNumber(order),
        from: units(from),
        to: units(to),
    });
    record
}

pub(crate) fn log(replica: u64, orders: impl IntoIterator<Item = OrderRecord>) -> OrderLog {
    let orders: Vec<_> = orders.into_iter().collect();
    OrderLog {
        source: format!("order/{replica}"),
        applied: TradeSequence(orders.len() as u64),
        orders,
    }
}

/// The stock of which so many of 100 units were bought, one by one.
pub(crate) fn stock(replica: u64, bought: u64) -> StockReport {
    StockReport {
        source: format!("catalog/{replica}"),
        items: vec![StockRecord {
            number: ItemNumber(1),
            item: item(),
            initial: units(100),
            quantity: units(100 - bought),
            volume: bought,
            restocked: 0,
            written_off: 0,
            version: Version(bought + 1),
            edits: 0,
            removed: false,
        }],
        outbox: Vec::new(),
        applied: TradeSequence(bought),
        edits: 1,
    }
}

/// What the first finding says; panics where there is none.
#[track_caller]
pub(crate) fn finding(verdict: Verdict) -> String {
    match verdict {
        Verdict::Violation(findings) => {
            let first = &findings.first[0];
            assert!(!first.evidence.is_empty());
            format!("{}\n{}", first.what, first.evidence.join("\n"))
        }
        other => panic!("{other:?} where there is a violation"),
    }
}
