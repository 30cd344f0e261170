use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use bazaar_rpc::{OrderState, TradeSequence, UserId};
use tempfile::TempDir;

use super::*;
use crate::engine::VERSION_FILE;
use crate::samples::{amendment, make, request, trade};

/// Appends the orders of `numbers` in batches of `batch`, each with its end as the mark.
fn fill(store: &Store, numbers: std::ops::Range<u64>, batch: u64) {
    let mut from = numbers.start;
    while from < numbers.end {
        let to = numbers.end.min(from + batch);
        store.append(&orders(from..to), &checkpoint(to)).unwrap();
        from = to;
    }
}

fn orders(numbers: std::ops::Range<u64>) -> Vec<Order> {
    numbers
        .map(|number| Order {
            number: OrderNumber(number),
            trade: trade(number),
        })
        .collect()
}

fn checkpoint(end: u64) -> Checkpoint {
    let head = Head {
        next_sequence: TradeSequence(end),
        next_number: OrderNumber(end),
    };
    Checkpoint {
        head,
        mark: Some(Mark::sample(end)),
    }
}

/// Copies a directory as it is on disk now, as if the machine had stopped.
fn copy(from: &Path) -> TempDir {
    fn copy_into(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&to).unwrap();
                copy_into(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

/// Every file under `dir` with its length.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), entry.metadata().unwrap().len());
        }
    }
    found
}

/// The journal that is being written.
fn journal(dir: &Path) -> PathBuf {
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jnl");
    files(dir).into_keys().filter(is_journal).max().unwrap()
}

/// Asserts that the store holds the orders before `end`, all of them, and nothing else.
fn assert_holds(store: &Store, end: u64) {
    assert_eq!(
        store.page(OrderNumber(0), usize::MAX).unwrap(),
        orders(0..end)
    );
    for order in orders(0..end) {
        let found = store.order_of_request(order.trade.request.request).unwrap();
        assert_eq!(found, Some(order));
    }
    assert_eq!(store.order(OrderNumber(end)).unwrap(), None);
    assert_eq!(store.order_of_request(request(end).request).unwrap(), None);
}

#[test]
fn orders_are_found_by_number_request_and_user_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fresh) = Store::open(dir.path()).unwrap();
    assert_eq!(fresh, Checkpoint::default());
    fill(&store, 0..100, 7);
    let check = |store: &Store| {
        assert_holds(store, 100);
        let of_user: Vec<_> = orders(0..100)
            .into_iter()
            .filter(|order| order.trade.request.user == Some(UserId(2)))
            .collect();
        assert!(of_user.len() > 3);
        let user = |after, limit| -> Vec<_> {
            let states = store.states_of_user(UserId(2), after, limit).unwrap();
            assert!(states.iter().all(|state| state.history.is_empty()));
            states.into_iter().map(|state| state.original).collect()
        };
        assert_eq!(user(None, 1000), of_user);
        assert_eq!(user(Some(of_user[0].number), 2), of_user[1..3]);
        assert_eq!(store.states_of_user(UserId(77), None, 10).unwrap(), []);
        assert_eq!(store.page(OrderNumber(98), 1000).unwrap(), orders(98..100));
        assert_eq!(store.page(OrderNumber(4), 3).unwrap(), orders(4..7));
        assert_eq!(store.page(OrderNumber(u64::MAX), 3).unwrap(), []);
    };
    check(&store);
    drop(store);
    let (store, found) = Store::open(dir.path()).unwrap();
    assert_eq!(found, checkpoint(100));
    check(&store);
}

/// The record of that number, which amends an order of [`OWNER`] from so many units to so many.
fn amended(number: u64, order: u64, from: u64, to: u64) -> Order {
    let request = amendment(number, order, OWNER, from, to);
    let trade = make(TradeSequence(number), request);
    Order {
        number: OrderNumber(number),
        trade,
    }
}

const OWNER: UserId = UserId(3);

/// Orders 0 to 9 with amendments among them: of order 3, from ten units to twelve and to none.
fn with_amendments() -> Vec<Order> {
    let mut orders = orders(0..10);
    orders[3].trade.request.user = Some(OWNER);
    orders[5] = amended(5, 3, 10, 12);
    orders[8] = amended(8, 3, 12, 0);
    orders
}

#[test]
fn an_order_stands_as_its_amendments_left_it_and_they_are_no_orders_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let all = with_amendments();
    let whole = OrderState {
        original: all[3].clone(),
        history: vec![all[5].clone(), all[8].clone()],
    };
    store.append(&all[..7], &checkpoint(7)).unwrap();
    let first = whole.clone().as_of(OrderNumber(5));
    assert_eq!(store.state(OrderNumber(3)).unwrap(), Some(first));
    store.append(&all[7..], &checkpoint(10)).unwrap();
    let check = |store: &Store| {
        assert_eq!(store.state(OrderNumber(3)).unwrap(), Some(whole.clone()));
        let other = store.state(OrderNumber(4)).unwrap().unwrap();
        assert_eq!((&other.original, other.history.len()), (&all[4], 0));
        for none in [5, 8, 10] {
            assert_eq!(store.state(OrderNumber(none)).unwrap(), None);
        }
        let of_user = store.states_of_user(OWNER, None, 10).unwrap();
        assert_eq!(of_user.iter().filter(|state| **state == whole).count(), 1);
        let numbers = of_user.iter().map(|state| state.original.number.0);
        assert!(numbers.clone().all(|number| ![5, 8].contains(&number)));
        assert!(numbers.is_sorted());
        assert_eq!(store.order(OrderNumber(5)).unwrap().unwrap(), all[5]);
    };
    check(&store);
    let killed = copy(dir.path());
    check(&Store::open(killed.path()).unwrap().0);
}

#[test]
fn an_amendment_of_what_an_order_is_not_is_a_contradiction() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let all = with_amendments();
    // The same wherever the batches end.
    assert_eq!(store.contradictions(&all).unwrap(), []);
    store.append(&all[..6], &checkpoint(6)).unwrap();
    assert_eq!(store.contradictions(&all[6..]).unwrap(), []);
    let contradiction = |changed: Order| {
        let mut rest = all[6..].to_vec();
        rest[2] = changed;
        store.contradictions(&rest).unwrap() == [OrderNumber(8)]
    };
    assert!(contradiction(amended(8, 3, 10, 0)), "not the last quantity");
    assert!(contradiction(amended(8, 5, 12, 0)), "of an amendment");
    assert!(contradiction(amended(8, 9, 10, 0)), "of a later order");
    assert!(contradiction(amended(8, 77, 10, 0)), "of no order");
    store.append(&all[6..], &checkpoint(10)).unwrap();
    let again = [amended(10, 3, 0, 5)];
    let found = store.contradictions(&again).unwrap();
    assert_eq!(found, [OrderNumber(10)], "of a cancelled one");
}

#[test]
fn a_killed_process_leaves_its_last_batch_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..50, 10);
    let killed = copy(dir.path());
    fill(&store, 50..60, 10);
    let (store, found) = Store::open(killed.path()).unwrap();
    assert_eq!(found, checkpoint(50));
    assert_holds(&store, 50);
    fill(&store, 50..70, 10);
    assert_holds(&store, 70);
}

/// A power loss may leave any part of what was not synced.
#[test]
fn a_torn_journal_leaves_a_batch_boundary_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..20, 10);
    store.persist().unwrap();
    let synced = journal_end(dir.path());
    fill(&store, 20..200, 10);
    let end = journal_end(dir.path());
    for cut in (synced..end).step_by(1499) {
        let torn = copy(dir.path());
        let file = OpenOptions::new()
            .write(true)
            .open(journal(torn.path()))
            .unwrap();
        file.set_len(cut).unwrap();
        assert_is_at_a_boundary(torn.path());
    }
    for hole in (synced.next_multiple_of(4096)..end).step_by(3 * 4096) {
        let torn = copy(dir.path());
        let mut file = OpenOptions::new()
            .write(true)
            .open(journal(torn.path()))
            .unwrap();
        file.seek(SeekFrom::Start(hole)).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        assert_is_at_a_boundary(torn.path());
    }
}

/// Where the zeros begin that follow the last batch.
fn journal_end(dir: &Path) -> u64 {
    let bytes = fs::read(journal(dir)).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

fn assert_is_at_a_boundary(dir: &Path) {
    let (store, found) = Store::open(dir).unwrap();
    let end = found.head.next_number.0;
    assert_eq!(found, checkpoint(end));
    assert!(end >= 20 && end.is_multiple_of(10), "{end}");
    assert_holds(&store, end);
    // It goes on from there.
    fill(&store, end..end + 10, 10);
    drop(store);
    assert_holds(&Store::open(dir).unwrap().0, end + 10);
}

#[test]
fn tables_never_get_ahead_of_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..40, 10);
    // One keyspace's table is written, the others are in the journal only.
    store
        .engine
        .keyspace(Keyspace::ByRequest)
        .rotate_memtable_and_wait()
        .unwrap();
    fill(&store, 40..60, 10);
    let killed = copy(dir.path());
    let (store, found) = Store::open(killed.path()).unwrap();
    assert_eq!(found, checkpoint(60));
    assert_holds(&store, 60);
}

#[test]
fn a_store_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let _owner = Store::open(dir.path()).unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::Locked { .. })
    ));
}

#[test]
fn a_creation_that_was_interrupted_is_done_over() {
    let dir = tempfile::tempdir().unwrap();
    let store_dir = dir.path().join("store");
    fs::create_dir(dir.path().join("store.new")).unwrap();
    fs::write(dir.path().join("store.new/0.jnl"), "half").unwrap();
    let (store, fresh) = Store::open(&store_dir).unwrap();
    assert_eq!(fresh, Checkpoint::default());
    fill(&store, 0..10, 10);
    drop(store);
    // A store is never taken for a fresh one.
    fs::remove_file(store_dir.join(VERSION_FILE)).unwrap();
    let refused = Store::open(&store_dir).err().unwrap();
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
}

#[test]
fn a_store_of_an_unknown_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store
        .engine
        .keyspace(Keyspace::Meta)
        .insert(FORMAT_KEY, [FORMAT + 1])
        .unwrap();
    drop(store);
    let refused = Store::open(dir.path()).err().unwrap();
    assert!(matches!(refused, StoreError::Format { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains(&dir.path().display().to_string())
    );
}

/// Has `damage` done to a store of a hundred orders; returns what is said when it is opened.
fn refusal(damage: impl FnOnce(&Store)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..100, 10);
    damage(&store);
    drop(store);
    let refused = Store::open(dir.path()).err().expect("the damage is found");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(&dir.path().display().to_string()), "{said}");
    said
}

#[test]
fn a_store_that_does_not_hold_together_is_refused() {
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::Orders)
            .remove(42_u64.to_be_bytes())
            .unwrap()
    });
    assert!(said.contains("order 42 is missing"), "{said}");
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::Orders)
            .remove(99_u64.to_be_bytes())
            .unwrap()
    });
    assert!(said.contains("order 99 is missing"), "{said}");
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::Orders)
            .insert(100_u64.to_be_bytes(), "x")
            .unwrap()
    });
    assert!(said.contains("after the last one"), "{said}");
    let id = request(99).request;
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::ByRequest)
            .remove(id.as_bytes())
            .unwrap()
    });
    assert!(said.contains("not in the index"), "{said}");
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::Meta)
            .remove(CHECKPOINT_KEY)
            .unwrap()
    });
    assert!(said.contains("no checkpoint"), "{said}");
    let said = refusal(|store| {
        store
            .engine
            .keyspace(Keyspace::Meta)
            .remove(FORMAT_KEY)
            .unwrap()
    });
    assert!(said.contains("no format"), "{said}");
}

#[test]
fn a_damaged_table_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..5000, 100);
    store
        .engine
        .keyspace(Keyspace::Orders)
        .rotate_memtable_and_wait()
        .unwrap();
    let table_dir = store.engine.keyspace(Keyspace::Orders).path().to_path_buf();
    drop(store);
    let (table, length) = files(&table_dir)
        .into_iter()
        .max_by_key(|(_, length)| *length)
        .unwrap();
    let mut file = OpenOptions::new().write(true).open(table).unwrap();
    file.seek(SeekFrom::Start(length / 2)).unwrap();
    file.write_all(&[0xa5; 64]).unwrap();
    let refused = Store::open(dir.path()).err().expect("the damage is found");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
}

#[test]
fn persisting_a_long_history_writes_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    fill(&store, 0..100_000, 1000);
    // The store still writes tables in the background; once it rests, nothing is written at all.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = files(dir.path());
        store.persist().unwrap();
        if files(dir.path()) == before {
            break;
        }
        assert!(Instant::now() < deadline, "persisting writes tables");
    }
    // Reading on from a position costs what follows it, not what precedes it.
    let end = OrderNumber(100_000);
    assert_eq!(store.part(OrderNumber(99_990), end).unwrap().len(), 10);
    assert_eq!(store.part(end, end).unwrap().len(), 0);
}

#[test]
fn a_version_file_that_says_nothing_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    drop(Store::open(&store).unwrap());
    for nothing in [&b""[..], &[0; 4]] {
        std::fs::write(store.join(VERSION_FILE), nothing).unwrap();
        let opened = Store::open(&store).map(drop);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{opened:?}"
        );
    }
}
