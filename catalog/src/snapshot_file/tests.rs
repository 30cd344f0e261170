use std::fs;

use bazaar_rpc::{Term, TradeSequence};

use super::*;
use crate::command::Command;
use crate::shop;

/// A state with shops, and a fence so that one differs from the other.
fn state(term: u64) -> State {
    let mut state = State::default();
    let shops = shop::load(&[]).unwrap();
    state.apply(
        Command::Open {
            term: Term(1),
            shops,
        },
        &mut Vec::new(),
    );
    state.apply(
        Command::Fence {
            term: Term(term),
            recorded: TradeSequence(0),
        },
        &mut Vec::new(),
    );
    state
}

/// A directory with a file of `state(1)` at mark 7.
fn written() -> (tempfile::TempDir, SnapshotFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(dir.path());
    assert!(file.read().unwrap().is_none());
    file.write(&state(1), &Mark::sample(7), 1).unwrap();
    (dir, file)
}

/// What is said about the file after `edit`.
fn refusal(edit: impl FnOnce(&mut Vec<u8>)) -> String {
    let (_dir, file) = written();
    let mut bytes = fs::read(file.path()).unwrap();
    edit(&mut bytes);
    fs::write(file.path(), bytes).unwrap();
    let refusal = file.read().unwrap_err().to_string();
    assert!(
        refusal.contains(&file.path().display().to_string()),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
    refusal
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    let (dir, file) = written();
    assert_eq!(file.read().unwrap(), Some((state(1), Mark::sample(7))));
    file.write(&state(2), &Mark::sample(8), 2).unwrap();
    let again = SnapshotFile::new(dir.path());
    assert_eq!(again.read().unwrap(), Some((state(2), Mark::sample(8))));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_file_is_json_that_a_person_can_read() {
    let (_dir, file) = written();
    let text = fs::read_to_string(file.path()).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert!(text.lines().count() > 100);
    assert!(text.contains("\"name\": \"GameStart\""));
    assert!(text.contains("\"price\": 15.99"));
}

#[test]
fn an_older_state_never_takes_the_place_of_a_newer_one() {
    let (_dir, file) = written();
    file.write(&state(3), &Mark::sample(9), 3).unwrap();
    file.write(&state(2), &Mark::sample(8), 2).unwrap();
    assert_eq!(file.read().unwrap().unwrap().1.index(), 9);
}

#[test]
fn what_was_being_written_in_a_crash_is_not_looked_at() {
    let (dir, file) = written();
    fs::write(dir.path().join("catalog.json.new"), b"{ \"checks").unwrap();
    assert_eq!(file.read().unwrap().unwrap().1.index(), 7);
    file.write(&state(2), &Mark::sample(8), 2).unwrap();
    assert_eq!(file.read().unwrap().unwrap().1.index(), 8);
}

#[test]
fn a_damaged_file_is_refused_with_the_way_out() {
    for refusal in [
        refusal(|bytes| bytes.truncate(bytes.len() / 2)),
        refusal(Vec::clear),
        refusal(|bytes| bytes.extend_from_slice(b" ")),
        refusal(|bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text
                .replacen("\"quantity\": 100", "\"quantity\": 900", 1)
                .into_bytes();
        }),
        refusal(|bytes| bytes[DIGITS.start] ^= 1),
    ] {
        assert!(refusal.contains("damaged or edited"), "{refusal}");
        assert!(refusal.contains("put a good copy back"), "{refusal}");
    }
}

#[test]
fn a_file_of_another_version_is_refused_as_such() {
    let refusal = refusal(|bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text
            .replacen(&format!("\"format\": {FORMAT}"), "\"format\": 1", 1)
            .into_bytes();
    });
    assert!(
        refusal.contains(&format!("format {FORMAT}")) && refusal.contains("format 1"),
        "{refusal}"
    );
}
