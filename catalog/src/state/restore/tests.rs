use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::{Trade, TradeSequence};
use proptest::prelude::*;

use super::super::tests::{decide, fence, opened, request, shops, trade};
use super::*;

/// The orders that record all of `trades`.
fn orders(trades: Vec<Trade>) -> Vec<Order> {
    let order = |trade: Trade| Order {
        number: OrderNumber(trade.sequence.0),
        trade,
    };
    trades.into_iter().map(order).collect()
}

/// A state that is restored from `orders`.
fn restored(orders: &[Order]) -> Result<State, RestoreError> {
    let mut restoration = Restoration::new(shops(), Term(9));
    orders
        .iter()
        .try_for_each(|order| restoration.record(order))?;
    Ok(restoration.finish(FencingToken {
        term: Term(4),
        epoch: 1000,
    }))
}

/// What was refused, in words.
fn refused(orders: &[Order]) -> String {
    restored(orders).unwrap_err().to_string()
}

/// Two orders of item 1, of which 100 were in stock.
fn two_orders() -> Vec<Order> {
    let mut state = opened();
    let buy = trade(&mut state, request("a", 1, Side::Buy, 100)).unwrap();
    let sell = trade(&mut state, request("b", 1, Side::Sell, 7)).unwrap();
    orders(vec![buy, sell])
}

proptest! {
    /// The catalog dies with trades that no order records; the restored one is as if they had not
    /// been made, and otherwise the same.
    #[test]
    fn the_recorded_part_of_any_history_is_restored_exactly(
        wishes in prop::collection::vec((1..4_u64, any::<bool>(), 0..70_u64), 0..60),
        lost in 0..10_usize,
    ) {
        let mut state = opened();
        let (mut made, mut states) = (Vec::new(), vec![state.clone()]);
        for (number, (item, buys, units)) in wishes.into_iter().enumerate() {
            let side = if buys { Side::Buy } else { Side::Sell };
            if let Ok(trade) = trade(&mut state, request(&number.to_string(), item, side, units)) {
                made.push(trade);
                states.push(state.clone());
            }
        }
        made.truncate(made.len().saturating_sub(lost));
        let mut expected = states.swap_remove(made.len());
        // All that is in the log is recorded.
        let (token, recorded) = (expected.fence, expected.next);
        decide(&mut expected, token, recorded, vec![]).0.unwrap();
        let restored = restored(&orders(made)).unwrap();
        prop_assert_eq!(&restored.items, &expected.items);
        prop_assert_eq!(&restored.shops, &expected.shops);
        prop_assert_eq!(&restored.numbers, &expected.numbers);
        prop_assert_eq!((restored.forgotten, restored.next), (expected.forgotten, expected.next));
        prop_assert!(restored.outbox.is_empty() && restored.requests.is_empty());
        prop_assert!(restored.is_vouched_for());
        let json = serde_json::to_string(&restored).unwrap();
        prop_assert_eq!(&serde_json::from_str::<State>(&json).unwrap(), &restored);
    }
}

#[test]
fn the_order_leader_fences_again_and_what_it_sent_before_stays_refused() {
    let mut state = restored(&two_orders()).unwrap();
    let buy = || vec![request("c", 1, Side::Buy, 1)];
    for old in [(4, 0), (4, 1), (3, 999)] {
        let token = FencingToken {
            term: Term(old.0),
            epoch: old.1,
        };
        let (outcome, touched) = decide(&mut state, token, TradeSequence(2), buy());
        assert!(
            matches!(outcome, Err(CatalogError::Fenced { .. })),
            "{outcome:?}"
        );
        assert!(touched.is_empty());
    }
    let fence = fence(&mut state, 4).unwrap();
    assert_eq!(fence.token.term, Term(4));
    assert_eq!(fence.next, TradeSequence(2));
    let (made, _) = decide(&mut state, fence.token, TradeSequence(2), buy());
    let made = made.unwrap().remove(0).unwrap();
    assert_eq!(
        (made.sequence, made.version),
        (TradeSequence(2), Version(4))
    );
}

#[test]
fn an_order_that_does_not_follow_is_refused_and_named() {
    let sound = two_orders();
    restored(&sound).unwrap();
    assert!(refused(&sound[1..]).contains("order 1 stands where 0 is due"));
    let mut doubled = sound.clone();
    doubled.push(sound[1].clone());
    assert!(refused(&doubled).contains("order 1 stands where 2 is due"));

    let changed = |change: fn(&mut Trade)| {
        let mut orders = two_orders();
        change(&mut orders[1].trade);
        refused(&orders)
    };
    let unknown = changed(|trade| trade.item = ItemNumber(77));
    assert!(
        unknown.contains("order 1") && unknown.contains("--shop"),
        "{unknown}"
    );
    let other = changed(|trade| trade.price = Money::from_cents(2).unwrap());
    assert!(
        other.contains("order 1") && other.contains("as they were"),
        "{other}"
    );
    let negative = changed(|trade| trade.request.side = Side::Buy);
    assert!(negative.contains("order 1 (buy 7 of item 1)"), "{negative}");
    assert!(negative.contains("not enough stock"), "{negative}");
    let skipped = changed(|trade| trade.version = Version(8));
    assert!(skipped.contains("order 1 made version 8"), "{skipped}");
}
