use bazaar_rpc::{ItemName, Version};

use super::*;

pub(super) const LENGTH: Duration = Duration::from_millis(100);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The cache of that number.
pub(super) fn holder(id: u64) -> CacheId {
    serde_json::from_str(&format!("\"00000000-0000-4000-8000-{id:012x}\"")).unwrap()
}

pub(super) fn change(number: u64, version: u64) -> Invalidation {
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
    leases.begin(Term(1), 7, None, start);
    (leases, start + LENGTH)
}

/// Grants `cache` a lease, with all that has to happen before.
fn grant(leases: &mut Leases, cache: CacheId, now: Instant) -> Option<LeaseId> {
    let admission = leases.admit(cache, now);
    leases.grant(cache, admission, now)
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
fn a_leader_that_knows_nothing_of_former_leases_settles_nothing_for_one_length() {
    let mut leases = Leases::new(LENGTH);
    let now = Instant::now();
    let before = leases.begin(Term(1), 0, None, now);
    let trade = leases.touch(vec![change(1, 1)], now + ms(10));
    assert!(leases.settle(now + ms(99)) < before);
    assert_eq!(leases.next_expiry(now + ms(99)), Some(now + LENGTH));
    assert_eq!(leases.settle(now + LENGTH), trade);
}

#[test]
fn a_ticket_is_settled_when_every_live_lease_has_acknowledged_it() {
    let (mut leases, now) = table();
    let one = grant(&mut leases, holder(1), now).unwrap();
    let two = grant(&mut leases, holder(2), now).unwrap();
    assert_ne!(one, two);
    let before = leases.settle(now);
    let ticket = leases.touch(vec![change(1, 1)], now);
    leases.acknowledge(one, ticket, now);
    assert_eq!(leases.settle(now), before);
    leases.acknowledge(two, ticket, now);
    assert_eq!(leases.settle(now), ticket);
}

#[test]
fn an_item_that_was_renamed_is_pushed_under_both_names() {
    let (mut leases, now) = table();
    let id = grant(&mut leases, holder(1), now).unwrap();
    let from = leases.latest();
    let renamed = Invalidation {
        name: ItemName::new("other").unwrap(),
        ..change(1, 2)
    };
    leases.touch(vec![change(1, 1), change(1, 2), renamed.clone()], now);
    leases.touch(vec![change(1, 3)], now);
    let push = leases.push(id, from).unwrap();
    assert_eq!(push.items, [change(1, 3), renamed]);
}

#[test]
fn a_lease_that_runs_out_settles_what_it_never_acknowledged() {
    let (mut leases, now) = table();
    let id = grant(&mut leases, holder(1), now).unwrap();
    let ticket = leases.touch(vec![change(1, 1)], now);
    assert!(leases.settle(now + ms(99)) < ticket);
    assert_eq!(leases.next_expiry(now), Some(now + LENGTH));
    assert_eq!(leases.settle(now + LENGTH), ticket);
    assert_eq!(leases.renew(id, holder(1), now + LENGTH), Renewal::Unknown);
    assert_ne!(grant(&mut leases, holder(1), now + LENGTH), Some(id));
}

#[test]
fn a_lease_is_not_renewed_while_an_invalidation_is_older_than_half_its_length() {
    let (mut leases, now) = table();
    let id = grant(&mut leases, holder(1), now).unwrap();
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
    let id = grant(&mut leases, holder(1), now).unwrap();
    assert_eq!(leases.renew(id, holder(2), now), Renewal::Unknown);
    leases.disconnect(id);
    assert_eq!(leases.renew(id, holder(1), now), Renewal::Unknown);
    // It may still be served from, and so it still counts.
    let ticket = leases.touch(vec![change(1, 1)], now);
    let another = grant(&mut leases, holder(1), now).unwrap();
    leases.acknowledge(another, ticket, now);
    assert!(leases.settle(now) < ticket);
    assert_eq!(leases.settle(now + LENGTH), ticket);
}

#[test]
fn leases_of_two_reigns_never_share_an_id() {
    let (mut leases, now) = table();
    let cache = holder(1);
    let first = grant(&mut leases, cache, now).unwrap();
    leases.begin(Term(2), 7, None, now);
    let second = grant(&mut leases, cache, now).unwrap();
    assert_ne!(first, second);
    assert_eq!(leases.renew(first, cache, now), Renewal::Unknown);
}

#[test]
fn a_reign_that_goes_on_after_a_break_still_knows_its_leases() {
    let (mut leases, now) = table();
    let cache = holder(1);
    let lease = grant(&mut leases, cache, now).unwrap();
    leases.begin(Term(1), 8, Some([cache].into()), now);
    let ticket = leases.touch(vec![change(1, 1)], now);
    leases.call_in(cache, Term(1));
    assert!(leases.settle(now) < ticket, "it has given up nothing");
    assert_eq!(leases.renew(lease, cache, now), Renewal::Renewed);
}

#[test]
fn a_new_leader_waits_for_the_caches_on_record_until_the_last_has_called_in() {
    let (mut leases, now) = table();
    let [one, two] = [holder(1), holder(2)];
    let ticket = leases.begin(Term(2), 7, Some([one, two].into()), now);
    leases.call_in(one, Term(2));
    leases.call_in(two, Term(1));
    assert!(
        leases.settle(now) < ticket,
        "one may go by an earlier lease"
    );
    assert_eq!(leases.next_expiry(now), Some(now + LENGTH));
    leases.call_in(two, Term(2));
    assert_eq!(leases.settle(now), ticket);
    assert_eq!(leases.next_expiry(now), None);
    let ticket = leases.begin(Term(3), 7, Some([].into()), now);
    assert_eq!(leases.settle(now), ticket, "nobody holds anything");
    let ticket = leases.begin(Term(4), 7, Some([one].into()), now);
    assert_eq!(leases.settle(now + LENGTH), ticket, "or has it any more");
}

#[test]
fn nothing_is_granted_to_a_cache_that_was_off_the_record_in_between() {
    let (mut leases, now) = table();
    let cache = holder(1);
    assert_eq!(leases.admission(cache), None);
    let admission = leases.admit(cache, now);
    assert_eq!(leases.take_idle(now + LENGTH), []);
    let lease = leases.grant(cache, admission, now + LENGTH).unwrap();
    let later = now + LENGTH + ms(60);
    assert_eq!(leases.renew(lease, cache, later), Renewal::Renewed);
    assert_eq!(leases.take_idle(later + LENGTH * 2), []);
    let idle = later + LENGTH * 2 + ms(1);
    assert_eq!(leases.take_idle(idle), [cache]);
    assert_eq!(leases.grant(cache, admission, idle), None);
    let again = leases.admit(cache, idle);
    assert_eq!(leases.grant(cache, admission, idle), None);
    leases.grant(cache, again, idle).unwrap();
}

#[test]
fn what_waits_goes_out_together_and_each_item_once_in_its_newest_version() {
    let (mut leases, now) = table();
    let id = grant(&mut leases, holder(1), now).unwrap();
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
    let id = grant(&mut leases, holder(1), now).unwrap();
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
        grant(&mut leases, holder(id), now).unwrap();
    }
    assert_eq!(grant(&mut leases, holder(1), now), None);
    grant(&mut leases, holder(1), now + LENGTH).unwrap();
}
