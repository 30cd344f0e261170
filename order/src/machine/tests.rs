use std::path::Path;

use bazaar_rpc::{Order, OrderState, Trade, TradeSequence, UserId};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::samples::{amendment, make, request, trade};
use crate::state::Head;

fn open(dir: &Path) -> Machine {
    let (store, checkpoint) = Store::open(dir).unwrap();
    Machine::new(store, checkpoint)
}

fn command(trades: std::ops::Range<u64>) -> Bytes {
    Command::Record(trades.map(trade).collect::<Vec<_>>().into()).encode()
}

/// A replica with the orders before `end`, applied in entries of a hundred.
fn replica(end: u64) -> (TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = open(dir.path());
    extend(&mut machine, 0, end);
    (dir, machine)
}

fn extend(machine: &mut Machine, from: u64, end: u64) {
    for start in (from..end).step_by(100) {
        let to = end.min(start + 100);
        machine
            .apply(vec![command(start..to)], Mark::sample(to))
            .unwrap();
    }
}

fn orders(machine: &Machine) -> Vec<Order> {
    machine.store.page(OrderNumber(0), usize::MAX).unwrap()
}

/// Has `machine` install what `view` sends to a replica at `position`; returns the chunks.
fn install(view: &Recorded, position: &[u8], machine: &mut Machine) -> Vec<Bytes> {
    let mut sent = Vec::new();
    let mut chunks = view.chunks(position).unwrap().inspect(|chunk| {
        sent.push(chunk.as_ref().unwrap().clone());
    });
    machine
        .install(&mut chunks, view.mark().unwrap().clone())
        .unwrap();
    drop(chunks);
    sent
}

#[test]
fn a_snapshot_brings_a_replica_up_to_its_mark_and_no_further() {
    let (_a, mut leader) = replica(40_000);
    let view = leader.view();
    extend(&mut leader, 40_000, 40_500);
    let (dir, mut follower) = replica(3_000);

    let chunks = install(&view, &follower.position(), &mut follower);
    assert!(chunks.len() > 1);
    assert!(chunks.iter().all(|chunk| chunk.len() <= 1 << 20));
    assert_eq!(follower.mark(), Some(Mark::sample(40_000)));
    assert_eq!(orders(&follower), orders(&leader)[..40_000]);
    let last = follower
        .store
        .order_of_request(request(39_999).request)
        .unwrap();
    assert_eq!(last.unwrap().number, OrderNumber(39_999));

    drop(follower);
    assert_eq!(open(dir.path()).mark(), Some(Mark::sample(40_000)));
}

#[test]
fn a_snapshot_holds_only_what_the_receiver_lacks() {
    let (_a, mut leader) = replica(10_000);
    let view = leader.view();
    let at = |number: u64| format::encode(&OrderNumber(number));
    let trades = |position: &[u8]| -> usize {
        let count = |chunk: io::Result<Bytes>| match Command::decode(&chunk.unwrap()).unwrap() {
            Command::Record(trades) => trades.len(),
        };
        view.chunks(position).unwrap().map(count).sum()
    };
    assert_eq!(trades(&at(9_990)), 10);
    assert_eq!(trades(&at(10_000)), 0);
    assert_eq!(trades(&at(10_001)), 0);
    assert!(view.chunks(b"nonsense").is_err());
}

#[test]
fn amendments_are_found_after_a_snapshot_and_a_restart() {
    let owner = UserId(3);
    let (_a, mut leader) = replica(50);
    let (dir, mut follower) = replica(20);
    let mut record = |trades: Vec<Trade>, index| {
        let command = Command::Record(trades.into()).encode();
        leader.apply(vec![command], Mark::sample(index)).unwrap();
    };
    let made = |number, from, to| {
        let amendment = amendment(number, 50, owner, from, to);
        make(TradeSequence(number), amendment)
    };
    let mut order = trade(50);
    order.request.user = Some(owner);
    record(vec![order, made(51, 10, 7)], 51);
    record(vec![made(52, 7, 0)], 52);
    let view = leader.view();
    install(&view, &follower.position(), &mut follower);
    let state = |machine: &Machine| -> OrderState {
        machine.store.state(OrderNumber(50)).unwrap().unwrap()
    };
    let expected = state(&leader);
    assert_eq!(expected.history.len(), 2);
    assert_eq!(state(&follower), expected);
    drop(follower);
    assert_eq!(state(&open(dir.path())), expected);
}

#[test]
fn a_contradiction_is_recorded_and_told() {
    let (_a, mut machine) = replica(10);
    let contradiction = make(TradeSequence(10), amendment(10, 3, UserId(3), 9, 0));
    let sound = make(TradeSequence(11), amendment(11, 4, UserId(3), 10, 0));
    let command = Command::Record(vec![contradiction, sound].into()).encode();
    let answers = machine.apply(vec![command], Mark::sample(11)).unwrap();
    assert_eq!(
        format::decode::<Vec<Outcome>>(&answers[0]).unwrap(),
        [10, 11].map(OrderNumber).map(|number| match number.0 {
            10 => Outcome::Contradiction(number),
            _ => Outcome::Recorded(number),
        })
    );
    assert_eq!(orders(&machine).len(), 12);
}

#[test]
fn installing_parts_that_are_here_already_changes_nothing() {
    let (_a, mut leader) = replica(5_000);
    let view = leader.view();
    let (_b, mut follower) = replica(2_000);
    let from_the_start = format::encode(&OrderNumber(0));
    install(&view, &from_the_start, &mut follower);
    install(&view, &from_the_start, &mut follower);
    assert_eq!(orders(&follower), orders(&leader));
    assert_eq!(follower.mark(), leader.mark());
}

#[test]
fn an_interrupted_install_leaves_a_log_that_the_replay_completes() {
    let (_a, mut leader) = replica(40_000);
    let (dir, mut follower) = replica(1_000);
    let position = follower.position();
    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
    let mut chunks = leader
        .view()
        .chunks(&position)
        .unwrap()
        .take(1)
        .chain([Err(broken)]);
    follower
        .install(&mut chunks, Mark::sample(40_000))
        .unwrap_err();
    drop(follower);

    let mut follower = open(dir.path());
    assert_eq!(follower.mark(), Some(Mark::sample(1_000)));
    assert!(follower.checkpoint.head.next_number > OrderNumber(1_000));
    extend(&mut follower, 1_000, 40_000);
    assert_eq!(orders(&follower), orders(&leader));
}

#[test]
fn a_snapshot_with_a_gap_is_an_error() {
    let (_a, mut follower) = replica(100);
    let mut chunks = [Ok(command(101..110))].into_iter();
    assert!(follower.install(&mut chunks, Mark::sample(110)).is_err());
}

#[test]
fn a_command_that_cannot_be_read_is_an_error_and_changes_nothing() {
    let (_a, mut machine) = replica(100);
    let commands = vec![command(100..110), Bytes::from_static(&[99, 1, 2])];
    assert!(machine.apply(commands, Mark::sample(102)).is_err());
    assert_eq!(orders(&machine).len(), 100);
    assert_eq!(machine.mark(), Some(Mark::sample(100)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is proposed, and wherever the process restarts and replays from the stored mark,
    /// the store holds what the pure state machine says.
    #[test]
    fn the_store_follows_the_pure_state(
        entries in vec((vec((0_u64..30, 0_u64..10), 0..3), any::<bool>()), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = open(dir.path());
        let mut head = Head::default();
        let mut expected = Vec::new();
        for (index, (batches, restarts)) in (1..).zip(&entries) {
            let commands: Vec<_> =
                batches.iter().map(|(from, length)| command(*from..from + length)).collect();
            if *restarts {
                drop(machine);
                machine = open(dir.path());
                prop_assert_eq!(machine.mark().map_or(0, |mark| mark.index()), index - 1);
            }
            let answers = machine.apply(commands.clone(), Mark::sample(index)).unwrap();
            for (command, answer) in commands.iter().zip(answers) {
                let outcomes = head.apply(Command::decode(command).unwrap(), &mut expected);
                prop_assert_eq!(format::decode::<Vec<Outcome>>(&answer).unwrap(), outcomes);
            }
            prop_assert_eq!(machine.checkpoint.head, head);
        }
        prop_assert_eq!(orders(&machine), expected);
    }
}
