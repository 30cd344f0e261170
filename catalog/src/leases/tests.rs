use std::collections::BTreeMap;

use bazaar_rpc::{ItemName, ServiceKind, Version};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const LENGTH: Duration = Duration::from_millis(100);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn holder(id: u64) -> ServiceName {
    ServiceName::new(ServiceKind::Frontend, id)
}

fn change(number: u64, version: u64) -> Invalidation {
    let name = ItemName::new(&number.to_string()).unwrap();
    Invalidation {
        number: ItemNumber(number),
        name,
        version: Version(version),
    }
}

/// A table whose leader has led for long enough.
fn table() -> (Leases, Instant) {
    let mut leases = Leases::new(LENGTH);
    let start = Instant::now();
    leases.begin(Term(1), 7, start);
    (leases, start + LENGTH)
}

#[test]
fn without_leases_everything_settles_at_once() {
    let mut leases = Leases::new(LENGTH);
    let now = Instant::now();
    let ticket = leases.touch(vec![change(1, 1)], now);
    assert_eq!((ticket, leases.settle(now)), (leases.latest(), ticket));
    assert_eq!(leases.next_expiry(now), None);
}

#[test]
fn a_new_leader_settles_nothing_for_one_lease_length() {
    let mut leases = Leases::new(LENGTH);
    let now = Instant::now();
    let before = leases.begin(Term(1), 0, now);
    let trade = leases.touch(vec![change(1, 1)], now + ms(10));
    assert!(leases.settle(now + ms(99)) < before);
    assert_eq!(leases.next_expiry(now + ms(99)), Some(now + LENGTH));
    assert_eq!(leases.settle(now + LENGTH), trade);
}

#[test]
fn a_ticket_is_settled_when_every_live_lease_has_acknowledged_it() {
    let (mut leases, now) = table();
    let one = leases.grant(holder(1), now).unwrap();
    let two = leases.grant(holder(2), now).unwrap();
    assert_ne!(one, two);
    let before = leases.settle(now);
    let ticket = leases.touch(vec![change(1, 1)], now);
    leases.acknowledge(one, ticket, now);
    assert_eq!(leases.settle(now), before);
    leases.acknowledge(two, ticket, now);
    assert_eq!(leases.settle(now), ticket);
}

#[test]
fn a_lease_that_runs_out_settles_what_it_never_acknowledged() {
    let (mut leases, now) = table();
    let id = leases.grant(holder(1), now).unwrap();
    let ticket = leases.touch(vec![change(1, 1)], now);
    assert!(leases.settle(now + ms(99)) < ticket);
    assert_eq!(leases.next_expiry(now), Some(now + LENGTH));
    assert_eq!(leases.settle(now + LENGTH), ticket);
    assert_eq!(leases.renew(id, holder(1), now + LENGTH), Renewal::Unknown);
    assert_ne!(leases.grant(holder(1), now + LENGTH), Some(id));
}

#[test]
fn a_lease_is_not_renewed_while_an_invalidation_is_older_than_half_its_length() {
    let (mut leases, now) = table();
    let id = leases.grant(holder(1), now).unwrap();
    let ticket = leases.touch(vec![change(1, 1)], now);
    let newer = leases.touch(vec![change(2, 1)], now + ms(40));
    assert_eq!(leases.renew(id, holder(1), now + ms(50)), Renewal::Renewed);
    assert_eq!(leases.renew(id, holder(1), now + ms(51)), Renewal::Overdue);
    leases.acknowledge(id, ticket, now + ms(60));
    assert_eq!(leases.renew(id, holder(1), now + ms(60)), Renewal::Renewed);
    assert_eq!(leases.renew(id, holder(1), now + ms(91)), Renewal::Overdue);
    leases.acknowledge(id, newer, now + ms(95));
    assert_eq!(leases.renew(id, holder(1), now + ms(95)), Renewal::Renewed);
}

#[test]
fn a_lease_is_renewed_for_its_holder_alone_and_only_while_connected() {
    let (mut leases, now) = table();
    let id = leases.grant(holder(1), now).unwrap();
    assert_eq!(leases.renew(id, holder(2), now), Renewal::Unknown);
    leases.disconnect(id);
    assert_eq!(leases.renew(id, holder(1), now), Renewal::Unknown);
    // It may still be served from, and so it still counts.
    let ticket = leases.touch(vec![change(1, 1)], now);
    let another = leases.grant(holder(1), now).unwrap();
    leases.acknowledge(another, ticket, now);
    assert!(leases.settle(now) < ticket);
    assert_eq!(leases.settle(now + LENGTH), ticket);
}

#[test]
fn leases_of_two_reigns_never_share_an_id() {
    let (mut leases, now) = table();
    let first = leases.grant(holder(1), now).unwrap();
    leases.begin(Term(1), 1 << 40, now);
    let second = leases.grant(holder(1), now).unwrap();
    leases.begin(Term(2), 7, now);
    let third = leases.grant(holder(1), now).unwrap();
    assert!(first != second && second != third && first != third);
    assert_eq!(leases.renew(first, holder(1), now), Renewal::Unknown);
}

#[test]
fn what_waits_goes_out_together_and_each_item_once_in_its_newest_version() {
    let (mut leases, now) = table();
    let id = leases.grant(holder(1), now).unwrap();
    let from = leases.latest();
    assert_eq!(leases.push(id, from), None);
    leases.touch(vec![change(1, 1), change(2, 1)], now);
    let upto = leases.touch(vec![change(1, 2), change(1, 3)], now);
    let items = vec![change(1, 3), change(2, 1)];
    assert_eq!(leases.push(id, from), Some(Push { upto, items }));
    assert_eq!(leases.push(id, upto), None);
}

#[test]
fn a_push_is_bounded_and_nothing_is_left_out_of_a_sequence_of_them() {
    let (mut leases, now) = table();
    let id = leases.grant(holder(1), now).unwrap();
    let mut told = leases.latest();
    let changes = (0..3 * MAX_ITEMS as u64 + 1)
        .map(|number| change(number, 1))
        .collect();
    let last = leases.touch(changes, now);
    let mut numbers = Vec::new();
    while let Some(push) = leases.push(id, told) {
        assert!(push.items.len() <= MAX_ITEMS && push.upto > told);
        numbers.extend(push.items.iter().map(|item| item.number.0));
        told = push.upto;
    }
    assert_eq!(told, last);
    assert_eq!(numbers, (0..3 * MAX_ITEMS as u64 + 1).collect::<Vec<_>>());
}

#[test]
fn there_are_only_so_many_leases() {
    let (mut leases, now) = table();
    for id in 1..=MAX_LEASES as u64 {
        leases.grant(holder(id), now).unwrap();
    }
    assert_eq!(leases.grant(holder(1), now), None);
    leases.grant(holder(1), now + LENGTH).unwrap();
}

/// A step of an adversary who decides when time passes, when messages arrive, and which are lost.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Touch,
    Request(u64),
    Serve(Index),
    Grant(Index),
    Push(Index),
    Invalidate(Index),
    Acknowledge(Index),
    Disconnect(Index),
    Begin,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>();
    prop_oneof![
        4 => (1..40_u64).prop_map(Step::Pass),
        4 => Just(Step::Touch),
        4 => (1..4_u64).prop_map(Step::Request),
        6 => index.prop_map(Step::Serve),
        6 => any::<Index>().prop_map(Step::Grant),
        6 => any::<Index>().prop_map(Step::Push),
        6 => any::<Index>().prop_map(Step::Invalidate),
        6 => any::<Index>().prop_map(Step::Acknowledge),
        1 => any::<Index>().prop_map(Step::Disconnect),
        1 => Just(Step::Begin),
    ]
}

/// The table, the holders and every message between them.
struct World {
    start: Instant,
    now: Instant,
    term: u64,
    leases: Leases,
    /// Requests on their way: who sent one, when, and what it held.
    requests: Vec<(u64, Instant, Option<LeaseId>)>,
    /// Grants on their way: to whom, of what, for a request sent when, as new as which ticket.
    grants: Vec<(u64, LeaseId, Instant, Ticket)>,
    /// What each holder goes by: a lease, until when, and up to which ticket it has been told.
    held: BTreeMap<u64, (LeaseId, Instant, Ticket)>,
    /// The pushers, each with a connection that keeps order, and what is on its way on it.
    pushers: BTreeMap<LeaseId, Pusher>,
}

struct Pusher {
    holder: u64,
    told: Ticket,
    pushes: VecDeque<Ticket>,
    acknowledgements: VecDeque<Ticket>,
}

fn pick<'a, K: Copy + Ord, V>(
    map: &'a mut BTreeMap<K, V>,
    index: &Index,
) -> Option<(K, &'a mut V)> {
    let at = (!map.is_empty()).then(|| index.index(map.len()))?;
    map.iter_mut().nth(at).map(|(key, value)| (*key, value))
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        let mut leases = Leases::new(LENGTH);
        leases.begin(Term(1), 0, start);
        Self {
            start,
            now: start,
            term: 1,
            leases,
            requests: Vec::new(),
            grants: Vec::new(),
            held: BTreeMap::new(),
            pushers: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Pass(passed) => self.now += ms(passed),
            Step::Touch => {
                self.leases
                    .touch(vec![change(1, self.leases.latest().0 + 1)], now);
            }
            Step::Request(holder) => {
                let held = self.held.get(&holder).map(|(lease, ..)| *lease);
                self.requests.push((holder, now, held));
            }
            Step::Serve(index) if !self.requests.is_empty() => {
                let at = index.index(self.requests.len());
                let (id, sent, held) = self.requests.swap_remove(at);
                let renewal = held.map(|held| (held, self.leases.renew(held, holder(id), now)));
                let latest = self.leases.latest();
                match renewal {
                    Some((held, Renewal::Renewed)) => self.grants.push((id, held, sent, latest)),
                    Some((_, Renewal::Overdue)) => {}
                    Some((_, Renewal::Unknown)) | None => {
                        let lease = self.leases.grant(holder(id), now).unwrap();
                        let (pushes, acknowledgements) = Default::default();
                        let pusher = Pusher {
                            holder: id,
                            told: latest,
                            pushes,
                            acknowledgements,
                        };
                        self.pushers.insert(lease, pusher);
                        self.grants.push((id, lease, sent, latest));
                    }
                }
            }
            Step::Grant(index) if !self.grants.is_empty() => {
                let (id, lease, sent, as_of) =
                    self.grants.swap_remove(index.index(self.grants.len()));
                let until = sent + LENGTH;
                match self.held.get_mut(&id) {
                    Some((held, known, _)) if *held == lease => *known = until.max(*known),
                    // What it was told before the grant came counts too: it is told by lease.
                    _ => {
                        self.held.insert(id, (lease, until, as_of));
                    }
                }
            }
            Step::Push(index) => {
                if let Some((lease, pusher)) = pick(&mut self.pushers, &index)
                    && let Some(push) = self.leases.push(lease, pusher.told)
                {
                    pusher.told = push.upto;
                    pusher.pushes.push_back(push.upto);
                }
            }
            Step::Invalidate(index) => {
                if let Some((lease, pusher)) = pick(&mut self.pushers, &index)
                    && let Some(upto) = pusher.pushes.pop_front()
                {
                    // It is told by lease: by the one that it goes by, and by one whose grant is
                    // still on its way, under which it may come to go again.
                    if let Some((held, _, told)) = self.held.get_mut(&pusher.holder)
                        && *held == lease
                    {
                        *told = upto.max(*told);
                    }
                    for (_, grant, _, as_of) in &mut self.grants {
                        if *grant == lease {
                            *as_of = upto.max(*as_of);
                        }
                    }
                    pusher.acknowledgements.push_back(upto);
                }
            }
            Step::Acknowledge(index) => {
                if let Some((lease, pusher)) = pick(&mut self.pushers, &index)
                    && let Some(upto) = pusher.acknowledgements.pop_front()
                {
                    self.leases.acknowledge(lease, upto, now);
                }
            }
            Step::Disconnect(index) => {
                if let Some((lease, _)) = pick(&mut self.pushers, &index) {
                    self.leases.disconnect(lease);
                    self.pushers.remove(&lease);
                }
            }
            Step::Begin => {
                // Requests that the former leader confirmed are answered before the new one leads.
                self.term += 1;
                self.leases.begin(Term(self.term), 0, now);
                self.pushers.clear();
            }
            Step::Serve(_) | Step::Grant(_) => {}
        }
    }

    /// What is settled is known to everybody who may still serve from a cache.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let settled = self.leases.settle(self.now);
        for (holder, (lease, until, told)) in &self.held {
            prop_assert!(
                self.now >= *until || *told >= settled,
                "after {:?}: {settled:?} is settled, frontend {holder} holds {lease:?} until {:?} \
                 and was told {told:?}",
                self.now - self.start,
                *until - self.start,
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_settles_that_a_live_cache_may_not_know(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check()?;
        }
    }

    #[test]
    fn everything_settles_within_one_and_a_half_lengths_whatever_the_holders_do(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        let mut given = VecDeque::from([(world.leases.latest(), world.now)]);
        for step in steps {
            let begins = matches!(step, Step::Begin);
            world.step(step);
            if begins {
                // The wait of a new leader starts anew.
                given.iter_mut().for_each(|(_, at)| *at = world.now);
            }
            if given.back().is_some_and(|(ticket, _)| *ticket < world.leases.latest()) {
                given.push_back((world.leases.latest(), world.now));
            }
            let settled = world.leases.settle(world.now);
            while given.front().is_some_and(|(ticket, _)| *ticket <= settled) {
                given.pop_front();
            }
            if let Some((ticket, at)) = given.front() {
                let waited = world.now - *at;
                prop_assert!(waited < LENGTH * 3 / 2, "{ticket:?} has waited {waited:?}");
            }
        }
    }
}
