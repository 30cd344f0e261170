use std::time::Duration;

use bazaar_rpc::catalog::TradeBatch;
use bazaar_rpc::edit::Edit;
use bazaar_rpc::{
    FencingToken, InvocationId, ItemName, LeaseId, Quantity, RequestId, Side, Timestamp,
    TradeRequest, TradeSequence,
};
use futures::FutureExt;

use super::*;
use crate::command::Answer;
use crate::shop;

/// Long enough not to run out in a test.
const LEASE: Duration = Duration::from_secs(600);

const TERM: Term = Term(3);

/// A machine with the shops that ship, fenced once, in a directory of its own.
fn machine() -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let replica = Arc::new(Replica::new(State::default(), Settlement::new(LEASE)));
    let mut machine = Machine::new(replica, SnapshotFile::new(dir.path()), None);
    let mut commands = vec![Command::begin(TERM)];
    commands.extend(Command::open(TERM, shop::load(&[]).unwrap()));
    commands.push(Command::Fence {
        term: Term(1),
        recorded: TradeSequence(0),
    });
    apply(&mut machine, &commands, 1);
    (dir, machine)
}

fn apply(machine: &mut Machine, commands: &[Command], index: u64) -> Vec<Applied> {
    let commands = commands.iter().map(Command::encode).collect();
    let answers = machine.apply(commands, Mark::sample(index)).unwrap();
    answers
        .iter()
        .map(|answer| Applied::decode(answer).unwrap())
        .collect()
}

fn key() -> ItemKey {
    ItemKey::Name(ItemName::new("FishCo").unwrap())
}

/// A batch of `trades` sales of one unit, under keys that begin with `id`.
fn sales(id: &str, trades: usize) -> Command {
    let sale = |n| TradeRequest {
        request: RequestId::from_key(None, &format!("{id}.{n}")),
        invocation: InvocationId::fresh(),
        item: key(),
        side: Side::Sell,
        quantity: Quantity::new(1).unwrap(),
        user: None,
        received: Timestamp(0),
        amends: None,
    };
    Command::Decide(TradeBatch {
        token: FencingToken {
            term: Term(1),
            epoch: 1,
        },
        recorded: TradeSequence(0),
        trades: (0..trades).map(sale).collect(),
    })
}

/// Grants a lease in `machine`'s reign.
fn lease(machine: &Machine) -> (LeaseId, Ticket) {
    let (settlement, cache) = (&machine.replica.settlement, CacheId::fresh());
    let admission = settlement.admit(cache);
    settlement.grant(cache, admission).unwrap()
}

fn is_settled(machine: &Machine, ticket: Ticket) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let settled = machine.replica.settlement.settled(ticket);
    runtime.block_on(async { settled.now_or_never() }).is_some()
}

#[test]
fn a_change_is_unsettled_as_soon_as_it_can_be_seen_and_other_items_are_not() {
    let (_dir, mut machine) = machine();
    let (lease, _) = lease(&machine);
    let applied = apply(&mut machine, &[sales("a", 1)], 2).remove(0);
    assert!(matches!(applied.answer, Answer::Decided(Ok(_))));
    let ticket_of = |key: &ItemKey| machine.replica.lookup(TERM, key).unwrap().1;
    assert_eq!(ticket_of(&key()), applied.ticket);
    assert!(!is_settled(&machine, ticket_of(&key())));
    let other = ItemKey::Name(ItemName::new("BoarCo").unwrap());
    assert!(is_settled(&machine, ticket_of(&other)));
    let ((), of_all) = machine.replica.view(TERM, |_| ()).unwrap();
    assert!(!is_settled(&machine, of_all));
    machine
        .replica
        .settlement
        .acknowledge(lease, applied.ticket);
    assert!(is_settled(&machine, ticket_of(&key())) && is_settled(&machine, of_all));
}

#[test]
fn that_there_is_no_item_any_more_is_unsettled_too() {
    let (_dir, mut machine) = machine();
    let absent = ItemKey::Name(ItemName::new("nothing").unwrap());
    let (none, ticket) = machine.replica.lookup(TERM, &absent).unwrap();
    assert!(none.is_none() && is_settled(&machine, ticket));
    let (lease, _) = lease(&machine);
    let number = machine
        .replica
        .lookup(TERM, &key())
        .unwrap()
        .0
        .unwrap()
        .number;
    let remove = Command::Edit {
        request: RequestId::fresh(),
        edit: Edit::Remove {
            item: number,
            expected: None,
        },
    };
    let applied = apply(&mut machine, &[remove], 2).remove(0);
    assert!(matches!(applied.answer, Answer::Edited(Ok(Ok(_)))));
    for key in [key(), ItemKey::Number(number)] {
        let (none, ticket) = machine.replica.lookup(TERM, &key).unwrap();
        assert!(none.is_none() && !is_settled(&machine, ticket));
    }
    let settlement = &machine.replica.settlement;
    settlement.acknowledge(lease, applied.ticket);
    let (_, ticket) = machine.replica.lookup(TERM, &key()).unwrap();
    assert!(is_settled(&machine, ticket));
}

#[test]
fn a_refusal_waits_for_what_it_shows_too() {
    let (_dir, mut machine) = machine();
    let _lease = lease(&machine);
    apply(&mut machine, &[sales("a", 1)], 2);
    let Command::Decide(mut batch) = sales("b", 1) else {
        unreachable!()
    };
    (batch.trades[0].side, batch.trades[0].quantity) = (Side::Buy, Quantity::MAX);
    let refused = apply(&mut machine, &[Command::Decide(batch)], 3).remove(0);
    assert!(matches!(refused.answer, Answer::Decided(Ok(decided)) if decided[0].is_err()));
    assert!(!is_settled(&machine, refused.ticket));
}

#[test]
fn a_new_reign_leaves_nothing_settled() {
    let (_dir, machine) = machine();
    let (_, before) = machine.replica.lookup(TERM, &key()).unwrap();
    assert!(is_settled(&machine, before));
    machine.replica.begin(TERM, 0, None);
    let (_, ticket) = machine.replica.lookup(TERM, &key()).unwrap();
    assert!(!is_settled(&machine, ticket));
}

#[test]
fn a_reader_of_a_reign_that_is_over_is_turned_away() {
    let (_dir, mut machine) = machine();
    let not_leader = Err(CatalogError::NotLeader { leader: None });
    apply(&mut machine, &[Command::begin(Term(TERM.0 + 1))], 2);
    assert_eq!(machine.replica.lookup(TERM, &key()).map(|_| ()), not_leader);
    assert_eq!(machine.replica.view(TERM, |_| ()).map(|_| ()), not_leader);
    let (found, _) = machine.replica.lookup(Term(TERM.0 + 1), &key()).unwrap();
    assert!(found.is_some());
}

#[test]
fn a_view_stays_as_it_was_and_goes_to_disk() {
    let (dir, mut machine) = machine();
    let before = machine.replica.state();
    let view = machine.view();
    apply(&mut machine, &[sales("a", 3)], 2);
    assert_eq!(view.mark(), Some(&Mark::sample(1)));
    view.persist().unwrap();
    let file = SnapshotFile::new(dir.path());
    assert_eq!(file.read().unwrap(), Some((before, Mark::sample(1))));
    // Persisted out of order, the newer one stays.
    machine.view().persist().unwrap();
    view.persist().unwrap();
    assert_eq!(
        file.read().unwrap(),
        Some((machine.replica.state(), Mark::sample(2)))
    );
}

#[test]
fn a_replica_takes_over_what_another_sends_and_has_it_on_disk() {
    let (_dir, mut sender) = machine();
    apply(&mut sender, &[sales("a", 20_000)], 2);
    let view = sender.view();
    let chunks: Vec<_> = view
        .chunks(&[])
        .unwrap()
        .collect::<io::Result<_>>()
        .unwrap();
    assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.len() <= CHUNK));

    let (dir, mut receiver) = machine();
    let mut sent = chunks.into_iter().map(Ok);
    receiver.install(&mut sent, Mark::sample(2)).unwrap();
    assert_eq!(receiver.replica.state(), sender.replica.state());
    assert_eq!(receiver.mark(), Some(Mark::sample(2)));
    let stored = SnapshotFile::new(dir.path()).read().unwrap();
    assert_eq!(stored, Some((sender.replica.state(), Mark::sample(2))));
}

#[test]
fn a_state_that_arrives_damaged_changes_nothing() {
    let (_dir, mut machine) = machine();
    let before = machine.replica.state();
    let chunk: Vec<u8> = machine
        .view()
        .chunks(&[])
        .unwrap()
        .flat_map(|chunk| chunk.unwrap())
        .collect();
    let cut = Bytes::copy_from_slice(&chunk[..chunk.len() / 2]);
    for damaged in [vec![Ok(cut)], vec![], vec![Ok(Bytes::from_static(b"\x09"))]] {
        let outcome = machine.install(&mut damaged.into_iter(), Mark::sample(9));
        assert!(outcome.is_err());
        assert_eq!(
            (machine.replica.state(), machine.mark()),
            (before.clone(), Some(Mark::sample(1)))
        );
    }
}
