use std::time::Instant;

use bazaar_rpc::{RequestId, UserId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::samples::{
    amend, amended, amendment, bought, finding, log, lookup, ok, operation, order, restock,
    restocked, short, stock, trade, traded, units, unknown,
};

fn verdict(operations: &[Operation]) -> Verdict {
    let options = Options {
        is_complete: true,
        ..Options::default()
    };
    check(operations, &[], &[stock(1, 0)], options)
}

#[test]
fn a_concurrent_history_that_has_an_order_is_linearizable() {
    let operations = [
        lookup((1, 2), 100, 1),
        bought((3, 9), 0, 3),
        bought((4, 8), 1, 2),
        lookup((5, 6), 99, 2),
        lookup((7, 20), 98, 3),
        short((10, 11), 99, Some(98)),
        traded((12, 13), trade(Side::Sell, 5, "s"), 2, 4),
        lookup((14, 15), 103, 4),
    ];
    assert_eq!(verdict(&operations), Verdict::Ok);
}

#[test]
fn a_trade_of_unknown_outcome_may_take_effect_much_later_or_never() {
    let unknown = || unknown(3, trade(Side::Buy, 7, "k"));
    let before = || lookup((100, 101), 100, 1);
    assert_eq!(verdict(&[unknown(), before()]), Verdict::Ok);
    let after = lookup((102, 103), 93, 2);
    assert_eq!(verdict(&[unknown(), before(), after]), Verdict::Ok);
    // But once, and not before it was invoked.
    let twice = lookup((104, 105), 86, 3);
    finding(verdict(&[unknown(), lookup((102, 103), 93, 2), twice]));
    finding(verdict(&[unknown(), lookup((1, 2), 93, 2)]));
}

#[test]
fn a_stale_lookup_has_no_place() {
    let found = finding(verdict(&[bought((1, 2), 0, 2), lookup((3, 4), 100, 1)]));
    assert!(found.contains("99 in stock at version 2"), "{found}");
    assert!(found.contains("before: client.ndjson:3"), "{found}");
    assert!(found.contains("next: client.ndjson:5"), "{found}");
}

#[test]
fn lookups_that_disagree_about_a_version_have_no_place() {
    let operations = [
        bought((1, 10), 0, 2),
        lookup((2, 3), 99, 2),
        lookup((4, 5), 98, 2),
    ];
    finding(verdict(&operations));
}

#[test]
fn a_lost_update_has_no_place() {
    // Both buy from 100, and one purchase is forgotten.
    let operations = [
        bought((1, 2), 0, 2),
        bought((3, 4), 1, 2),
        lookup((5, 6), 99, 2),
    ];
    finding(verdict(&operations));
}

#[test]
fn a_refusal_of_what_was_there_has_no_place() {
    assert_eq!(verdict(&[short((1, 2), 101, None)]), Verdict::Ok);
    finding(verdict(&[short((1, 2), 100, None)]));
    finding(verdict(&[short((1, 2), 200, Some(99))]));
}

#[test]
fn an_oversold_item_has_no_place() {
    let operations = [
        traded((1, 2), trade(Side::Buy, 60, "a"), 0, 2),
        traded((1, 2), trade(Side::Buy, 60, "b"), 1, 3),
    ];
    finding(verdict(&operations));
}

#[test]
fn one_request_sent_twice_is_one_trade() {
    let again = traded((8, 9), trade(Side::Buy, 1, "0"), 0, 2);
    let first = unknown(1, trade(Side::Buy, 1, "0"));
    let operations = [first, lookup((3, 4), 99, 2), again, lookup((10, 11), 99, 2)];
    assert_eq!(verdict(&operations), Verdict::Ok);
}

#[test]
fn the_log_tells_what_became_of_unknown_trades_and_of_those_of_others() {
    let operations = [unknown(1, trade(Side::Buy, 1, "0")), lookup((3, 4), 98, 3)];
    // Order 1 is somebody else's.
    let logs = [log(1, (0..2).map(order))];
    let with = |without_log, logs: &[OrderLog]| {
        let options = Options {
            without_log,
            is_complete: without_log,
            ..Options::default()
        };
        check(&operations, logs, &[stock(1, 0)], options)
    };
    assert_eq!(with(false, &logs), Verdict::Ok);
    finding(with(true, &logs));
    // Without the stock's file, it is counted back from what was shown.
    let without_stock = check(&operations, &logs, &[], Options::default());
    assert_eq!(without_stock, Verdict::Ok);
    // What is not in the log was not made.
    finding(with(false, &[log(1, [])]));
}

#[test]
fn an_amendment_trades_what_the_log_says_it_does() {
    let mut record = amendment(1, 0, 1, 4);
    record.trade.request = RequestId::from_key(Some(UserId(1)), "amendment 1");
    let log = [log(1, [order(0), record])];
    let check = |operations: &[Operation]| {
        super::check(operations, &log, &[stock(1, 2)], Options::default())
    };
    let bought = || bought((1, 2), 0, 2);
    let amended = || amended((3, 6), 0, 4, 1, 3);
    // While it is under way it is made or not, and then it is.
    for (quantity, version) in [(99, 2), (96, 3)] {
        let during = lookup((4, 5), quantity, version);
        let operations = [bought(), amended(), during, lookup((7, 8), 96, 3)];
        assert_eq!(check(&operations), Verdict::Ok);
    }
    finding(check(&[bought(), amended(), lookup((7, 8), 99, 2)]));
    finding(check(&[bought(), amended(), lookup((7, 8), 98, 3)]));
    // One of unknown outcome is made whenever its record says.
    let unknown = unknown(3, amend(0, 4, "amendment 1"));
    assert_eq!(
        check(&[bought(), unknown.clone(), lookup((7, 8), 99, 2)]),
        Verdict::Ok
    );
    finding(check(&[bought(), unknown, lookup((1, 2), 96, 3)]));
    // Without a log, nothing is known of it.
    assert!(matches!(
        verdict(&[bought(), amended()]),
        Verdict::Unknown(_)
    ));
}

#[test]
fn a_restock_adds_its_units_at_its_version() {
    let edited = |edits| {
        let mut stock = stock(1, 1);
        stock.items[0].edits = edits;
        [stock]
    };
    let log = [log(1, [order(0)])];
    let restocked = |quantity| restocked((3, 6), 50, "r", (quantity, 3));
    let bought = || bought((1, 2), 0, 2);
    let check = |operations: &[Operation], edits| {
        super::check(operations, &log, &edited(edits), Options::default())
    };
    for (quantity, version) in [(99, 2), (149, 3)] {
        let during = lookup((4, 5), quantity, version);
        let operations = [bought(), restocked(149), during, lookup((7, 8), 149, 3)];
        assert_eq!(check(&operations, 1), Verdict::Ok);
    }
    finding(check(&[bought(), restocked(149), lookup((7, 8), 99, 2)], 1));
    finding(check(
        &[bought(), restocked(149), lookup((7, 8), 148, 3)],
        1,
    ));
    finding(check(&[bought(), restocked(150)], 1));
    // One of unknown outcome is an edit like any other, which may leave anything.
    let operations = [
        bought(),
        restocked(149),
        unknown(1, restock(7, "u")),
        lookup((7, 8), 149, 3),
        lookup((9, 10), 156, 4),
    ];
    assert_eq!(check(&operations, 2), Verdict::Ok);
    finding(check(&operations, 1));
}

#[test]
fn an_item_of_which_nothing_is_known_at_first_is_left_open() {
    let verdict = check(&[bought((1, 2), 0, 9)], &[], &[], Options::default());
    assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("GameStart")));
    let seen = [lookup((1, 2), 50, 8), bought((3, 4), 0, 9)];
    assert_eq!(check(&seen, &[], &[], Options::default()), Verdict::Ok);
}

/// The stock after so many purchases and edits.
fn edited_stock(bought: u64, edits: u64) -> StockReport {
    let mut stock = stock(1, bought);
    stock.items[0].edits = edits;
    stock
}

#[test]
fn versions_that_no_trade_made_were_made_by_edits_which_may_leave_anything() {
    let mut orders = vec![order(0), order(1), order(2)];
    for (order, version) in orders.iter_mut().zip([2, 4, 6]) {
        order.trade.version = Version(version);
    }
    let logs = [log(1, orders)];
    let checked = |operations: &[Operation], edits| {
        let stocks = [edited_stock(3, edits)];
        check(operations, &logs, &stocks, Options::default())
    };
    // Edits made versions 3, 5 and 7: the stock before the last is known from nobody.
    let operations = || {
        vec![
            bought((1, 2), 0, 2),
            lookup((3, 4), 99, 2),
            bought((5, 6), 1, 4),
            lookup((5, 8), 499, 4),
            bought((9, 10), 2, 6),
            lookup((11, 12), 77, 7),
        ]
    };
    assert_eq!(checked(&operations(), 3), Verdict::Ok);
    finding(checked(&operations(), 2));
    for wrong in [
        // Before the edit, after it was shown.
        lookup((13, 14), 499, 4),
        // With what was shown to be another stock.
        lookup((5, 8), 500, 4),
        lookup((11, 12), 78, 7),
        lookup((5, 8), 499, 3),
    ] {
        let mut operations = operations();
        operations.push(wrong);
        finding(checked(&operations, 3));
    }
    let mut operations = operations();
    operations.push(lookup((5, 8), 500, 3));
    assert_eq!(checked(&operations, 3), Verdict::Ok);
}

#[test]
fn an_edited_item_is_left_open_where_its_edits_have_no_place() {
    let is_open = |verdict: Verdict, why: &str| {
        assert!(
            matches!(&verdict, Verdict::Unknown(said) if said.contains(why)),
            "{verdict:?}"
        );
    };
    let operations = [bought((1, 2), 0, 2)];
    let complete = Options {
        is_complete: true,
        ..Options::default()
    };
    let without_log = check(&operations, &[], &[edited_stock(1, 1)], complete);
    is_open(without_log, "edited");
    let mut renamed = order(1);
    renamed.trade.item = bazaar_rpc::ItemName::new("GameStop").unwrap();
    let logs = [log(1, [order(0), renamed])];
    let stocks = [edited_stock(1, 1)];
    is_open(
        check(&operations, &logs, &stocks, Options::default()),
        "renamed",
    );
}

#[test]
fn a_search_beyond_its_budget_is_left_open() {
    // No versions, and no order: every subset of the trades under way is to be tried.
    let mut operations: Vec<_> = (0..20)
        .map(|n| unknown(n, trade(Side::Sell, 1 << n, &n.to_string())))
        .collect();
    let answer = Answer::Stock {
        quantity: units(99),
        version: None,
    };
    let item = crate::samples::item();
    operations.push(operation(100, Call::Lookup { item }, ok(101, answer)));
    let options = Options {
        budget: Budget {
            configurations: 1000,
            ..Budget::default()
        },
        ..Options::default()
    };
    let verdict = check(&operations, &[], &[stock(1, 0)], options);
    assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("1000 configurations")));
}

/// A history of `processes` that trade and look up in turn, each operation at a moment within its
/// span; every tenth trade is of unknown outcome, and half of those are made.
fn long_history(operations: u64, processes: u64, shows_versions: bool) -> Vec<Operation> {
    let mut state = State {
        quantity: Some(100),
        version: 1,
    };
    let mut history = Vec::new();
    for n in 0..operations {
        // Operation n takes effect at its moment, and is under way as long as the others begin.
        let moment = 10 * n + 10 * processes;
        let span = (
            moment - 7 * processes - n % 5,
            moment + 2 * processes + n % 7,
        );
        if n % 3 == 0 {
            let version = shows_versions.then_some(Version(state.version));
            let quantity = units(state.quantity.unwrap());
            let call = Call::Lookup {
                item: crate::samples::item(),
            };
            let answer = Answer::Stock { quantity, version };
            history.push(operation(span.0, call, ok(span.1, answer)));
            continue;
        }
        let amount = n % 5 + 1;
        let side = if n % 2 == 0 { Side::Sell } else { Side::Buy };
        let call = trade(side, amount, &n.to_string());
        let delta = match side {
            Side::Buy => -(amount as i64),
            Side::Sell => amount as i64,
        };
        let action = Action::Trade {
            delta,
            version: None,
        };
        let is_unknown = n % 10 == 1;
        let is_made = !is_unknown || n % 20 == 1;
        match state.after(action).filter(|_| is_made) {
            Some(after) => state = after,
            None if is_unknown => {
                history.push(unknown(span.0, call));
                continue;
            }
            None => {
                history.push(short(span, amount, state.quantity));
                continue;
            }
        }
        history.push(if is_unknown {
            unknown(span.0, call)
        } else {
            let version = shows_versions.then_some(Version(state.version));
            let answer = Answer::Traded {
                number: bazaar_rpc::OrderNumber(n),
                version,
                replayed: false,
            };
            operation(span.0, call, ok(span.1, answer))
        });
    }
    history
}

#[test]
fn a_hundred_thousand_operations_on_one_item_are_checked_in_seconds() {
    let mut history = long_history(100_000, 50, true);
    let began = Instant::now();
    assert_eq!(verdict(&history), Verdict::Ok);
    println!("100000 operations of 50 processes: {:?}", began.elapsed());
    // And so is one where the last lookup is of the past.
    let last = history.len() as u64 * 100;
    history.push(lookup((last, last + 1), 100, 1));
    let began = Instant::now();
    finding(verdict(&history));
    println!("the same with a stale lookup: {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 60);
}

#[test]
fn hundreds_of_operations_that_show_no_versions_are_checked_too() {
    let history = long_history(300, 8, false);
    let began = Instant::now();
    assert_eq!(verdict(&history), Verdict::Ok);
    println!(
        "300 operations of 8 processes, unversioned: {:?}",
        began.elapsed()
    );
}

/// Whether any order of the completed steps, and of some of the others, explains everything: by
/// trying all of them.
fn has_order(steps: &[Step], state: State) -> bool {
    let completed = steps.iter().filter(|step| step.returned != NEVER);
    let Some(horizon) = completed.map(|step| step.returned).min() else {
        return true;
    };
    (0..steps.len()).any(|at| {
        let mut others = steps.to_vec();
        let step = others.remove(at);
        step.invoked <= horizon
            && state
                .after(step.action)
                .is_some_and(|after| has_order(&others, after))
    })
}

/// An operation to be: when it begins, how long it takes, and what it does, of which the answer is
/// made up by `answered`.
#[derive(Clone, Debug)]
struct Sketch {
    invoked: u64,
    lasts: u64,
    kind: u8,
    amount: u64,
    shows_version: bool,
    is_unknown: bool,
    /// Makes the answer a wrong one, mostly.
    twist: u64,
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch = (
        0..12_u64,
        1..8_u64,
        0..5_u8,
        1..4_u64,
        any::<(bool, bool)>(),
        0..10_u64,
    );
    let sketch = sketch.prop_map(|(invoked, lasts, kind, amount, flags, twist)| Sketch {
        invoked,
        lasts,
        kind,
        amount,
        shows_version: flags.0,
        is_unknown: flags.1,
        twist,
    });
    vec(sketch, 1..8)
}

/// Steps that are so in an order of their middles, but for the twists.
fn steps_of(mut sketches: Vec<Sketch>, initial: State) -> Vec<Step> {
    sketches.sort_by_key(|sketch| 2 * sketch.invoked + sketch.lasts);
    let mut state = initial;
    let mut steps = Vec::new();
    for sketch in sketches {
        let amount = sketch.amount as i64;
        let delta = if sketch.kind == 0 { amount } else { -amount };
        let action = Action::Trade {
            delta,
            version: None,
        };
        let mut returned = sketch.invoked + sketch.lasts;
        let twist = if sketch.twist < 2 {
            sketch.twist + 1
        } else {
            0
        };
        let shown = |version: u64| sketch.shows_version.then_some(version + twist);
        let action = match (sketch.kind, state.after(action)) {
            (0..=2, Some(after)) => {
                if sketch.is_unknown {
                    returned = NEVER;
                }
                // Every other trade of unknown outcome is made.
                if !sketch.is_unknown || sketch.invoked % 2 == 0 {
                    state = after;
                }
                let version = shown(state.version).filter(|_| !sketch.is_unknown);
                Action::Trade { delta, version }
            }
            (0..=2, None) => Action::Short {
                wanted: sketch.amount,
                available: sketch
                    .shows_version
                    .then_some(state.quantity.unwrap() + twist),
            },
            _ => Action::Read {
                quantity: state.quantity.unwrap() + if sketch.shows_version { 0 } else { twist },
                version: shown(state.version),
            },
        };
        steps.push(Step {
            invoked: sketch.invoked,
            returned,
            action,
        });
    }
    steps.sort_by_key(|step| (step.invoked, step.returned));
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// The search finds an order just where trying all of them does.
    #[test]
    fn it_agrees_with_brute_force(sketches in sketches()) {
        let initial = State { quantity: Some(3), version: 1 };
        let steps = steps_of(sketches, initial);
        let found = Search::new(&steps, initial, Budget::default()).run();
        let expected = has_order(&steps, initial);
        match found {
            Found::Order => prop_assert!(expected, "{:?}", steps),
            Found::NoOrder(_) => prop_assert!(!expected, "{:?}", steps),
            Found::NothingYet => prop_assert!(false, "such a search is within any budget"),
        }
    }
}

#[test]
fn the_comparison_with_brute_force_meets_both_answers() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let initial = State {
        quantity: Some(3),
        version: 1,
    };
    let mut linearizable = 0;
    for _ in 0..1000 {
        let sketches = sketches().new_tree(&mut runner).unwrap().current();
        linearizable += usize::from(has_order(&steps_of(sketches, initial), initial));
    }
    assert!((200..800).contains(&linearizable), "{linearizable} of 1000");
}
