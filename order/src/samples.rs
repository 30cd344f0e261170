//! Trades for tests.

use bazaar_rpc::{
    Amendment, ItemKey, ItemName, ItemNumber, Money, OrderNumber, Quantity, RequestId, ShopName,
    Side, Timestamp, Trade, TradeRequest, TradeSequence, UserId, Version,
};

/// The request whose client sent `key`: ten units of GameStart.
pub(crate) fn request(key: u64) -> TradeRequest {
    let request = RequestId::from_key(None, &key.to_string());
    TradeRequest {
        request,
        // Any will do, as long as it is the same for the same key.
        invocation: postcard::from_bytes(&[1]).unwrap(),
        item: ItemKey::Name(ItemName::new("GameStart").unwrap()),
        side: Side::Buy,
        quantity: Quantity::new(10).unwrap(),
        user: key.is_multiple_of(3).then_some(UserId(key % 7)),
        received: Timestamp(key),
        amends: None,
    }
}

/// The request whose client sent `key`: `order`, of units of GameStart that `user` bought, is amended
/// from so many units to so many.
pub(crate) fn amendment(key: u64, order: u64, user: UserId, from: u64, to: u64) -> TradeRequest {
    let amends = Amendment {
        order: OrderNumber(order),
        price: Money::from_cents(1599).unwrap(),
        from: Quantity::new(from).unwrap(),
        to: Quantity::new(to).unwrap(),
    };
    TradeRequest {
        side: amends.side(Side::Buy),
        quantity: amends.difference(),
        user: Some(user),
        amends: Some(amends),
        ..request(key)
    }
}

/// The trade that is made of `request` as the one of that sequence number.
pub(crate) fn make(sequence: TradeSequence, request: TradeRequest) -> Trade {
    Trade {
        sequence,
        request,
        item: ItemNumber(1),
        name: ItemName::new("GameStart").unwrap(),
        shop: ShopName::new("stocks").unwrap(),
        price: Money::from_cents(1599).unwrap(),
        version: Version(sequence.0 + 1),
    }
}

/// The trade of that sequence number, made of the request of the same number.
pub(crate) fn trade(sequence: u64) -> Trade {
    make(TradeSequence(sequence), request(sequence))
}
