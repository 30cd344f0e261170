use bazaar_rpc::edit::ItemChange;
use bazaar_rpc::{ItemKey, Money, Refusal, Side, Term, Text, UserId};

use super::super::tests::{edited, fence, new_item, opened, replenished, request, shops, trade};
use super::*;
use crate::command::{Answer, Command};

fn name(text: &str) -> ItemName {
    ItemName::new(text).unwrap()
}

fn units(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

fn remove(item: u64, expected: Option<u64>) -> Edit {
    let (item, expected) = (ItemNumber(item), expected.map(Version));
    Edit::Remove { item, expected }
}

fn restock(item: u64, quantity: u64) -> Edit {
    Edit::Restock {
        item: ItemNumber(item),
        expected: None,
        units: units(quantity),
    }
}

fn change(item: u64, change: ItemChange) -> Edit {
    Edit::Change {
        item: ItemNumber(item),
        expected: None,
        change,
    }
}

fn renamed(item: u64, text: &str) -> Edit {
    let name = Some(name(text));
    let to = ItemChange {
        name,
        ..ItemChange::default()
    };
    change(item, to)
}

fn create(text: &str) -> NewItem {
    new_item(name(text), "open")
}

/// What came of `edit`, under a request id of its own.
fn outcome(state: &mut State, edit: Edit) -> EditOutcome {
    let id = format!("{:?}", RequestId::fresh());
    edited(state, &id, edit).0
}

/// Why `edit` is refused; which changes nothing that can be seen.
fn refusal(state: &mut State, edit: Edit) -> EditRefusal {
    let (items, numbers) = (state.items.clone(), state.numbers.clone());
    let refusal = outcome(state, edit).unwrap_err();
    assert_eq!((&state.items, &state.numbers), (&items, &numbers));
    refusal
}

#[test]
fn a_new_item_is_traded_under_a_number_that_was_never_used() {
    let mut state = opened();
    let teapot = outcome(
        &mut state,
        Edit::Create(NewItem {
            quantity: units(7),
            ..create("teapot")
        }),
    )
    .unwrap();
    assert_eq!(
        (teapot.number, teapot.version),
        (ItemNumber(11), Version(1))
    );
    assert_eq!(state.lookup(&ItemKey::Name(name("teapot"))), Some(teapot));
    trade(&mut state, request("a", 11, Side::Buy, 7)).unwrap();
    // Once it is gone, its number is not free, and its name is.
    outcome(&mut state, remove(11, None)).unwrap();
    let again = outcome(&mut state, Edit::Create(create("teapot"))).unwrap();
    assert_eq!(again.number, ItemNumber(12));
    let said = NewItem {
        number: Some(ItemNumber(40)),
        ..create("cup")
    };
    let said = outcome(&mut state, Edit::Create(said)).unwrap();
    assert_eq!(said.number, ItemNumber(40));
    let next = outcome(&mut state, Edit::Create(create("spoon"))).unwrap();
    assert_eq!(next.number, ItemNumber(41));
}

#[test]
fn what_is_taken_or_unknown_is_refused_and_named() {
    let mut state = opened();
    outcome(&mut state, remove(2, None)).unwrap();
    let by = ItemNumber(1);
    let taken = EditRefusal::NameTaken {
        name: name("item 1"),
        by,
    };
    assert_eq!(refusal(&mut state, Edit::Create(create("item 1"))), taken);
    assert_eq!(refusal(&mut state, renamed(3, "item 1")), taken);
    let numbered = |number| {
        let number = Some(ItemNumber(number));
        Edit::Create(NewItem {
            number,
            ..create("new")
        })
    };
    for number in [1, 2] {
        let by = name(&format!("item {number}"));
        let number = ItemNumber(number);
        let taken = EditRefusal::NumberTaken { number, by };
        assert_eq!(refusal(&mut state, numbered(number.0)), taken);
    }
    let too_high = refusal(&mut state, numbered(MAX_NEW_NUMBER.0 + 1));
    assert_eq!(too_high, EditRefusal::NumberTooHigh);
    let shop = ShopName::new("closed").unwrap();
    let elsewhere = Edit::Create(NewItem {
        shop: shop.clone(),
        ..create("new")
    });
    assert_eq!(
        refusal(&mut state, elsewhere),
        EditRefusal::UnknownShop(shop)
    );
    for edit in [
        remove(2, None),
        restock(2, 1),
        renamed(2, "x"),
        remove(99, None),
    ] {
        assert!(matches!(
            refusal(&mut state, edit),
            EditRefusal::UnknownItem(_)
        ));
    }
    outcome(&mut state, numbered(MAX_NEW_NUMBER.0)).unwrap();
    let none_left = refusal(&mut state, Edit::Create(create("newer")));
    assert_eq!(none_left, EditRefusal::NoNumberLeft);
}

#[test]
fn a_change_changes_what_it_names_and_nothing_else() {
    let mut state = opened();
    let before = outcome(&mut state, restock(1, 1)).unwrap();
    let to = ItemChange {
        price: Some(Money::from_cents(7).unwrap()),
        category: Some(Text::new("odd").ok()),
        slogan: Some(None),
        quantity: Some(units(3)),
        ..ItemChange::default()
    };
    let after = outcome(&mut state, change(1, to)).unwrap();
    let expected = Item {
        price: Money::from_cents(7).unwrap(),
        category: Text::new("odd").ok(),
        quantity: units(3),
        version: before.version.next(),
        ..before
    };
    assert_eq!(after, expected);
    let none = Some(None);
    let to = ItemChange {
        category: none,
        ..ItemChange::default()
    };
    let after = outcome(&mut state, change(1, to)).unwrap();
    assert_eq!((after.category, after.price), (None, expected.price));
    let stock = &state.items[&ItemNumber(1)];
    assert_eq!(
        (stock.restocked, stock.written_off, stock.edits),
        (1, 98, 3)
    );
    assert!(stock.adds_up());
}

#[test]
fn edits_have_bounds() {
    let mut state = opened();
    let nothing = change(1, ItemChange::default());
    assert_eq!(refusal(&mut state, nothing), EditRefusal::NothingToChange);
    assert_eq!(refusal(&mut state, restock(1, 0)), EditRefusal::NoUnits);
    assert_eq!(refusal(&mut state, restock(3, 1)), EditRefusal::StockFull);
    outcome(&mut state, restock(1, Quantity::MAX.units() - 100)).unwrap();
    let stock = Arc::make_mut(state.items.get_mut(&ItemNumber(2)).unwrap());
    stock.restocked = u64::MAX;
    assert_eq!(refusal(&mut state, restock(2, 1)), EditRefusal::StockFull);
}

#[test]
fn an_edit_of_another_version_than_the_expected_one_is_refused() {
    let mut state = opened();
    trade(&mut state, request("a", 1, Side::Buy, 1)).unwrap();
    let current = Version(2);
    let conflict = EditRefusal::VersionConflict { current };
    for expected in [1, 3] {
        assert_eq!(refusal(&mut state, remove(1, Some(expected))), conflict);
    }
    let removed = outcome(&mut state, remove(1, Some(2))).unwrap();
    assert_eq!(removed.version, Version(3));
}

#[test]
fn a_removed_item_is_in_no_lookup_list_or_trade_and_keeps_its_number_and_counters() {
    let mut state = opened();
    trade(&mut state, request("a", 1, Side::Buy, 30)).unwrap();
    outcome(&mut state, remove(1, None)).unwrap();
    assert_eq!(state.lookup(&ItemKey::Number(ItemNumber(1))), None);
    assert_eq!(state.lookup(&ItemKey::Name(name("item 1"))), None);
    let query = bazaar_rpc::catalog::ListQuery {
        limit: 10,
        ..Default::default()
    };
    assert!(state.list(&query).iter().all(|item| item.number.0 != 1));
    let refused = trade(&mut state, request("b", 1, Side::Buy, 1));
    assert_eq!(refused, Err(Refusal::UnknownItem));
    // What was traded before is answered as it was.
    trade(&mut state, request("a", 1, Side::Buy, 30)).unwrap();
    let kept = &state.items[&ItemNumber(1)];
    assert_eq!(
        (kept.quantity, kept.bought, kept.removed),
        (units(70), 30, true)
    );
    // Another item may have its name, and both are kept apart on disk.
    let heir = outcome(&mut state, Edit::Create(create("item 1"))).unwrap();
    let bytes = postcard::to_stdvec(&state).unwrap();
    let read: State = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.lookup(&ItemKey::Name(name("item 1"))), Some(heir));
}

#[test]
fn a_renamed_item_is_found_under_its_new_name_only() {
    let mut state = opened();
    let (outcome, touched) = edited(&mut state, "a", renamed(1, "one"));
    let item = outcome.unwrap();
    let told: Vec<_> = touched.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(told, ["item 1", "one"]);
    assert_eq!(state.lookup(&ItemKey::Name(name("item 1"))), None);
    assert_eq!(state.lookup(&ItemKey::Name(name("one"))), Some(item));
    // Its own name is no other's.
    edited(&mut state, "b", renamed(1, "one")).0.unwrap();
    edited(&mut state, "c", renamed(2, "item 1")).0.unwrap();
}

#[test]
fn a_shop_file_does_not_bring_back_what_was_renamed_or_removed() {
    let mut state = opened();
    edited(&mut state, "a", renamed(1, "one")).0.unwrap();
    edited(&mut state, "b", remove(2, None)).0.unwrap();
    assert_eq!(state.missing(&shops()), []);
    assert!(state.conflicts(&shops()).is_empty());
    let before = state.clone();
    let open = Command::Open {
        term: state.reign,
        shops: shops(),
    };
    state.apply(open, &mut Vec::new());
    assert_eq!(state, before);
}

#[test]
fn a_request_that_is_sent_again_gets_its_first_outcome_as_long_as_it_is_remembered() {
    use bazaar_rpc::catalog::REMEMBERED_EDITS;
    let mut state = opened();
    let first = edited(&mut state, "a", restock(1, 5)).0.unwrap();
    let refused = edited(&mut state, "b", remove(99, None)).0;
    edited(&mut state, "other", restock(1, 7)).0.unwrap();
    let before = state.clone();
    assert_eq!(edited(&mut state, "a", restock(1, 5)), (Ok(first), vec![]));
    assert_eq!(edited(&mut state, "b", remove(99, None)), (refused, vec![]));
    let reused = edited(&mut state, "a", restock(1, 6));
    assert_eq!(reused, (Err(EditRefusal::KeyReused), vec![]));
    assert_eq!(state, before);
    for other in 4..=REMEMBERED_EDITS {
        edited(&mut state, &other.to_string(), restock(2, 1))
            .0
            .unwrap();
    }
    let full = edited(&mut state, "a", restock(1, 5)).0.unwrap();
    assert_eq!(
        full.quantity,
        units(105),
        "it is the oldest that is remembered"
    );
    edited(&mut state, "one more", restock(2, 1)).0.unwrap();
    let again = edited(&mut state, "a", restock(1, 5)).0.unwrap();
    assert_eq!(again.quantity, units(117));
    let bytes = postcard::to_stdvec(&state).unwrap();
    assert_eq!(postcard::from_bytes::<State>(&bytes).unwrap(), state);
}

#[test]
fn what_is_low_is_filled_up_as_its_shop_says_and_nothing_else_is() {
    let mut state = opened();
    let member = |id: &str, quantity: u64| bazaar_rpc::TradeRequest {
        user: Some(UserId(7)),
        ..request(id, 10, Side::Buy, quantity)
    };
    trade(&mut state, member("a", 3)).unwrap();
    let is_low = |state: &State| state.is_low(&state.items[&ItemNumber(10)]);
    // Two are left, and the shop restocks below two.
    assert!(!is_low(&state));
    assert_eq!(replenished(&mut state, &[10]), vec![]);
    trade(&mut state, member("b", 1)).unwrap();
    assert!(is_low(&state));
    // Item 2 has none left, and its shop does not restock.
    let touched = replenished(&mut state, &[2, 10, 10, 99]);
    let told: Vec<_> = touched
        .iter()
        .map(|it| (it.number.0, it.version.0))
        .collect();
    assert_eq!(told, [(10, 4)]);
    let stock = &state.items[&ItemNumber(10)];
    assert_eq!(
        (stock.quantity, stock.restocked, stock.edits),
        (units(5), 4, 1)
    );
    trade(&mut state, member("c", 3)).unwrap();
    trade(&mut state, member("d", 2)).unwrap();
    outcome(&mut state, remove(10, None)).unwrap();
    assert!(!is_low(&state));
    assert_eq!(replenished(&mut state, &[10]), vec![]);
    let restocking: Vec<_> = state.restocking().map(|(shop, _)| shop.as_str()).collect();
    assert_eq!(restocking, ["members"]);
}

#[test]
fn a_catalog_that_may_have_lost_its_disk_is_not_edited() {
    let mut state = State::default();
    let open = Command::Open {
        term: Term(1),
        shops: shops(),
    };
    state.apply(open, &mut Vec::new());
    let before = state.clone();
    let edit = Command::Edit {
        request: RequestId::fresh(),
        edit: restock(1, 1),
    };
    let answer = state.apply(edit.clone(), &mut Vec::new());
    assert_eq!(answer, Answer::Edited(Err(CatalogError::Starting)));
    assert_eq!(state, before);
    fence(&mut state, 1).unwrap();
    let answer = state.apply(edit, &mut Vec::new());
    assert!(matches!(answer, Answer::Edited(Ok(Ok(_)))));
}
