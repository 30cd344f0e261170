use bazaar_rpc::catalog::CatalogError;
use bazaar_rpc::edit::{Edit, ItemChange};
use bazaar_rpc::{Trade, TradeSequence};
use proptest::prelude::*;

use super::super::tests::{amendment, decide, edited, fence, opened, request, shops, trade};
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
        wishes in prop::collection::vec((1..5_u64, any::<bool>(), 0..70_u64), 0..60),
        lost in 0..10_usize,
    ) {
        let mut state = opened();
        let (token, recorded) = (state.fence, state.forgotten);
        let (mut made, mut states) = (Vec::new(), vec![state.clone()]);
        for (number, (item, buys, units)) in wishes.into_iter().enumerate() {
            let (id, side) = (number.to_string(), if buys { Side::Buy } else { Side::Sell });
            let wish = match item {
                // Of item 10, by so many units more or less.
                4 if buys => amendment(&id, 1, 1 + units % 3),
                4 => amendment(&id, 3, 2 - units % 3),
                _ => request(&id, item, side, units),
            };
            let batch = decide(&mut state, token, recorded, vec![wish]).0;
            if let Ok(trade) = batch.map_or(Err(()), |mut made| made.remove(0).map_err(drop)) {
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
    let doubled = changed(|trade| trade.version = Version(2));
    assert!(doubled.contains("order 1 made version 2"), "{doubled}");
}

/// What an administrator does to item 1, of which 100 were in stock.
fn edit(change: ItemChange) -> Edit {
    Edit::Change {
        item: ItemNumber(1),
        expected: None,
        change,
    }
}

#[test]
fn an_edited_item_is_restored_as_far_as_its_orders_tell() {
    let mut state = opened();
    let mut made = vec![trade(&mut state, request("a", 1, Side::Buy, 90)).unwrap()];
    let change = ItemChange {
        name: ItemName::new("one").ok(),
        price: Money::from_cents(77).ok(),
        quantity: Quantity::new(50).ok(),
        ..ItemChange::default()
    };
    edited(&mut state, "b", edit(change)).0.unwrap();
    made.push(trade(&mut state, request("c", 1, Side::Buy, 45)).unwrap());
    made.push(trade(&mut state, request("d", 1, Side::Sell, 1)).unwrap());
    let actual = state.items[&ItemNumber(1)].clone();
    let state = restored(&orders(made)).unwrap();
    let stock = &state.items[&ItemNumber(1)];
    // 45 were there at least, and 5 more are nowhere to be seen.
    assert_eq!((actual.quantity.units(), stock.quantity.units()), (6, 1));
    assert_eq!((actual.restocked, stock.restocked), (40, 35));
    assert_eq!((stock.version, stock.edits), (actual.version, 1));
    assert_eq!(
        (&stock.item.name, stock.item.price),
        (&actual.item.name, actual.item.price)
    );
    assert!(stock.adds_up());
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
}

#[test]
fn a_name_that_another_item_still_has_is_not_taken_over() {
    let mut state = opened();
    let rename = |item: u64, to: &str| Edit::Change {
        item: ItemNumber(item),
        expected: None,
        change: ItemChange {
            name: ItemName::new(to).ok(),
            ..ItemChange::default()
        },
    };
    edited(&mut state, "a", rename(2, "two")).0.unwrap();
    edited(&mut state, "b", rename(1, "item 2")).0.unwrap();
    let made = ["c", "d"].map(|id| trade(&mut state, request(id, 1, Side::Buy, 1)).unwrap());
    let state = restored(&orders(made.into())).unwrap();
    let name = |number| state.items[&ItemNumber(number)].item.name.to_string();
    assert_eq!((name(1), name(2)), ("item 1".into(), "item 2".into()));
    assert_eq!(state.items[&ItemNumber(1)].quantity.units(), 98);
}

#[test]
fn an_item_that_was_created_is_asked_for() {
    let mut made = two_orders();
    made[1].trade.item = ItemNumber(12);
    let refused = refused(&made);
    assert!(refused.contains("add it to a shop file"), "{refused}");
}
