use std::collections::{BTreeMap, BTreeSet};

use bazaar_rpc::edit::{Edit, EditOutcome, EditRefusal, ItemChange, NewItem};
use bazaar_rpc::{InvocationId, Money, OrderNumber, Quantity, Side, Timestamp, UserId, Version};
use proptest::prelude::*;

use super::*;

fn quantity(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

fn name(text: &str) -> ItemName {
    ItemName::new(text).unwrap()
}

/// A shop with items of these numbers and quantities, named after their numbers.
fn shop(shop: &str, policy: Policy, items: &[(u64, u64)]) -> Shop {
    let item = |&(number, units): &(u64, u64)| ShopItem {
        number: ItemNumber(number),
        name: name(&format!("item {number}")),
        price: Money::from_cents(number).unwrap(),
        quantity: quantity(units),
        category: (number % 2 == 0).then(|| bazaar_rpc::Text::new("even").unwrap()),
        description: None,
        slogan: None,
    };
    let name = ShopName::new(shop).unwrap();
    Shop {
        name,
        policy,
        items: items.iter().map(item).collect(),
    }
}

fn both_ways() -> Policy {
    Policy {
        sides: BTreeSet::from([Side::Buy, Side::Sell]),
        min: quantity(1),
        max: None,
        account: false,
        restock: None,
    }
}

fn for_members() -> Policy {
    Policy {
        sides: BTreeSet::from([Side::Buy]),
        min: quantity(1),
        max: Some(quantity(3)),
        account: true,
        restock: serde_json::from_str(r#"{"every": "1m", "below": 2, "to": 5}"#).unwrap(),
    }
}

pub(super) fn shops() -> Vec<Shop> {
    vec![
        shop(
            "open",
            both_ways(),
            &[(1, 100), (2, 0), (3, Quantity::MAX.units())],
        ),
        shop("members", for_members(), &[(10, 5)]),
    ]
}

pub(super) fn opened() -> State {
    let mut state = State::default();
    let open = Command::Open {
        term: Term(1),
        shops: shops(),
    };
    let former = Term(0);
    assert_eq!(
        state.apply(open, &mut Vec::new()),
        Answer::Opened { former }
    );
    fence(&mut state, 1).unwrap();
    state
}

pub(super) fn fence(state: &mut State, term: u64) -> Result<Fence, CatalogError> {
    let (term, recorded) = (Term(term), state.forgotten);
    match state.apply(Command::Fence { term, recorded }, &mut Vec::new()) {
        Answer::Fenced(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

pub(super) fn request(id: &str, item: u64, side: Side, units: u64) -> TradeRequest {
    TradeRequest {
        request: RequestId::from_key(None, id),
        invocation: InvocationId::fresh(),
        item: ItemKey::Number(ItemNumber(item)),
        side,
        quantity: quantity(units),
        user: None,
        received: Timestamp(0),
        amends: None,
    }
}

/// A request that amends an order of item 10, which the shop sells to members one to three at a
/// time, from so many units to so many.
pub(super) fn amendment(id: &str, from: u64, to: u64) -> TradeRequest {
    let amends = Amendment {
        order: OrderNumber(0),
        price: Money::from_cents(777).unwrap(),
        from: quantity(from),
        to: quantity(to),
    };
    TradeRequest {
        user: Some(UserId(7)),
        amends: Some(amends),
        ..request(id, 10, amends.side(Side::Buy), amends.difference().units())
    }
}

pub(super) fn decide(
    state: &mut State,
    token: FencingToken,
    recorded: TradeSequence,
    trades: Vec<TradeRequest>,
) -> (Result<Vec<Decision>, CatalogError>, Vec<Invalidation>) {
    let mut touched = Vec::new();
    let batch = TradeBatch {
        token,
        recorded,
        trades,
    };
    match state.apply(Command::Decide(batch), &mut touched) {
        Answer::Decided(outcome) => (outcome, touched),
        other => panic!("{other:?}"),
    }
}

/// Decides one trade under the token in force.
pub(super) fn trade(state: &mut State, request: TradeRequest) -> Decision {
    let (token, recorded) = (state.fence, state.forgotten);
    decide(state, token, recorded, vec![request])
        .0
        .unwrap()
        .remove(0)
}

fn item(state: &State, number: u64) -> Item {
    state.lookup(&ItemKey::Number(ItemNumber(number))).unwrap()
}

/// What must hold of every state.
fn assert_sound(state: &State) {
    for (number, stock) in &state.items {
        let came = stock.item.quantity.units() + stock.restocked + stock.sold;
        let went = stock.quantity.units() + stock.written_off + stock.bought;
        assert_eq!(
            came, went,
            "initial + restocked + sold = quantity + written off + bought of {number}"
        );
        assert!(stock.quantity <= Quantity::MAX);
        assert_eq!(stock.item().volume, stock.bought + stock.sold);
    }
    let sequences: Vec<_> = state.outbox.keys().map(|sequence| sequence.0).collect();
    assert_eq!(
        sequences,
        (state.forgotten.0..state.next.0).collect::<Vec<_>>()
    );
    assert_eq!(state.requests.len(), state.outbox.len());
    let bytes = postcard::to_stdvec(state).unwrap();
    assert_eq!(&postcard::from_bytes::<State>(&bytes).unwrap(), state);
    let json = serde_json::to_string_pretty(state).unwrap();
    assert_eq!(&serde_json::from_str::<State>(&json).unwrap(), state);
}

#[test]
fn a_buy_takes_from_the_stock_and_a_sale_returns_to_it() {
    let mut state = opened();
    let before = item(&state, 1);
    let bought = trade(&mut state, request("a", 1, Side::Buy, 30)).unwrap();
    let sold = trade(&mut state, request("b", 1, Side::Sell, 10)).unwrap();
    let after = item(&state, 1);
    assert_eq!((after.quantity, after.volume), (quantity(80), 40));
    assert_eq!(
        (bought.sequence, sold.sequence),
        (TradeSequence(0), TradeSequence(1))
    );
    assert_eq!(
        (bought.version, sold.version),
        (Version(before.version.0 + 1), after.version)
    );
    assert_eq!((bought.price, bought.shop), (after.price, after.shop));
}

#[test]
fn a_buy_of_the_last_units_leaves_zero_and_one_more_is_refused() {
    let mut state = opened();
    trade(&mut state, request("a", 1, Side::Buy, 100)).unwrap();
    assert_eq!(item(&state, 1).quantity, quantity(0));
    assert_eq!(
        trade(&mut state, request("b", 1, Side::Buy, 1)),
        Err(Refusal::NotEnoughStock {
            available: quantity(0)
        })
    );
}

#[test]
fn every_rule_of_a_shop_has_its_refusal() {
    let mut state = opened();
    let member = |request: TradeRequest| TradeRequest {
        user: Some(UserId(7)),
        ..request
    };
    let (min, max) = (quantity(1), quantity(3));
    let bounds = Refusal::QuantityNotAllowed { min, max };
    for (request, refusal) in [
        (request("a", 99, Side::Buy, 1), Refusal::UnknownItem),
        (request("a", 10, Side::Buy, 1), Refusal::AccountRequired),
        (
            member(request("a", 10, Side::Sell, 1)),
            Refusal::SideNotAllowed { side: Side::Sell },
        ),
        (member(request("a", 10, Side::Buy, 0)), bounds.clone()),
        (member(request("a", 10, Side::Buy, 4)), bounds),
        (
            request("a", 1, Side::Buy, 0),
            Refusal::QuantityNotAllowed {
                min,
                max: Quantity::MAX,
            },
        ),
        (
            request("a", 1, Side::Buy, 101),
            Refusal::NotEnoughStock {
                available: quantity(100),
            },
        ),
        (request("a", 3, Side::Sell, 1), Refusal::StockFull),
    ] {
        let before = state.clone();
        assert_eq!(trade(&mut state, request), Err(refusal));
        assert_eq!(state, before, "a refused trade changes nothing");
    }
    trade(&mut state, member(request("a", 10, Side::Buy, 3))).unwrap();
}

#[test]
fn an_amendment_moves_the_difference_at_its_orders_price_whichever_way_the_shop_trades() {
    let mut state = opened();
    let bought = TradeRequest {
        user: Some(UserId(7)),
        ..request("order", 10, Side::Buy, 1)
    };
    trade(&mut state, bought).unwrap();
    for (from, to, left) in [(1, 3, 2), (3, 2, 3), (2, 0, 5)] {
        let made = trade(&mut state, amendment(&format!("to {to}"), from, to)).unwrap();
        assert_eq!(made.price, Money::from_cents(777).unwrap());
        let item = item(&state, 10);
        assert_eq!(
            (item.quantity, item.version),
            (quantity(left), made.version)
        );
        assert_sound(&state);
    }
    // Once and no more, however often it is sent.
    let again = trade(&mut state, amendment("to 0", 2, 0)).unwrap();
    assert_eq!(again.version, item(&state, 10).version);
}

#[test]
fn what_was_bought_of_an_item_can_be_given_back_when_it_is_removed_since() {
    let mut state = opened();
    let bought = TradeRequest {
        user: Some(UserId(7)),
        ..request("order", 10, Side::Buy, 2)
    };
    trade(&mut state, bought).unwrap();
    let remove = Edit::Remove {
        item: ItemNumber(10),
        expected: None,
    };
    edited(&mut state, "remove", remove).0.unwrap();
    let more = trade(&mut state, amendment("more", 2, 3));
    assert_eq!(more, Err(Refusal::UnknownItem));
    trade(&mut state, amendment("less", 2, 1)).unwrap();
    trade(&mut state, amendment("none", 1, 0)).unwrap();
    assert_eq!(state.lookup(&ItemKey::Number(ItemNumber(10))), None);
    assert_sound(&state);
}

#[test]
fn a_shops_bounds_are_for_what_an_order_is_amended_to() {
    let mut state = opened();
    let (min, max) = (quantity(1), quantity(3));
    let nobodys = TradeRequest {
        user: None,
        ..amendment("a", 3, 2)
    };
    let mut far = amendment("a", 1, 3);
    far.item = ItemKey::Number(ItemNumber(99));
    trade(
        &mut state,
        TradeRequest {
            user: Some(UserId(7)),
            ..request("order", 10, Side::Buy, 3)
        },
    )
    .unwrap();
    trade(&mut state, amendment("two left", 1, 2)).unwrap();
    for (request, refusal) in [
        (
            amendment("a", 3, 4),
            Refusal::QuantityNotAllowed { min, max },
        ),
        (nobodys, Refusal::AccountRequired),
        (far, Refusal::UnknownItem),
        (
            amendment("a", 1, 3),
            Refusal::NotEnoughStock {
                available: quantity(1),
            },
        ),
    ] {
        let before = state.clone();
        assert_eq!(trade(&mut state, request), Err(refusal));
        assert_eq!(state, before, "a refused amendment changes nothing");
    }
}

#[test]
fn an_amendment_that_trades_other_than_its_difference_is_no_request() {
    let mut state = opened();
    let more = TradeRequest {
        quantity: quantity(2),
        ..amendment("a", 3, 2)
    };
    for unsound in [more, amendment("a", 2, 2)] {
        let (token, recorded, before) = (state.fence, state.forgotten, state.clone());
        let batch = vec![request("b", 1, Side::Buy, 1), unsound];
        let (outcome, touched) = decide(&mut state, token, recorded, batch);
        assert!(
            matches!(outcome, Err(CatalogError::Invalid(_))),
            "{outcome:?}"
        );
        assert_eq!((&state, touched), (&before, vec![]));
    }
}

#[test]
fn an_item_whose_counters_are_full_is_no_longer_traded() {
    let mut state = opened();
    let stock = Arc::make_mut(state.items.get_mut(&ItemNumber(1)).unwrap());
    (stock.bought, stock.sold) = (u64::MAX / 2, u64::MAX / 2);
    assert_eq!(u64::MAX - stock.volume(), 1);
    trade(&mut state, request("a", 1, Side::Buy, 1)).unwrap();
    assert_eq!(item(&state, 1).volume, u64::MAX);
    assert_eq!(
        trade(&mut state, request("b", 1, Side::Sell, 1)),
        Err(Refusal::StockFull)
    );
}

#[test]
fn a_request_id_in_the_outbox_gets_its_first_outcome_whatever_it_asks_for_now() {
    let mut state = opened();
    let first = trade(&mut state, request("a", 1, Side::Buy, 30)).unwrap();
    let before = state.clone();
    assert_eq!(
        trade(&mut state, request("a", 2, Side::Sell, 1)),
        Ok(first.clone())
    );
    assert_eq!(state, before);
    let (token, two) = (state.fence, vec![request("b", 1, Side::Buy, 1); 2]);
    let outcomes = decide(&mut state, token, TradeSequence(0), two).0.unwrap();
    assert_eq!(outcomes[0], outcomes[1]);
    // Once it is recorded, the order log is the one to know it.
    let again = request("a", 1, Side::Buy, 30);
    let outcomes = decide(&mut state, token, TradeSequence(1), vec![again])
        .0
        .unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().sequence, TradeSequence(2));
}

#[test]
fn a_refusal_is_not_pinned_to_its_request_id() {
    let mut state = opened();
    trade(&mut state, request("a", 2, Side::Buy, 1)).unwrap_err();
    trade(&mut state, request("b", 2, Side::Sell, 1)).unwrap();
    trade(&mut state, request("a", 2, Side::Buy, 1)).unwrap();
}

#[test]
fn a_fence_shuts_out_every_older_token_even_of_its_own_term() {
    let mut state = opened();
    let old = fence(&mut state, 5).unwrap();
    let restarted = fence(&mut state, 5).unwrap();
    assert!(restarted.token > old.token && restarted.token.term == old.token.term);
    let before = state.clone();
    let by = restarted.token;
    let buy = vec![request("a", 1, Side::Buy, 1)];
    let (refused, touched) = decide(&mut state, old.token, TradeSequence(0), buy.clone());
    assert_eq!(
        (refused, touched),
        (Err(CatalogError::Fenced { by }), vec![])
    );
    assert_eq!(
        state.outbox(old.token, TradeSequence(0)),
        Err(CatalogError::Fenced { by })
    );
    assert_eq!(fence(&mut state, 4), Err(CatalogError::Fenced { by }));
    assert_eq!(state, before);
    decide(&mut state, by, TradeSequence(0), buy).0.unwrap();
    let never = FencingToken {
        epoch: by.epoch + 1,
        ..by
    };
    let refused = decide(&mut state, never, TradeSequence(0), vec![]).0;
    assert!(
        matches!(refused, Err(CatalogError::Invalid(_))),
        "{refused:?}"
    );
}

#[test]
fn a_fence_tells_where_the_outbox_stands_and_the_outbox_holds_what_is_not_recorded() {
    let mut state = opened();
    let token = state.fence;
    for id in ["a", "b", "c"] {
        trade(&mut state, request(id, 1, Side::Buy, 1)).unwrap();
    }
    decide(&mut state, token, TradeSequence(1), vec![])
        .0
        .unwrap();
    let fence = fence(&mut state, 1).unwrap();
    assert_eq!(
        (fence.forgotten, fence.next),
        (TradeSequence(1), TradeSequence(3))
    );
    let page = |from| state.outbox(fence.token, TradeSequence(from)).unwrap();
    let sequences = |page: Vec<Trade>| page.iter().map(|t| t.sequence.0).collect::<Vec<_>>();
    assert_eq!(sequences(page(0)), [1, 2]);
    assert_eq!(sequences(page(2)), [2]);
    assert_eq!(sequences(page(3)), [0_u64; 0]);
}

#[test]
fn what_was_never_made_cannot_be_recorded() {
    let mut state = opened();
    let token = state.fence;
    let refused = decide(&mut state, token, TradeSequence(1), vec![]).0;
    assert!(
        matches!(refused, Err(CatalogError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(state.forgotten, TradeSequence(0));
}

#[test]
fn a_full_outbox_refuses_whole_batches_until_trades_are_recorded() {
    let mut state = opened();
    let token = state.fence;
    let sale = |id: usize| request(&id.to_string(), 1, Side::Sell, 1);
    let fill: Vec<_> = (0..MAX_OUTBOX - 1).map(sale).collect();
    decide(&mut state, token, TradeSequence(0), fill).0.unwrap();
    let before = state.clone();
    let two = vec![request("x", 1, Side::Buy, 1), request("y", 1, Side::Buy, 1)];
    let refused = decide(&mut state, token, TradeSequence(0), two.clone());
    assert_eq!(refused, (Err(CatalogError::Busy), vec![]));
    assert_eq!(state, before);
    decide(&mut state, token, TradeSequence(1), two).0.unwrap();
    let page = state.outbox(token, TradeSequence(5)).unwrap();
    assert_eq!(
        (page.len(), page[0].sequence),
        (MAX_BATCH, TradeSequence(5))
    );
}

#[test]
fn a_later_start_adds_new_items_and_changes_none_that_are_open() {
    let mut state = opened();
    trade(&mut state, request("a", 1, Side::Buy, 60)).unwrap();
    let mut shops = shops();
    assert_eq!(state.missing(&shops), []);
    // Other stock and another rule for what is open, a new item, and one that takes a name.
    shops[0] = shop("open", for_members(), &[(1, 500), (4, 7), (5, 1)]);
    shops[0].items[2].name = name("item 1");
    let missing = state.missing(&shops);
    let numbers: Vec<_> = missing
        .iter()
        .flat_map(|shop| &shop.items)
        .map(|i| i.number.0)
        .collect();
    assert_eq!(numbers, [4]);
    let conflicts: Vec<_> = state
        .conflicts(&shops)
        .iter()
        .map(|item| item.number.0)
        .collect();
    assert_eq!(conflicts, [5]);
    let mut touched = Vec::new();
    state.apply(
        Command::Open {
            term: Term(2),
            shops: missing,
        },
        &mut touched,
    );
    assert_eq!(
        touched.iter().map(|item| item.number.0).collect::<Vec<_>>(),
        [4]
    );
    assert_eq!(item(&state, 1).quantity, quantity(40));
    assert_eq!(item(&state, 4).quantity, quantity(7));
    trade(&mut state, request("b", 4, Side::Sell, 5)).unwrap();
    assert_eq!(state.reign(), Term(2));
    assert_sound(&state);
}

#[test]
fn a_list_is_by_shop_and_category_in_bounded_pages() {
    let state = opened();
    let list = |query: ListQuery| {
        state
            .list(&query)
            .iter()
            .map(|item| item.number.0)
            .collect::<Vec<_>>()
    };
    let all = ListQuery {
        limit: 100,
        ..ListQuery::default()
    };
    assert_eq!(list(all.clone()), [1, 2, 3, 10]);
    assert_eq!(
        list(ListQuery {
            limit: 2,
            ..all.clone()
        }),
        [1, 2]
    );
    assert_eq!(
        list(ListQuery {
            after: Some(ItemNumber(2)),
            ..all.clone()
        }),
        [3, 10]
    );
    assert_eq!(
        list(ListQuery {
            after: Some(ItemNumber(u64::MAX)),
            ..all.clone()
        }),
        [0; 0]
    );
    let shop = ShopName::new("open").ok();
    assert_eq!(
        list(ListQuery {
            shop: shop.clone(),
            ..all.clone()
        }),
        [1, 2, 3]
    );
    let category = bazaar_rpc::Text::new("even").ok();
    assert_eq!(
        list(ListQuery {
            shop,
            category,
            ..all
        }),
        [2]
    );
}

#[test]
fn an_item_is_found_by_number_and_by_name() {
    let state = opened();
    let by_name = state.lookup(&ItemKey::Name(name("item 3"))).unwrap();
    assert_eq!(by_name, item(&state, 3));
    assert_eq!(state.lookup(&ItemKey::Name(name("item"))), None);
    assert_eq!(state.lookup(&ItemKey::Number(ItemNumber(4))), None);
}

#[test]
fn a_state_that_does_not_add_up_is_not_read() {
    let mut state = opened();
    trade(&mut state, request("a", 1, Side::Buy, 1)).unwrap();
    let damage: [fn(&mut State); 4] = [
        |state| {
            let stock = state.items.get_mut(&ItemNumber(1)).unwrap();
            Arc::make_mut(stock).quantity = quantity(100);
        },
        |state| {
            let stock = state.items.remove(&ItemNumber(1)).unwrap();
            state.items.insert(ItemNumber(4), stock);
        },
        |state| state.next = TradeSequence(2),
        |state| {
            state.shops.clear();
        },
    ];
    for damage in damage {
        let mut damaged = state.clone();
        damage(&mut damaged);
        let bytes = postcard::to_stdvec(&damaged).unwrap();
        assert!(postcard::from_bytes::<State>(&bytes).is_err());
    }
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Trades of (request id, item, side, units), under a token so many fences old.
    Decide {
        trades: Vec<(u8, u64, Side, u64)>,
        behind: u64,
        record: u64,
    },
    Fence {
        term: u64,
    },
    Open,
    /// An edit, under that request id.
    Edit {
        id: u8,
        edit: Edit,
    },
    /// All items that are low, and one that need not be.
    Replenish {
        item: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let units = prop_oneof![0..5_u64, Just(60), Just(Quantity::MAX.units())];
    let items = prop_oneof![Just(1_u64), Just(2), Just(3), Just(10), Just(99)];
    let trades = prop::collection::vec((0..30_u8, items, side, units), 0..6);
    prop_oneof![
        12 => (trades, prop_oneof![9 => Just(0_u64), 1 => Just(1)], 0..3_u64)
            .prop_map(|(trades, behind, record)| Step::Decide { trades, behind, record }),
        1 => (0..8_u64).prop_map(|term| Step::Fence { term }),
        1 => Just(Step::Open),
        6 => (0..60_u8, edit()).prop_map(|(id, edit)| Step::Edit { id, edit }),
        1 => (1..12_u64).prop_map(|item| Step::Replenish { item }),
    ]
}

/// Names of items, some of which are taken.
fn names() -> impl Strategy<Value = ItemName> {
    (1..14_u64).prop_map(|number| name(&format!("item {number}")))
}

fn edit() -> impl Strategy<Value = Edit> {
    let units = || prop_oneof![0..5_u64, Just(60), Just(Quantity::MAX.units())].prop_map(quantity);
    let item = || {
        let expected = prop::option::weighted(0.3, (1..6_u64).prop_map(Version));
        ((1..14_u64).prop_map(ItemNumber), expected)
    };
    let new = (prop::option::of(4..14_u64), names(), any::<bool>(), units());
    let change = (item(), prop::option::of(names()), prop::option::of(units()));
    prop_oneof![
        new.prop_map(|(number, name, is_open, quantity)| Edit::Create(NewItem {
            number: number.map(ItemNumber),
            quantity,
            ..new_item(name, if is_open { "open" } else { "members" })
        })),
        change.prop_map(|((item, expected), name, quantity)| Edit::Change {
            item,
            expected,
            change: ItemChange {
                name,
                quantity,
                ..ItemChange::default()
            },
        }),
        (item(), units()).prop_map(|((item, expected), units)| Edit::Restock {
            item,
            expected,
            units
        }),
        item().prop_map(|(item, expected)| Edit::Remove { item, expected }),
    ]
}

/// An item to be, without a number and without stock.
pub(super) fn new_item(name: ItemName, shop: &str) -> NewItem {
    NewItem {
        number: None,
        name,
        shop: ShopName::new(shop).unwrap(),
        category: None,
        price: Money::from_cents(100).unwrap(),
        quantity: Quantity::default(),
        description: None,
        slogan: None,
    }
}

/// Makes `edit` under the request id of `id`.
pub(super) fn edited(state: &mut State, id: &str, edit: Edit) -> (EditOutcome, Vec<Invalidation>) {
    let (request, mut touched) = (RequestId::from_key(None, id), Vec::new());
    match state.apply(Command::Edit { request, edit }, &mut touched) {
        Answer::Edited(outcome) => (outcome.unwrap(), touched),
        other => panic!("{other:?}"),
    }
}

/// Has those of `items` restocked that are low.
pub(super) fn replenished(state: &mut State, items: &[u64]) -> Vec<Invalidation> {
    let (items, mut touched) = (items.iter().copied().map(ItemNumber).collect(), Vec::new());
    let answer = state.apply(Command::Replenish { items }, &mut touched);
    assert_eq!(answer, Answer::Replenished);
    touched
}

/// The units that came otherwise than by trades, less those that went, and the versions.
#[derive(Default)]
struct Beside(BTreeMap<ItemNumber, i128>);

impl Beside {
    /// Counts what `after` has more than `before`, of `number`.
    fn count(&mut self, number: ItemNumber, before: &State, after: &State) {
        let units = |state: &State| state.items.get(&number).map_or(0, |it| it.quantity.units());
        *self.0.entry(number).or_default() += i128::from(units(after)) - i128::from(units(before));
        let versions = |state: &State| state.items.get(&number).map_or(0, |it| it.version.0);
        assert_eq!(versions(after), versions(before) + 1);
        assert_eq!(after.edits, before.edits + 1);
    }
}

proptest! {
    #[test]
    fn no_history_oversells_doubles_or_leaves_a_gap(steps in prop::collection::vec(step(), 1..60)) {
        let mut state = opened();
        let mut booked = BTreeMap::<TradeSequence, Trade>::new();
        let mut beside = Beside::default();
        for shop in shops() {
            for item in shop.items {
                beside.0.insert(item.number, item.quantity.units().into());
            }
        }
        let mut answered = BTreeMap::<u8, (Edit, EditOutcome)>::new();
        for step in steps {
            match step {
                Step::Edit { id, edit } => {
                    let before = state.clone();
                    let (outcome, touched) = edited(&mut state, &id.to_string(), edit.clone());
                    if let Some((asked, first)) = answered.get(&id) {
                        let reused = Err(EditRefusal::KeyReused);
                        let expected = if *asked == edit { first } else { &reused };
                        prop_assert_eq!(&outcome, expected);
                        prop_assert_eq!(&state, &before);
                        continue;
                    }
                    answered.insert(id, (edit, outcome.clone()));
                    let Ok(item) = outcome else {
                        prop_assert_eq!((&state.items, &state.numbers), (&before.items, &before.numbers));
                        prop_assert_eq!((touched, state.edits), (vec![], before.edits));
                        continue;
                    };
                    beside.count(item.number, &before, &state);
                    // Caches are told under every name by which the item was known or is.
                    let told: BTreeSet<_> = touched.iter().map(|change| &change.name).collect();
                    let former = before.items.get(&item.number).map(|stock| &stock.item.name);
                    prop_assert_eq!(told, former.into_iter().chain([&item.name]).collect());
                    for change in &touched {
                        prop_assert_eq!((change.number, change.version), (item.number, item.version));
                    }
                }
                Step::Replenish { item } => {
                    let before = state.clone();
                    let touched = replenished(&mut state, &[item, 10]);
                    for change in touched {
                        beside.count(change.number, &before, &state);
                        prop_assert_eq!(state.items[&change.number].quantity, quantity(5));
                    }
                    prop_assert!(state.stocks().all(|stock| stock.item.number.0 != 10 || !state.is_low(stock)));
                }
                Step::Open => {
                    let before = state.clone();
                    prop_assert_eq!(state.missing(&shops()), vec![]);
                    let open = Command::Open { term: state.reign, shops: shops() };
                    state.apply(open, &mut Vec::new());
                    prop_assert_eq!(&state, &before);
                }
                Step::Fence { term } => {
                    let before = state.fence;
                    match fence(&mut state, term) {
                        Ok(fence) => prop_assert!(fence.token > before),
                        Err(_) => prop_assert!(term < before.term.0 && state.fence == before),
                    }
                }
                Step::Decide { trades, behind, record } => {
                    let mut token = state.fence;
                    token.epoch -= behind;
                    let recorded = TradeSequence((state.forgotten.0 + record).min(state.next.0));
                    let trades: Vec<_> = trades
                        .into_iter()
                        .map(|(id, item, side, units)| request(&id.to_string(), item, side, units))
                        .collect();
                    let before = state.clone();
                    let (outcome, touched) = decide(&mut state, token, recorded, trades.clone());
                    if behind > 0 {
                        prop_assert_eq!(outcome, Err(CatalogError::Fenced { by: state.fence }));
                        prop_assert_eq!(&state, &before);
                        continue;
                    }
                    let outcomes = outcome.unwrap();
                    prop_assert_eq!(outcomes.len(), trades.len());
                    let made = state.next.0 - before.next.0;
                    prop_assert_eq!(touched.len() as u64, made, "what is refused changes nothing");
                    for (request, outcome) in trades.iter().zip(outcomes) {
                        let Ok(trade) = outcome else { continue };
                        prop_assert_eq!(trade.request.request, request.request);
                        let first = booked.entry(trade.sequence).or_insert_with(|| trade.clone());
                        prop_assert_eq!(&*first, &trade);
                        // Sent again it is the same trade, and nothing happens.
                        let settled = state.clone();
                        let again = self::trade(&mut state, request.clone());
                        prop_assert_eq!(again, Ok(trade));
                        prop_assert_eq!(&state, &settled);
                    }
                }
            }
            assert_sound(&state);
        }
        prop_assert_eq!(booked.len() as u64, state.next.0, "sequence numbers have no gap");
        // The stock is what trades and edits say.
        prop_assert_eq!(state.items.len(), beside.0.len(), "no item is ever forgotten");
        for (number, mut units) in beside.0 {
            let stock = &state.items[&number];
            let trades = booked.values().filter(|trade| trade.item == number);
            for trade in trades.clone() {
                let traded = i128::from(trade.request.quantity.units());
                units += if trade.request.side == Side::Buy { -traded } else { traded };
            }
            prop_assert_eq!(i128::from(stock.quantity.units()), units);
            prop_assert_eq!(stock.version.0, 1 + stock.edits + trades.count() as u64);
            let found = state.lookup(&ItemKey::Number(number));
            prop_assert_eq!(found.is_none(), stock.removed);
            let by_name = state.lookup(&ItemKey::Name(stock.item.name.clone()));
            prop_assert!(stock.removed || by_name == found);
        }
    }
}

#[test]
fn a_log_that_the_catalog_does_not_belong_to_fences_nothing_and_vouches_for_nothing() {
    let mut state = State::default();
    let open = Command::Open {
        term: Term(1),
        shops: shops(),
    };
    state.apply(open, &mut Vec::new());
    assert!(!state.is_vouched_for());
    let before = state.clone();
    let ahead = state.fence(Term(1), TradeSequence(3)).unwrap();
    assert_eq!((ahead.token, ahead.next), (before.fence, TradeSequence(0)));
    assert_eq!(state, before, "a catalog that has lost its disk");
    state.fence(Term(1), TradeSequence(0)).unwrap();
    assert!(state.is_vouched_for());
    // One that has forgotten what the log has not.
    for id in ["a", "b"] {
        trade(&mut state, request(id, 1, Side::Buy, 1)).unwrap();
    }
    let token = state.fence;
    decide(&mut state, token, TradeSequence(2), vec![])
        .0
        .unwrap();
    let behind = state.fence(Term(2), TradeSequence(1)).unwrap();
    assert_eq!((behind.token, state.fence), (token, token));
    state.fence(Term(2), TradeSequence(2)).unwrap();
}

#[test]
fn caches_are_on_record_until_the_reign_that_rules_forgets_them() {
    let mut state = opened();
    let mut apply = |command| state.apply(command, &mut Vec::new());
    let holder = ServiceName::new(bazaar_rpc::ServiceKind::Frontend, 1);
    let (one, two) = (CacheId::fresh(), CacheId::fresh());
    for cache in [one, two, one] {
        let registered = apply(Command::Register { cache, holder });
        assert_eq!(registered, Answer::Registered(Ok(())));
    }
    let caches = vec![one];
    assert_eq!(
        apply(Command::begin(Term(2))),
        Answer::Opened { former: Term(1) }
    );
    let forget = |term| Command::Forget {
        term,
        caches: caches.clone(),
    };
    assert_eq!(apply(forget(Term(1))), Answer::Forgotten);
    assert_eq!(state.caches().count(), 2, "the reign that said so is over");
    state.apply(forget(Term(2)), &mut Vec::new());
    assert_eq!(state.caches().collect::<Vec<_>>(), [two]);
}

#[test]
fn only_so_many_caches_are_on_record() {
    let mut state = opened();
    let holder = ServiceName::new(bazaar_rpc::ServiceKind::Frontend, 1);
    let mut register = |cache| {
        let command = Command::Register { cache, holder };
        state.apply(command, &mut Vec::new())
    };
    let known = CacheId::fresh();
    for cache in (1..MAX_CACHES).map(|_| CacheId::fresh()).chain([known]) {
        assert_eq!(register(cache), Answer::Registered(Ok(())));
    }
    let refused = Answer::Registered(Err(CatalogError::Busy));
    assert_eq!(register(CacheId::fresh()), refused);
    assert_eq!(register(known), Answer::Registered(Ok(())));
}
