//! Small pieces of evidence, for tests.

use std::path::Path;
use std::sync::Arc;

use bazaar_rpc::{
    ItemName, ItemNumber, OrderNumber, Quantity, RequestId, Side, TradeSequence, Version,
};

use crate::{
    AmendmentRecord, Answer, Call, Operation, OrderLog, OrderRecord, Outcome, Place, Reason,
    StockRecord, StockReport, TradeRecord, Verdict,
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
