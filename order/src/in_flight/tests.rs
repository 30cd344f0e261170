use bazaar_rpc::{
    AmendRequest, Change, InvocationId, ItemKey, ItemNumber, OrderNumber, Quantity, Requester,
    Timestamp, TradeRequest, TradeSequence, UserId,
};
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::samples::{amendment, make, request, trade};

fn admit(
    in_flight: &mut InFlight,
    request: &TradeRequest,
) -> Result<(Admission, Receiver<Answer>), OrderError> {
    hand_in(in_flight, &Request::Trade(request.clone()))
}

fn hand_in(
    in_flight: &mut InFlight,
    request: &Request,
) -> Result<(Admission, Receiver<Answer>), OrderError> {
    let (waiter, answer) = oneshot::channel();
    Ok((in_flight.admit(request, waiter)?, answer))
}

fn order(number: u64) -> Order {
    Order {
        number: OrderNumber(number),
        trade: trade(number),
    }
}

#[test]
fn the_same_request_joins_and_all_get_one_answer() {
    let mut in_flight = InFlight::new(10);
    let (first, mut one) = admit(&mut in_flight, &request(1)).unwrap();
    let (second, mut other) = admit(&mut in_flight, &request(1)).unwrap();
    assert_eq!((first, second), (Admission::New, Admission::Joined));
    assert!(in_flight.begin(request(1).request).is_some());
    in_flight.recorded(order(1));
    assert_eq!(one.try_recv().unwrap(), Ok(order(1)));
    assert_eq!(other.try_recv().unwrap(), Ok(order(1)));
    assert!(in_flight.entries.is_empty());
}

#[test]
fn what_was_refused_stays_so_for_every_attempt_of_that_invocation() {
    let mut in_flight = InFlight::new(10);
    let again = TradeRequest {
        invocation: InvocationId::fresh(),
        ..request(1)
    };
    let (_, mut one) = admit(&mut in_flight, &request(1)).unwrap();
    let (_, mut other) = admit(&mut in_flight, &again).unwrap();
    in_flight.begin(request(1).request).unwrap();
    in_flight.refused(request(1).request, Refusal::StockFull);
    let refused = OrderError::Refused(Refusal::StockFull);
    for answer in [&mut one, &mut other] {
        assert_eq!(answer.try_recv().unwrap(), Err(refused.clone()));
    }
    for late in [request(1), again] {
        assert_eq!(admit(&mut in_flight, &late).unwrap_err(), refused);
    }
    let anew = TradeRequest {
        invocation: InvocationId::fresh(),
        ..request(1)
    };
    let (admission, _answer) = admit(&mut in_flight, &anew).unwrap();
    assert_eq!(admission, Admission::New);
    // What was not done for want of room, or of a leader, may be tried at once.
    in_flight.turned_away(anew.request, OrderError::Busy);
    let (admission, _answer) = admit(&mut in_flight, &anew).unwrap();
    assert_eq!(admission, Admission::New);
}

#[test]
fn another_request_under_the_same_id_is_refused_at_once() {
    let mut in_flight = InFlight::new(10);
    let (_, mut answer) = admit(&mut in_flight, &request(1)).unwrap();
    let other = TradeRequest {
        quantity: Quantity::new(11).unwrap(),
        ..request(1)
    };
    assert_eq!(
        admit(&mut in_flight, &other).unwrap_err(),
        OrderError::KeyReused
    );
    let other = TradeRequest {
        item: ItemKey::Name("BoarCo".to_string().try_into().unwrap()),
        ..request(1)
    };
    assert_eq!(
        admit(&mut in_flight, &other).unwrap_err(),
        OrderError::KeyReused
    );
    in_flight.recorded(order(1));
    assert_eq!(answer.try_recv().unwrap(), Ok(order(1)));
}

#[test]
fn a_number_and_a_name_are_compared_once_the_trade_is_made() {
    let mut in_flight = InFlight::new(10);
    let (_, _answer) = admit(&mut in_flight, &request(1)).unwrap();
    let numbered = TradeRequest {
        item: ItemKey::Number(ItemNumber(1)),
        ..request(1)
    };
    let busy = admit(&mut in_flight, &numbered).unwrap_err();
    assert_eq!(busy, OrderError::Busy);
    assert!(busy.is_retryable());
}

#[test]
fn an_order_of_another_request_under_the_same_id_is_no_answer() {
    let mut in_flight = InFlight::new(10);
    let (_, mut answer) = admit(&mut in_flight, &request(1)).unwrap();
    let other = TradeRequest {
        quantity: Quantity::new(11).unwrap(),
        ..request(1)
    };
    let trade = make(TradeSequence(0), other);
    in_flight.recorded(Order {
        number: OrderNumber(0),
        trade,
    });
    assert_eq!(answer.try_recv().unwrap(), Err(OrderError::KeyReused));
}

#[test]
fn a_request_is_sent_once_until_it_is_known_not_to_be_made() {
    let mut in_flight = InFlight::new(10);
    let id = request(1).request;
    let (_, _answer) = admit(&mut in_flight, &request(1)).unwrap();
    assert_eq!(in_flight.begin(id), Some(Request::Trade(request(1))));
    assert_eq!(in_flight.begin(id), None);
    assert!(in_flight.requeue(id));
    assert_eq!(in_flight.begin(id), Some(Request::Trade(request(1))));
    in_flight.recorded(order(1));
    assert!(!in_flight.requeue(id));
    assert_eq!(in_flight.begin(id), None);
}

#[test]
fn a_request_whose_callers_hung_up_goes_on_once_sent_and_is_dropped_before() {
    let mut in_flight = InFlight::new(10);
    let (_, answer) = admit(&mut in_flight, &request(1)).unwrap();
    drop(answer);
    assert_eq!(in_flight.begin(request(1).request), None);
    assert!(in_flight.entries.is_empty());

    let (_, answer) = admit(&mut in_flight, &request(2)).unwrap();
    assert!(in_flight.begin(request(2).request).is_some());
    drop(answer);
    let (admission, mut answer) = admit(&mut in_flight, &request(2)).unwrap();
    assert_eq!(admission, Admission::Joined);
    in_flight.recorded(order(2));
    assert_eq!(answer.try_recv().unwrap(), Ok(order(2)));
}

#[test]
fn requests_and_waiters_are_bounded() {
    let mut in_flight = InFlight::new(2);
    let first: Vec<_> = (0..MAX_WAITERS)
        .map(|_| admit(&mut in_flight, &request(0)).unwrap())
        .collect();
    assert_eq!(
        admit(&mut in_flight, &request(0)).unwrap_err(),
        OrderError::Busy
    );
    drop(first);
    admit(&mut in_flight, &request(0)).unwrap();
    admit(&mut in_flight, &request(1)).unwrap();
    assert_eq!(
        admit(&mut in_flight, &request(2)).unwrap_err(),
        OrderError::Busy
    );
}

#[test]
fn closing_tells_apart_what_may_have_been_made() {
    let mut in_flight = InFlight::new(10);
    let (_, mut queued) = admit(&mut in_flight, &request(1)).unwrap();
    let (_, mut sent) = admit(&mut in_flight, &request(2)).unwrap();
    in_flight.begin(request(2).request).unwrap();
    let reason = OrderError::NotLeader { leader: None };
    in_flight.close(&reason);
    assert_eq!(queued.try_recv().unwrap(), Err(reason.clone()));
    assert_eq!(sent.try_recv().unwrap(), Err(OrderError::Unknown));
    assert_eq!(admit(&mut in_flight, &request(3)).unwrap_err(), reason);
}

const OWNER: UserId = UserId(5);

/// The request, whose client sent `key`, that order 0 be for so many units; for none, that it be
/// cancelled.
fn amend(key: u64, to: u64) -> Request {
    let change = match to {
        0 => Change::Cancel,
        units => Change::Quantity(Quantity::new(units).unwrap()),
    };
    Request::Amend(AmendRequest {
        request: request(key).request,
        invocation: InvocationId::fresh(),
        order: OrderNumber(0),
        requester: Requester {
            user: OWNER,
            is_admin: false,
        },
        change,
        received: Timestamp(0),
    })
}

/// The record of the amendment whose client sent `key`.
fn amended(key: u64, from: u64, to: u64) -> Order {
    Order {
        number: OrderNumber(key),
        trade: make(TradeSequence(key), amendment(key, 0, OWNER, from, to)),
    }
}

#[test]
fn of_two_amendments_of_an_order_the_second_waits_until_the_first_is_recorded() {
    let mut in_flight = InFlight::new(10);
    let (_, mut first) = hand_in(&mut in_flight, &amend(1, 0)).unwrap();
    let (_, mut second) = hand_in(&mut in_flight, &amend(2, 3)).unwrap();
    let ids = [1, 2].map(|key| request(key).request);
    assert_eq!(in_flight.begin(ids[0]).unwrap().id(), ids[0]);
    assert_eq!(in_flight.begin(ids[1]), None);
    // Whoever asked for the first one has hung up: it is under way all the same.
    first.close();
    assert_eq!(in_flight.ready(), []);
    in_flight.recorded(amended(1, 10, 0));
    assert_eq!(in_flight.ready(), [ids[1]]);
    assert_eq!(in_flight.begin(ids[1]).unwrap().id(), ids[1]);
    in_flight.turned_away(ids[1], OrderError::Busy);
    assert_eq!(second.try_recv().unwrap(), Err(OrderError::Busy));
    assert!(in_flight.entries.is_empty());
}

#[test]
fn whatever_becomes_of_an_amendment_the_next_one_goes_on() {
    let ids = [1, 2].map(|key| request(key).request);
    let ends: [fn(&mut InFlight); 5] = [
        |it| it.recorded(amended(1, 10, 0)),
        |it| it.refused(request(1).request, Refusal::StockFull),
        |it| it.turned_away(request(1).request, OrderError::UnknownOrder(OrderNumber(0))),
        |it| it.stands(request(1).request, order(0)),
        |it| assert!(it.requeue(request(1).request)),
    ];
    for end in ends {
        let mut in_flight = InFlight::new(10);
        let _answers = [1, 2].map(|key| hand_in(&mut in_flight, &amend(key, 0)).unwrap());
        assert!(in_flight.begin(ids[0]).is_some());
        assert_eq!(in_flight.begin(ids[1]), None);
        end(&mut in_flight);
        assert_eq!(in_flight.ready(), [ids[1]]);
        assert!(in_flight.begin(ids[1]).is_some());
    }
}

#[test]
fn an_amendment_that_waits_in_vain_does_not_take_the_turn() {
    let mut in_flight = InFlight::new(10);
    let _first = hand_in(&mut in_flight, &amend(1, 0)).unwrap();
    let (_, given_up) = hand_in(&mut in_flight, &amend(2, 0)).unwrap();
    let _third = hand_in(&mut in_flight, &amend(3, 0)).unwrap();
    let ids = [1, 2, 3].map(|key| request(key).request);
    assert!(in_flight.begin(ids[0]).is_some());
    assert_eq!(in_flight.begin(ids[1]), None);
    assert_eq!(in_flight.begin(ids[2]), None);
    drop(given_up);
    in_flight.refused(ids[0], Refusal::StockFull);
    let begun: Vec<_> = (in_flight.ready().into_iter())
        .filter_map(|id| in_flight.begin(id))
        .map(|request| request.id())
        .collect();
    assert_eq!(begun, [ids[2]]);
}

#[test]
fn an_amendment_is_compared_by_what_was_asked_for() {
    let mut in_flight = InFlight::new(10);
    let (_, mut one) = hand_in(&mut in_flight, &amend(1, 3)).unwrap();
    let (joined, mut other) = hand_in(&mut in_flight, &amend(1, 3)).unwrap();
    assert_eq!(joined, Admission::Joined);
    for reused in [amend(1, 0), amend(1, 4), Request::Trade(request(1))] {
        let refused = hand_in(&mut in_flight, &reused).unwrap_err();
        assert_eq!(refused, OrderError::KeyReused);
    }
    // Whatever the order was before.
    in_flight.recorded(amended(1, 7, 3));
    for answer in [&mut one, &mut other] {
        assert_eq!(answer.try_recv().unwrap(), Ok(amended(1, 7, 3)));
    }
    for recorded in [amended(1, 7, 2), order(1)] {
        let (_, mut answer) = hand_in(&mut in_flight, &amend(1, 3)).unwrap();
        in_flight.recorded(recorded);
        assert_eq!(answer.try_recv().unwrap(), Err(OrderError::KeyReused));
    }
    let (_, mut answer) = admit(&mut in_flight, &request(1)).unwrap();
    in_flight.recorded(amended(1, 7, 3));
    assert_eq!(answer.try_recv().unwrap(), Err(OrderError::KeyReused));
}
