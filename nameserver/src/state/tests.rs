//! The table, case by case and against a model.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn registration(name: &str, port: u16, metadata: &[&str], lease: Option<u64>) -> Registration {
    Registration {
        name: name.into(),
        address: ([127, 0, 0, 1], port).into(),
        metadata: set(metadata),
        lease: lease.map(Duration::from_secs),
    }
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn a_taken_name_is_overwritten_only_on_demand() {
    let mut table = Table::default();
    table
        .register(SECOND, registration("a", 1, &[], None), false)
        .unwrap();
    let taken = table.register(SECOND, registration("a", 2, &[], None), false);
    assert!(matches!(taken, Err(NamingError::Taken { .. })));
    assert_eq!(table.lookup(SECOND, "a").unwrap().address.port(), 1);
    table
        .register(SECOND, registration("a", 2, &[], None), true)
        .unwrap();
    assert_eq!(table.lookup(SECOND, "a").unwrap().address.port(), 2);
}

#[test]
fn an_entry_is_gone_the_moment_its_lease_runs_out() {
    let mut table = Table::default();
    table
        .register(SECOND, registration("a", 1, &[], Some(3)), false)
        .unwrap();
    let moment_before = SECOND * 4 - Duration::from_nanos(1);
    assert_eq!(table.count(moment_before), 1);
    assert_eq!(table.lookup(SECOND * 4, "a"), Err(unknown("a")));
    assert_eq!(table.count(SECOND * 4), 0);
    assert_eq!(table.expire(SECOND * 4), ["a"]);
    // Whoever comes next need not overwrite it.
    table
        .register(SECOND * 4, registration("a", 2, &[], Some(3)), false)
        .unwrap();
}

#[test]
fn a_renewal_prolongs_the_lease_and_keeps_the_metadata_that_was_set() {
    let mut table = Table::default();
    let register = |table: &mut Table, now, replace| {
        table.register(now, registration("a", 1, &["kind:a"], Some(3)), replace)
    };
    assert_eq!(register(&mut table, SECOND, true), Ok(Change::Table));
    table.set_metadata(SECOND, "a", set(&["mine"])).unwrap();
    assert_eq!(register(&mut table, SECOND * 2, true), Ok(Change::Renewal));
    let entry = table.lookup(SECOND * 4, "a").unwrap();
    assert_eq!(entry.metadata, set(&["mine"]));
    assert_eq!(entry.expires_in, Some(SECOND));
}

#[test]
fn a_restored_entry_has_one_full_lease_to_be_renewed_in() {
    let mut table = Table::default();
    table
        .register(
            SECOND * 100,
            registration("leased", 1, &["x"], Some(3)),
            false,
        )
        .unwrap();
    table
        .register(SECOND * 100, registration("static", 2, &[], None), false)
        .unwrap();
    table
        .set_metadata(SECOND * 100, "leased", set(&["mine"]))
        .unwrap();
    let records = table.records(SECOND * 102);
    let restored = Table::restore(Duration::ZERO, records.clone());
    assert_eq!(restored.records(SECOND * 2), records);
    assert_eq!(
        names(&restored.list(SECOND * 3, &Selector::All).unwrap()),
        ["static"]
    );
}

#[test]
fn yellow_pages_want_all_of_some_and_any_of_others() {
    let mut table = Table::default();
    for (name, metadata) in [("a", &["x", "y"][..]), ("b", &["x", "z"]), ("c", &["y"])] {
        table
            .register(SECOND, registration(name, 1, metadata, None), false)
            .unwrap();
    }
    let found = |all: &[&str], any: &[&str]| {
        let entries = table.yplookup(SECOND, &set(all), &set(any));
        names(&entries).concat()
    };
    assert_eq!(found(&[], &[]), "abc");
    assert_eq!(found(&["x"], &[]), "ab");
    assert_eq!(found(&["x", "y"], &[]), "a");
    assert_eq!(found(&["x"], &["y", "z"]), "ab");
    assert_eq!(found(&[], &["z", "nobody's"]), "b");
}

#[test]
fn what_breaks_a_bound_is_refused() {
    let mut table = Table::default();
    let long = "n".repeat(MAX_TEXT + 1);
    for name in ["", "a\nb", "tab\t", long.as_str()] {
        let refused = table.register(SECOND, registration(name, 1, &[], None), true);
        assert!(matches!(refused, Err(NamingError::Invalid(_))), "{name:?}");
    }
    let pieces: Vec<_> = (0..=MAX_METADATA).map(|n| n.to_string()).collect();
    let many: Vec<_> = pieces.iter().map(String::as_str).collect();
    for metadata in [&many[..], &["a\0"], &[""]] {
        let refused = table.register(SECOND, registration("a", 1, metadata, None), true);
        assert!(
            matches!(refused, Err(NamingError::Invalid(_))),
            "{metadata:?}"
        );
    }
    for lease in [0, u64::MAX] {
        let refused = table.register(SECOND, registration("a", 1, &[], Some(lease)), true);
        assert!(matches!(refused, Err(NamingError::Invalid(_))), "{lease}");
    }
    assert_eq!(table.count(SECOND), 0);
}

#[test]
fn a_full_table_refuses_new_names_and_lets_the_dead_make_room() {
    let mut table = Table::default();
    table
        .register(SECOND, registration("mortal", 1, &[], Some(1)), false)
        .unwrap();
    for n in 1..MAX_ENTRIES {
        table
            .register(SECOND, registration(&format!("{n}"), 1, &[], None), false)
            .unwrap();
    }
    let more = registration("more", 1, &[], None);
    assert_eq!(
        table.register(SECOND, more.clone(), false),
        Err(NamingError::Full)
    );
    table
        .register(SECOND, registration("1", 2, &[], None), true)
        .unwrap();
    table.register(SECOND * 2, more, false).unwrap();
}

#[test]
fn the_whole_table_fits_into_a_frame() {
    let mut table = Table::default();
    let pieces: Vec<_> = (0..MAX_METADATA)
        .map(|n| format!("{n:0>MAX_TEXT$}"))
        .collect();
    let metadata: Vec<_> = pieces.iter().map(String::as_str).collect();
    let entered = (0..).take_while(|n| {
        let big = registration(&n.to_string(), 1, &metadata, None);
        table.register(SECOND, big, false).is_ok()
    });
    assert!(entered.count() < MAX_ENTRIES);
    assert!(table.weight <= MAX_WEIGHT);
}

/// What the property test does to a table.
#[derive(Clone, Debug)]
enum Step {
    Register {
        name: u8,
        port: u16,
        lease: Option<u64>,
        replace: bool,
    },
    SetMetadata {
        name: u8,
        piece: u8,
    },
    Remove {
        name: u8,
    },
    Expire,
    Restart,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = proptest::option::of(1..5u64);
    let step = prop_oneof![
        4 => (0..4u8, 1..3u16, lease, any::<bool>())
            .prop_map(|(name, port, lease, replace)| Step::Register { name, port, lease, replace }),
        1 => (0..4u8, 0..3u8).prop_map(|(name, piece)| Step::SetMetadata { name, piece }),
        1 => (0..4u8).prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
        3 => (1..4u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

/// What the table should be: a list that is searched from end to end.
#[derive(Default)]
struct Model {
    now: u64,
    rows: Vec<ModelRow>,
}

#[derive(Default)]
struct ModelRow {
    name: String,
    port: u16,
    metadata: BTreeSet<String>,
    lease: Option<u64>,
    expires: Option<u64>,
}

impl Model {
    /// Takes `step`; returns whether it should succeed.
    fn step(&mut self, step: Step) -> bool {
        let there = |model: &Self, name: u8| {
            model
                .rows
                .iter()
                .position(|row| row.name == name.to_string())
        };
        let succeeds = match step {
            Step::Register {
                name,
                port,
                lease,
                replace,
            } => {
                let old = there(self, name);
                let same = old.is_some_and(|at| self.rows[at].port == port);
                let succeeds = old.is_none() || same || replace;
                if succeeds {
                    let old = old.map(|at| self.rows.remove(at)).filter(|_| same);
                    self.rows.push(ModelRow {
                        name: name.to_string(),
                        port,
                        metadata: old.unwrap_or_default().metadata,
                        lease,
                        expires: lease.map(|lease| self.now + lease),
                    });
                    self.rows.sort_by(|a, b| a.name.cmp(&b.name));
                }
                succeeds
            }
            Step::SetMetadata { name, piece } => there(self, name)
                .map(|at| self.rows[at].metadata = set(&[&piece.to_string()]))
                .is_some(),
            Step::Remove { name } => there(self, name).map(|at| self.rows.remove(at)).is_some(),
            Step::Expire => true,
            Step::Restart => {
                for row in &mut self.rows {
                    row.expires = row.lease.map(|lease| self.now + lease);
                }
                true
            }
            Step::Wait(seconds) => {
                self.now += seconds;
                true
            }
        };
        let now = self.now;
        self.rows
            .retain(|row| row.expires.is_none_or(|expires| now < expires));
        succeeds
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |row: &ModelRow| Entry {
            name: row.name.clone(),
            address: ([127, 0, 0, 1], row.port).into(),
            metadata: row.metadata.clone(),
            expires_in: row
                .expires
                .map(|expires| Duration::from_secs(expires - self.now)),
        };
        self.rows.iter().map(entry).collect()
    }
}

/// Takes `step` with the table itself; returns whether it succeeded.
fn step(table: &mut Table, now: Duration, step: Step) -> bool {
    match step {
        Step::Register {
            name,
            port,
            lease,
            replace,
        } => table
            .register(
                now,
                registration(&name.to_string(), port, &[], lease),
                replace,
            )
            .is_ok(),
        Step::SetMetadata { name, piece } => table
            .set_metadata(now, &name.to_string(), set(&[&piece.to_string()]))
            .is_ok(),
        Step::Remove { name } => {
            table
                .remove(now, &Selector::Name(name.to_string()))
                .unwrap()
                == 1
        }
        Step::Expire => {
            table.expire(now);
            table.rows.len() as u64 == table.count(now)
        }
        Step::Restart => {
            *table = Table::restore(now, table.records(now));
            true
        }
        Step::Wait(_) => true,
    }
}

proptest! {
    #[test]
    fn the_table_is_a_map_with_leases(steps in steps()) {
        let (mut model, mut table) = (Model::default(), Table::default());
        for next in steps {
            let now = Duration::from_secs(model.now);
            prop_assert_eq!(step(&mut table, now, next.clone()), model.step(next));
            let now = Duration::from_secs(model.now);
            prop_assert_eq!(table.list(now, &Selector::All).unwrap(), model.entries());
            prop_assert_eq!(table.count(now), model.rows.len() as u64);
            prop_assert_eq!(table.weight, table.rows.values().map(Row::weight).sum::<usize>());
        }
    }
}
