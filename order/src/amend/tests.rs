use bazaar_rpc::{
    Change, InvocationId, OrderNumber, OrderStatus, RequestId, Requester, Side, Timestamp,
    TradeSequence, UserId,
};
use proptest::prelude::*;

use super::*;
use crate::samples::{make, request};

const OWNER: UserId = UserId(5);

fn units(units: u64) -> Quantity {
    Quantity::new(units).unwrap()
}

/// Order 0, which trades ten units.
fn placed(side: Side) -> OrderState {
    let request = TradeRequest {
        side,
        user: Some(OWNER),
        ..request(0)
    };
    let original = Order {
        number: OrderNumber(0),
        trade: make(TradeSequence(0), request),
    };
    OrderState {
        original,
        history: Vec::new(),
    }
}

fn amend(change: Change) -> AmendRequest {
    AmendRequest {
        request: RequestId::fresh(),
        invocation: InvocationId::fresh(),
        order: OrderNumber(0),
        requester: Requester {
            user: OWNER,
            is_admin: false,
        },
        change,
        received: Timestamp(0),
    }
}

/// Plans `change`, and makes what is planned.
fn make_of(state: &mut OrderState, change: Change) -> Result<Plan, OrderError> {
    let plan = plan(&amend(change), Some(state.clone()))?;
    if let Plan::Trade(trade) = &plan {
        let number = state.last().number.next();
        let trade = make(TradeSequence(number.0), trade.clone());
        state.history.push(Order { number, trade });
    }
    Ok(plan)
}

fn unchangeable(reason: Unchangeable) -> Result<Plan, OrderError> {
    Err(OrderError::Unchangeable(reason))
}

#[test]
fn an_order_goes_through_updates_to_its_cancel_and_no_further() {
    let mut state = placed(Side::Buy);
    assert_eq!(state.status(), OrderStatus::Placed);
    for (to, side, difference) in [(12, Side::Buy, 2), (3, Side::Sell, 9)] {
        let Plan::Trade(trade) = make_of(&mut state, Change::Quantity(units(to))).unwrap() else {
            panic!("{to} is another quantity");
        };
        assert_eq!((trade.side, trade.quantity), (side, units(difference)));
        assert_eq!(
            (trade.user, trade.item),
            (Some(OWNER), ItemKey::Number(state.original.trade.item))
        );
        assert_eq!(
            (state.status(), state.quantity()),
            (OrderStatus::Updated, units(to))
        );
    }
    assert_eq!(state.total().cents(), 3 * 1599);
    make_of(&mut state, Change::Cancel).unwrap();
    assert_eq!(
        (state.status(), state.quantity()),
        (OrderStatus::Cancelled, units(0))
    );
    let last = state.last().clone();
    assert_eq!(
        make_of(&mut state, Change::Cancel),
        Ok(Plan::Nothing { last })
    );
    let update = make_of(&mut state, Change::Quantity(units(3)));
    assert_eq!(update, unchangeable(Unchangeable::Cancelled));
    assert_eq!(state.clone().as_of(OrderNumber(1)).quantity(), units(12));
    assert_eq!(state.as_of(OrderNumber(0)), placed(Side::Buy));
}

#[test]
fn a_sale_is_cancelled_by_taking_its_units_back_out() {
    let mut state = placed(Side::Sell);
    let Plan::Trade(trade) = make_of(&mut state, Change::Cancel).unwrap() else {
        panic!("it is for ten");
    };
    assert_eq!((trade.side, trade.quantity), (Side::Buy, units(10)));
}

#[test]
fn an_order_is_its_owners_and_an_admins_to_change() {
    let cancel = amend(Change::Cancel);
    let by = |user, is_admin| AmendRequest {
        requester: Requester { user, is_admin },
        ..cancel
    };
    let unknown = Err(OrderError::UnknownOrder(OrderNumber(0)));
    let state = || Some(placed(Side::Buy));
    assert_eq!(plan(&by(UserId(6), false), state()), unknown);
    assert_eq!(plan(&cancel, None), unknown);
    for admin in [by(UserId(6), true), by(OWNER, true)] {
        let Ok(Plan::Trade(trade)) = plan(&admin, state()) else {
            panic!("an admin may");
        };
        assert_eq!(trade.user, Some(OWNER), "it stays the owner's");
    }
    let mut nobodys = placed(Side::Buy);
    nobodys.original.trade.request.user = None;
    for requester in [cancel, by(OWNER, true)] {
        let refused = plan(&requester, Some(nobodys.clone()));
        assert_eq!(refused, unchangeable(Unchangeable::NoAccount));
    }
}

#[test]
fn an_update_to_nothing_is_an_order_that_no_shop_takes() {
    let nothing = amend(Change::Quantity(units(0)));
    let Ok(Plan::Trade(trade)) = plan(&nothing, Some(placed(Side::Buy))) else {
        panic!("the catalog is to say why");
    };
    assert_eq!((trade.quantity, trade.amends), (units(0), None));
    assert_eq!((trade.user, trade.request), (Some(OWNER), nothing.request));
    let mut state = placed(Side::Buy);
    make_of(&mut state, Change::Cancel).unwrap();
    let refused = plan(&nothing, Some(state));
    assert_eq!(refused, unchangeable(Unchangeable::Cancelled));
}

#[test]
fn updates_are_bounded_and_leave_room_for_a_cancel() {
    let mut state = placed(Side::Buy);
    for n in 0..MAX_UPDATES as u64 {
        make_of(&mut state, Change::Quantity(units(1 + n % 2))).unwrap();
    }
    let once_more = make_of(&mut state, Change::Quantity(units(7)));
    assert_eq!(once_more, unchangeable(Unchangeable::TooOften));
    make_of(&mut state, Change::Cancel).unwrap();
    assert_eq!(state.status(), OrderStatus::Cancelled);
}

proptest! {
    /// However an order is changed, the units that its trades move are the units that it is for.
    #[test]
    fn what_is_traded_adds_up_to_what_the_order_is_for(
        sells in any::<bool>(),
        wishes in prop::collection::vec(0..6_u64, 0..30),
    ) {
        let side = if sells { Side::Sell } else { Side::Buy };
        let mut state = placed(side);
        for wish in wishes {
            let change = if wish == 0 { Change::Cancel } else { Change::Quantity(units(wish)) };
            let was_cancelled = state.status() == OrderStatus::Cancelled;
            match make_of(&mut state, change) {
                Ok(_) => prop_assert_eq!(state.quantity(), change.to()),
                Err(error) => {
                    prop_assert!(was_cancelled);
                    prop_assert_eq!(error, OrderError::Unchangeable(Unchangeable::Cancelled));
                }
            }
        }
        let records = std::iter::once(&state.original).chain(&state.history);
        let moved: i64 = records
            .map(|order| &order.trade.request)
            .map(|one| one.quantity.units() as i64 * if one.side == side { 1 } else { -1 })
            .sum();
        prop_assert_eq!(moved, state.quantity().units() as i64);
    }
}
