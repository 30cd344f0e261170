//! A model of a leader's work on amendments: whatever is asked in whichever order, is refused or lost
//! and sent again, and whoever hangs up, amendments follow from one another.

use std::collections::VecDeque;

use bazaar_rpc::{
    AmendRequest, Change, InvocationId, OrderNumber, OrderState, Quantity, Requester, Timestamp,
    TradeRequest, TradeSequence, UserId,
};
use proptest::prelude::*;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::amend::{Plan, plan};
use crate::samples::{make, request};

const OWNER: UserId = UserId(5);

/// The orders that are amended: the first ones of the log.
const ORDERS: u64 = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody asks, under a key, that an order be for so many units.
    Ask { key: u64, order: u64, to: u64 },
    /// One of those who wait hangs up.
    HangUp(usize),
    /// The sequencer takes the next request up.
    Work,
    /// One of the trades that were sent is made and recorded,
    Record(usize),
    /// is refused,
    Refuse(usize),
    /// or was lost on the way, and is to be sent again.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u64, 0..ORDERS, 0..4_u64).prop_map(|(key, order, to)| Step::Ask { key, order, to }),
        1 => any::<usize>().prop_map(Step::HangUp),
        6 => Just(Step::Work),
        3 => any::<usize>().prop_map(Step::Record),
        1 => any::<usize>().prop_map(Step::Refuse),
        1 => any::<usize>().prop_map(Step::Lose),
    ]
}

struct Model {
    log: Vec<Order>,
    in_flight: InFlight,
    queue: VecDeque<RequestId>,
    /// What is with the catalog.
    sent: Vec<TradeRequest>,
    waiters: Vec<(AmendRequest, Receiver<Answer>)>,
}

impl Model {
    /// A log of orders for one unit each.
    fn new() -> Self {
        let placed = |number| Order {
            number: OrderNumber(number),
            trade: make(
                TradeSequence(number),
                TradeRequest {
                    user: Some(OWNER),
                    quantity: Quantity::new(1).unwrap(),
                    ..request(1000 + number)
                },
            ),
        };
        Self {
            log: (0..ORDERS).map(placed).collect(),
            in_flight: InFlight::new(100),
            queue: VecDeque::new(),
            sent: Vec::new(),
            waiters: Vec::new(),
        }
    }

    fn state(&self, order: OrderNumber) -> OrderState {
        let is_of = |record: &&Order| {
            let amends = record.trade.request.amends;
            amends.is_some_and(|amendment| amendment.order == order)
        };
        OrderState {
            original: self.log[usize::try_from(order.0).unwrap()].clone(),
            history: self.log.iter().filter(is_of).cloned().collect(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask { key, order, to } => self.ask(key, OrderNumber(order), to),
            Step::HangUp(which) => {
                if let Some(place) = pick(which, self.waiters.len()) {
                    self.waiters.remove(place);
                }
            }
            Step::Work => self.work(),
            Step::Record(which) => {
                if let Some(place) = pick(which, self.sent.len()) {
                    let trade = self.sent.remove(place);
                    self.record(trade);
                }
            }
            Step::Refuse(which) => {
                if let Some(place) = pick(which, self.sent.len()) {
                    let id = self.sent.remove(place).request;
                    self.in_flight.refused(id, Refusal::StockFull);
                }
            }
            Step::Lose(which) => {
                if let Some(place) = pick(which, self.sent.len()) {
                    let id = self.sent.remove(place).request;
                    if self.in_flight.requeue(id) {
                        self.queue.push_front(id);
                    }
                }
            }
        }
    }

    fn ask(&mut self, key: u64, order: OrderNumber, to: u64) {
        let change = match to {
            0 => Change::Cancel,
            units => Change::Quantity(Quantity::new(units).unwrap()),
        };
        let amend = AmendRequest {
            request: request(key).request,
            invocation: InvocationId::fresh(),
            order,
            requester: Requester {
                user: OWNER,
                is_admin: false,
            },
            change,
            received: Timestamp(0),
        };
        let (waiter, answer) = tokio::sync::oneshot::channel();
        match self.in_flight.admit(&Request::Amend(amend), waiter) {
            Ok(Admission::New) => self.queue.push_back(amend.request),
            Ok(Admission::Joined) => {}
            Err(error) => return assert_eq!(error, OrderError::KeyReused),
        }
        self.waiters.push((amend, answer));
    }

    /// As the sequencer does.
    fn work(&mut self) {
        self.queue.extend(self.in_flight.ready());
        let Some(id) = self.queue.pop_front() else {
            return;
        };
        let Some(Request::Amend(amend)) = self.in_flight.begin(id) else {
            return;
        };
        let recorded = (self.log.iter()).find(|order| order.trade.request.request == id);
        if let Some(order) = recorded {
            return self.in_flight.recorded(order.clone());
        }
        match plan(&amend, Some(self.state(amend.order))) {
            Ok(Plan::Trade(trade)) => self.sent.push(trade),
            Ok(Plan::Nothing { last }) => self.in_flight.stands(id, last),
            Err(error) => self.in_flight.turned_away(id, error),
        }
    }

    fn record(&mut self, trade: TradeRequest) {
        let amendment = trade.amends.unwrap();
        let present = self.state(amendment.order).quantity();
        assert_eq!(amendment.from, present, "nothing came in between");
        let number = OrderNumber(self.log.len() as u64);
        let trade = make(TradeSequence(number.0), trade);
        self.log.push(Order { number, trade });
        self.in_flight.recorded(self.log.last().unwrap().clone());
    }

    /// Lets everything come to its end, and holds the answers against the log.
    fn end(mut self) {
        for _ in 0..1_000 {
            self.take(Step::Work);
            self.take(Step::Record(0));
        }
        assert!(self.queue.is_empty() && self.sent.is_empty());
        assert!(self.in_flight.entries.is_empty() && self.in_flight.ready().is_empty());
        for (amend, mut answer) in std::mem::take(&mut self.waiters) {
            match answer.try_recv().expect("everybody is answered") {
                Ok(last) => {
                    let left = self.state(amend.order).as_of(last.number);
                    assert_eq!((left.last(), left.quantity()), (&last, amend.change.to()));
                }
                Err(
                    OrderError::Unchangeable(_) | OrderError::Refused(_) | OrderError::KeyReused,
                ) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let turn = self
            .in_flight
            .turns
            .take(OrderNumber(0), request(0).request);
        assert_eq!(turn, Turn::Now, "nobody has kept the turn");
    }
}

/// One of so many.
fn pick(which: usize, of: usize) -> Option<usize> {
    which.checked_rem(of)
}

proptest! {
    #[test]
    fn amendments_follow_from_one_another_whatever_happens(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
            let mut orders: Vec<_> =
                model.sent.iter().map(|trade| trade.amends.unwrap().order).collect();
            orders.sort();
            orders.dedup();
            prop_assert_eq!(orders.len(), model.sent.len(), "one an order is under way");
        }
        model.end();
    }
}
