use super::*;
use crate::{ClientEvent, Evidence, Observation, OrdersLine, Writer};

const CLIENT: &str = r#"{"format":"bazaar-history","version":3,"kind":"client","source":"c","cluster":null,"clock":"simulated"}"#;
const ORDERS: &str = r#"{"format":"bazaar-history","version":3,"kind":"orders","source":"order/1","cluster":"bazaar","clock":null}"#;
const INVOKE: &str = r#"{"at":5,"process":1,"op":1,"event":{"invoke":{"frontend":"f","call":{"lookup":{"item":"GameStart"}}}}}"#;
const OK: &str = r#"{"at":6,"process":1,"op":1,"event":{"ok":{"frontend":"f","answer":{"stock":{"quantity":7,"version":2}}}}}"#;

fn read(text: &str) -> Result<Evidence, Error> {
    let mut evidence = Evidence::default();
    evidence.add(Source::new(Path::new("some.ndjson"), text.as_bytes())?)?;
    Ok(evidence)
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let error = read(text).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_is_written_is_read() {
    let events = [INVOKE, OK].map(|line| serde_json::from_str::<ClientEvent>(line).unwrap());
    let origin = Origin::timed("c", None, Origin::SIMULATED);
    let mut writer = Writer::new(Vec::new(), &origin).unwrap();
    for event in &events {
        writer.write(event).unwrap();
    }
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert_eq!(text, format!("{CLIENT}\n{INVOKE}\n{OK}\n"));
    let evidence = read(&text).unwrap();
    let shown = evidence.operations[0].to_string();
    assert_eq!(
        shown,
        "some.ndjson:2: process 1 asked f at 0.000000005 s to look GameStart up, and was told by f \
         at 0.000000006 s: 7 in stock, version 2"
    );
}

#[test]
fn a_file_that_is_cut_short_names_its_last_line() {
    let cut = &OK[..40];
    let cut_short = "some.ndjson:3: cut short: the last line has no end";
    refuses(&format!("{CLIENT}\n{INVOKE}\n{cut}"), cut_short);
    // Even where it happens to be whole.
    refuses(&format!("{CLIENT}\n{INVOKE}\n{OK}"), cut_short);
    refuses(&CLIENT[..50], "some.ndjson:1: cut short");
    refuses("", "some.ndjson: empty");
    // Without that line, what was under way is of unknown outcome.
    let evidence = read(&format!("{CLIENT}\n{INVOKE}\n")).unwrap();
    assert_eq!(evidence.operations[0].completed(), None);
}

#[test]
fn a_replicas_file_has_an_end() {
    let end = r#"{"end":{"applied":0}}"#;
    assert_eq!(read(&format!("{ORDERS}\n{end}\n")).unwrap().orders.len(), 1);
    refuses(
        &format!("{ORDERS}\n"),
        "some.ndjson:1: cut short: there is no `end`",
    );
    refuses(
        &format!("{ORDERS}\n{end}\n{end}\n"),
        "some.ndjson:3: there is more behind",
    );
}

#[test]
fn what_is_no_history_of_this_version_is_refused() {
    refuses(
        "{]\n",
        "some.ndjson:1: not NDJSON: key must be a string at column 2",
    );
    refuses("\u{0}\u{1}\n", "some.ndjson:1: not NDJSON");
    refuses("[1,2]\n", "some.ndjson:1: not a history");
    refuses("{\"number\":7}\n", "some.ndjson:1: not a history");
    refuses(
        &CLIENT.replace("bazaar-", "other-"),
        "some.ndjson:1: cut short",
    );
    refuses(
        &format!("{}\n", CLIENT.replace("bazaar-", "other-")),
        "some.ndjson:1: not a history",
    );
    let other = CLIENT.replace(":3,", ":4,");
    refuses(
        &format!("{other}\n"),
        "some.ndjson:1: a history of version 4, where",
    );
    let timeless = CLIENT.replace("\"simulated\"", "null");
    refuses(
        &format!("{timeless}\n"),
        "some.ndjson:1: the header names no clock",
    );
    let huge = "x".repeat(MAX_LINE + 7);
    refuses(
        &format!("{CLIENT}\n{huge}\n"),
        "some.ndjson:2: not NDJSON: a line of more than",
    );
}

#[test]
fn lines_that_say_what_cannot_be_are_refused() {
    let second = |line: &str| format!("{CLIENT}\n{INVOKE}\n{line}\n");
    refuses(&second("not json"), "some.ndjson:3: not NDJSON");
    refuses(
        &second("{\"at\":1}"),
        "some.ndjson:3: not what a line of kind `client` says: missing",
    );
    let slip = OK.replace("version", "versoin");
    refuses(
        &second(&slip),
        "some.ndjson:3: not what a line of kind `client` says: unknown field",
    );
    let other = OK.replace("\"op\":1", "\"op\":2");
    refuses(
        &second(&other),
        "some.ndjson:3: operation 2 of process 1 is completed and is not",
    );
    let twice = format!("{OK}\n{OK}");
    refuses(
        &second(&twice),
        "some.ndjson:4: operation 1 of process 1 is completed and is not",
    );
    refuses(
        &second(INVOKE),
        "some.ndjson:3: operation 1 of process 1 is invoked after operation 1",
    );
    let early = OK.replace("\"at\":6", "\"at\":4");
    refuses(
        &second(&early),
        "some.ndjson:3: time goes back within `process 1`, from 5 to 4",
    );
    let number = r#"{"traded":{"number":1,"version":2,"replayed":false}}"#;
    let wrong = OK.replace(r#"{"stock":{"quantity":7,"version":2}}"#, number);
    refuses(
        &second(&wrong),
        "some.ndjson:3: operation 1 of process 1 is answered with something",
    );
    // Other processes have times of their own.
    read(&second(
        &INVOKE
            .replace("\"at\":5", "\"at\":1")
            .replace("\"process\":1", "\"process\":2"),
    ))
    .unwrap();
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let text = format!("{CLIENT}\n");
    let source = Source::new(Path::new("some.ndjson"), text.as_bytes()).unwrap();
    let error = source.records::<OrdersLine>().unwrap_err().to_string();
    assert!(
        error.contains("kind `client`, where one of kind `orders`"),
        "{error}"
    );
}

#[test]
fn faults_and_observations_are_in_order() {
    let faults = CLIENT.replace("client", "faults");
    let begin = r#"{"at":5,"fault":1,"event":{"begin":{"what":"kill order/3"}}}"#;
    let end = r#"{"at":7,"fault":1,"event":{"end":{}}}"#;
    let read_faults = read(&format!("{faults}\n{begin}\n{end}\n")).unwrap().faults;
    assert_eq!((read_faults[0].began, read_faults[0].ended), (5, Some(7)));
    refuses(
        &format!("{faults}\n{end}\n"),
        "some.ndjson:2: fault 1 begins twice, or ends before",
    );
    refuses(
        &format!("{faults}\n{begin}\n{begin}\n"),
        "some.ndjson:3: fault 1 begins twice",
    );
    let back = end.replace('7', "4");
    refuses(
        &format!("{faults}\n{begin}\n{back}\n"),
        "some.ndjson:3: time goes back",
    );

    let seen = Observation {
        at: 5,
        replica: "order/1".parse().unwrap(),
        term: bazaar_rpc::Term(1),
        leader: None,
        applied: None,
        digest: None,
    };
    let seen = serde_json::to_string(&seen).unwrap();
    let consensus = CLIENT.replace("client", "consensus");
    let back = seen.replace("\"at\":5", "\"at\":4");
    refuses(
        &format!("{consensus}\n{seen}\n{back}\n"),
        "some.ndjson:3: time goes back within `order/1`",
    );
}

#[test]
fn files_that_do_not_go_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let client = write("client", format!("{CLIENT}\n"));
    let end = r#"{"end":{"applied":0}}"#;
    let orders = write("orders", format!("{ORDERS}\n{end}\n"));
    Evidence::read(&[&client, &orders]).unwrap();
    let clock = write(
        "clock",
        format!("{}\n", CLIENT.replace("simulated", "monotonic 7")),
    );
    let error = Evidence::read(&[&client, &clock]).unwrap_err().to_string();
    assert!(
        error.contains("clock:1: its clock is `monotonic 7`"),
        "{error}"
    );
    let same = write("same", format!("{ORDERS}\n{end}\n"));
    let error = Evidence::read(&[&orders, &same]).unwrap_err().to_string();
    assert!(error.contains("it is of `order/1`, and so is"), "{error}");
    let cluster = ORDERS
        .replace("\"bazaar\"", "\"other\"")
        .replace("order/1", "order/2");
    let cluster = write("cluster", format!("{cluster}\n{end}\n"));
    let error = Evidence::read(&[&orders, &cluster])
        .unwrap_err()
        .to_string();
    assert!(error.contains("about the cluster `other`"), "{error}");
    let missing = dir.path().join("missing");
    let error = Evidence::read(&[&missing]).unwrap_err().to_string();
    assert!(error.contains("missing: No such file"), "{error}");
}
