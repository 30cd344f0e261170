use bazaar_rpc::{
    Amendment, InvocationId, ItemKey, ItemNumber, OrderNumber, Text, Trade, TradeRequest,
    TradeSequence, UserId, Version,
};
use prost::Message;

use super::*;

fn cents(cents: u64) -> Money {
    Money::from_cents(cents).unwrap()
}

fn quantity(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

/// The record `number` of a user's trade in hoodies, at that millisecond.
fn record(number: u64, units: u64, received: u64, amends: Option<Amendment>) -> Order {
    let name = ItemName::new("Hoodie").unwrap();
    let request = TradeRequest {
        request: RequestId::from_key(None, "key"),
        invocation: InvocationId::fresh(),
        item: ItemKey::Name(name.clone()),
        side: Side::Buy,
        quantity: quantity(units),
        user: Some(UserId(9)),
        received: Timestamp(received),
        amends,
    };
    let trade = Trade {
        sequence: TradeSequence(number),
        request,
        item: ItemNumber(300),
        name,
        shop: Text::new("merch").unwrap(),
        price: cents(4999),
        version: Version(8),
    };
    Order {
        number: OrderNumber(number),
        trade,
    }
}

/// A hoodie ordered at 10^9 s and 5 ms, and a second one a second later.
fn updated_order() -> OrderState {
    let amendment = Amendment {
        order: OrderNumber(1),
        price: cents(4999),
        from: quantity(1),
        to: quantity(2),
    };
    OrderState {
        original: record(1, 1, 1_000_000_000_005, None),
        history: vec![record(3, 1, 1_000_000_001_000, Some(amendment))],
    }
}

/// Clients hold on to these bytes: whoever breaks this test breaks them.
#[test]
fn the_bytes_of_a_product() {
    let item = Item {
        number: ItemNumber(300),
        name: ItemName::new("Hoodie").unwrap(),
        shop: Text::new("merch").unwrap(),
        category: Some(Text::new("clothing").unwrap()),
        price: cents(4999),
        quantity: quantity(500),
        volume: 7,
        description: Some(Text::new("Warm.").unwrap()),
        slogan: Some(Text::new("Wear it").unwrap()),
        version: Version(8),
    };
    let expected: &[&[u8]] = &[
        // 1, number: varint 300.
        &[0x08, 0xac, 0x02],
        // 2, name: 6 bytes.
        &[0x12, 6],
        b"Hoodie",
        // 3, shop: 5 bytes.
        &[0x1a, 5],
        b"merch",
        // 4, category: 8 bytes.
        &[0x22, 8],
        b"clothing",
        // 5, price: a message of 3 bytes, whose field 1, cents, is varint 4999.
        &[0x2a, 3, 0x08, 0x87, 0x27],
        // 6, quantity: varint 500.
        &[0x30, 0xf4, 0x03],
        // 7, volume: varint 7.
        &[0x38, 7],
        // 8, description: 5 bytes.
        &[0x42, 5],
        b"Warm.",
        // 9, slogan: 7 bytes.
        &[0x4a, 7],
        b"Wear it",
        // 10, version: varint 8.
        &[0x50, 8],
    ];
    assert_eq!(
        proto::Product::from(&item).encode_to_vec(),
        expected.concat()
    );
}

#[test]
fn the_bytes_of_an_order() {
    let expected: &[&[u8]] = &[
        // 1, number: varint 1.
        &[0x08, 1],
        // 2, product_number: varint 300.
        &[0x10, 0xac, 0x02],
        // 3, product_name: 6 bytes.
        &[0x1a, 6],
        b"Hoodie",
        // 4, shop: 5 bytes.
        &[0x22, 5],
        b"merch",
        // 5, side: SIDE_BUY.
        &[0x28, 1],
        // 6, quantity: varint 2, as the update has left it.
        &[0x30, 2],
        // 7, unit_price: a message of 3 bytes, whose field 1, cents, is varint 4999.
        &[0x3a, 3, 0x08, 0x87, 0x27],
        // 8, total: the same with varint 9998.
        &[0x42, 3, 0x08, 0x8e, 0x4e],
        // 9, product_version: varint 8.
        &[0x48, 8],
        // 10, status: ORDER_STATUS_UPDATED.
        &[0x50, 2],
        // 11, user: varint 9.
        &[0x58, 9],
        // 12, placed_at: a message of 11 bytes,
        &[0x62, 11],
        // whose field 1, seconds, is varint 10^9,
        &[0x08, 0x80, 0x94, 0xeb, 0xdc, 0x03],
        // and whose field 2, nanos, is varint 5,000,000.
        &[0x10, 0xc0, 0x96, 0xb1, 0x02],
        // 13, history: a message of 14 bytes,
        &[0x6a, 14],
        // 1, number: varint 3,
        &[0x08, 3],
        // 2, from_quantity: varint 1,
        &[0x10, 1],
        // 3, to_quantity: varint 2,
        &[0x18, 2],
        // 4, made_at: a message of 6 bytes, whose field 1, seconds, is varint 10^9 + 1.
        &[0x22, 6, 0x08, 0x81, 0x94, 0xeb, 0xdc, 0x03],
    ];
    let order = proto::Order::from(&updated_order());
    assert_eq!(order.encode_to_vec(), expected.concat());
}

#[test]
fn a_total_beyond_an_int64_is_left_out() {
    let mut order = record(0, 1, 0, None);
    order.trade.price = Money::MAX;
    order.trade.request.quantity = Quantity::MAX;
    assert_eq!(proto::Order::from(order).total, None);
}

#[test]
fn what_a_request_may_say() {
    assert_eq!(units(1).unwrap(), quantity(1));
    assert_eq!(units(Quantity::MAX.units()).unwrap(), Quantity::MAX);
    // The shop refuses it, and tells its bounds.
    assert_eq!(units(0).unwrap(), Quantity::default());
    units(Quantity::MAX.units() + 1).unwrap_err();
    side(proto::Side::Unspecified).unwrap_err();
    for user in [None, Some(UserId(9))] {
        let request = request_id(user, "k").unwrap();
        assert_eq!(request, RequestId::from_key(user, "k"));
        assert_ne!(request_id(user, "").unwrap(), request_id(user, "").unwrap());
    }
    for bad in ["a b", "é", &"x".repeat(256)] {
        request_id(None, bad).unwrap_err();
    }
}

#[test]
fn a_page_that_is_full_has_a_next_one() {
    let page = |size, token| Page::new(size, token, 1000);
    let first = page(2, "").unwrap();
    assert_eq!((first.after, first.limit), (None, 2));
    assert_eq!(first.next(2, Some(7)), "7");
    assert_eq!(page(2, "7").unwrap().after, Some(7));
    assert_eq!(first.next(1, Some(7)), "");
    assert_eq!(first.next(0, None), "");
    assert_eq!(page(0, "").unwrap().limit, DEFAULT_PAGE);
    page(1000, "").unwrap();
    page(1001, "").unwrap_err();
    page(2, "x").unwrap_err();
}
