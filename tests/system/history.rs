//! Histories of a real run: what is recorded is found to be right, and what is then altered is found.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, bazaar, eventually};

/// The files of a run, by name.
const FILES: [&str; 5] = ["client", "order-1", "order-2", "order-3", "stock"];

/// One run, for all tests.
static RUN: LazyLock<Histories> = LazyLock::new(Histories::record);

/// The histories of a run.
struct Histories {
    dir: TempDir,
}

impl Histories {
    /// Of a cluster that loses its order leader under load, and is then stopped.
    fn record() -> Self {
        let histories = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let data = tempfile::tempdir().unwrap();
        let cluster = Cluster::start_in(data.path(), &["--frontends", "2"]);
        let urls: Vec<_> = cluster
            .http
            .iter()
            .map(|at| format!("http://{at}"))
            .collect();
        let mut client = bazaar()
            .args(["client", "--connections", "8", "--requests", "6000"])
            .args(["--trade-probability", "0.5", "--query-probability", "0.3"])
            .args(["--url", &urls.join(","), "--log"])
            .arg(data.path().join("orders.ndjson"))
            .arg("--history")
            .arg(histories.path("client"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let recorded = || {
            let client = fs::read_to_string(histories.path("client"));
            client.unwrap_or_default().lines().count()
        };
        eventually("the load runs", || recorded() > 1000);
        let leader = cluster.leader("order");
        cluster.control("kill", &leader);
        let killed = recorded();
        eventually("the load goes on", || recorded() > killed + 1000);
        cluster.control("start", &leader);
        assert!(client.wait().unwrap().success());
        cluster.caught_up("order/");
        for (replica, name) in (1..).zip(&FILES[1..4]) {
            let replica = format!("{replica}");
            let log = cluster.command(&["order", "export", "--history", "--replica", &replica]);
            histories.write(name, &log);
        }
        // When it stops, the catalog writes down what it has.
        assert!(cluster.stop().success());
        let stock = bazaar()
            .args(["catalog", "export", "--data-dir"])
            .arg(data.path())
            .output();
        histories.write("stock", &stock.unwrap());
        histories
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).with_extension("ndjson")
    }

    fn write(&self, name: &str, output: &Output) {
        assert!(output.status.success(), "{output:?}");
        fs::write(self.path(name), &output.stdout).unwrap();
    }

    /// The same, with the lines of some files altered.
    fn altered(&self, alter: impl Fn(&str, &mut Vec<Value>)) -> Self {
        let altered = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in FILES {
            let text = fs::read_to_string(self.path(name)).unwrap();
            let mut lines = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            alter(name, &mut lines);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(altered.path(name), text).unwrap();
        }
        altered
    }

    fn check(&self, flags: &[&str]) -> Output {
        let files = FILES.map(|name| self.path(name));
        bazaar()
            .arg("check")
            .args(flags)
            .args(files)
            .output()
            .unwrap()
    }

    /// The checks that find something, and everything that they say.
    #[track_caller]
    fn complaints(&self) -> (Vec<String>, String) {
        let output = self.check(&["--exclusive", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], false);
        let checks = report["checks"].as_array().unwrap().iter();
        let violated =
            checks.filter(|check| check["result"]["run"]["verdict"]["violation"].is_object());
        let names = violated
            .map(|check| check["check"].as_str().unwrap().into())
            .collect();
        let text = String::from_utf8(self.check(&["--exclusive"]).stdout).unwrap();
        (names, text)
    }
}

/// The place of the first line that has `pointer` and is `wanted`.
fn find(lines: &[Value], pointer: &str, wanted: impl Fn(&Value) -> bool) -> usize {
    let is_wanted = |line: &Value| line.pointer(pointer).is_some_and(&wanted);
    lines.iter().position(is_wanted).expect("such a line")
}

#[test]
fn a_run_that_lost_its_order_leader_passes_every_check() {
    for flags in [&["--exclusive", "--json"][..], &["--without-log", "--json"]] {
        let output = RUN.check(flags);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["operations"].as_u64() > Some(6000), "{report}");
        assert!(report["orders"].as_u64() > Some(1000), "{report}");
        for check in report["checks"].as_array().unwrap() {
            let needs_more = ["raft", "liveness"].contains(&check["check"].as_str().unwrap());
            let expected = if needs_more { Value::Null } else { json!("ok") };
            assert_eq!(check["result"]["run"]["verdict"], expected, "{check}");
        }
    }
    let text = String::from_utf8(RUN.check(&[]).stdout).unwrap();
    assert!(
        text.contains("not run: needs a file of kind consensus"),
        "{text}"
    );
}

#[test]
fn an_order_that_is_taken_out_of_one_log_is_lost() {
    let altered = RUN.altered(|name, lines| {
        if name == "order-2" {
            lines.remove(500);
        }
    });
    let (checks, text) = altered.complaints();
    assert_eq!(checks, ["set", "bank", "convergence", "gapless"], "{text}");
    assert!(
        text.contains("set: order/2: an acknowledged order is lost"),
        "{text}"
    );
}

#[test]
fn an_order_that_is_put_into_the_logs_again_is_doubled() {
    let altered = RUN.altered(|name, lines| {
        if name.starts_with("order") {
            let end = lines.len() - 1;
            let (mut again, last) = (lines[500].clone(), lines[end - 1].clone());
            let next = |pointer| json!(last.pointer(pointer).unwrap().as_u64().unwrap() + 1);
            again["order"]["number"] = next("/order/number");
            again["order"]["trade"]["sequence"] = next("/order/trade/sequence");
            lines[end]["end"]["applied"] = json!(end);
            lines.insert(end, again);
        }
    });
    let (checks, text) = altered.complaints();
    assert!(checks.contains(&"set".into()), "{checks:?}");
    assert!(!checks.contains(&"gapless".into()) && !checks.contains(&"convergence".into()));
    assert!(
        text.contains("set: order/1: one request is recorded more than once"),
        "{text}"
    );
}

#[test]
fn a_lookup_that_is_altered_to_show_the_past_is_stale() {
    let altered = RUN.altered(|name, lines| {
        if name == "client" {
            let shows = |line: &Value| line["version"].as_u64() > Some(20);
            let at = find(lines, "/event/ok/answer/stock", shows);
            let stock = lines[at].pointer_mut("/event/ok/answer/stock").unwrap();
            *stock = json!({"quantity": 100, "version": 1});
        }
    });
    let (checks, text) = altered.complaints();
    assert_eq!(checks, ["freshness", "linearizability"], "{text}");
    assert!(text.contains("freshness: a stale lookup of"), "{text}");
    assert!(
        text.contains("linearizability: no order of the operations on"),
        "{text}"
    );
}

#[test]
fn a_stock_with_a_unit_too_many_does_not_add_up() {
    let altered = RUN.altered(|name, lines| {
        if name == "stock" {
            let at = find(lines, "/item/item", |name| name == "GameStart");
            let quantity = &mut lines[at]["item"]["quantity"];
            *quantity = json!(quantity.as_u64().unwrap() + 1);
        }
    });
    let (checks, text) = altered.complaints();
    assert_eq!(checks, ["bank"], "{text}");
    assert!(text.contains("do not make its GameStart"), "{text}");
}

#[test]
fn a_file_that_is_no_whole_history_is_named_with_its_line() {
    let altered = RUN.altered(|_, _| {});
    let refuses = |expected: &str| {
        let output = altered.check(&[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(problem.contains(expected), "{problem}");
    };
    let client = altered.path("client");
    let whole = fs::read_to_string(&client).unwrap();
    let lines = whole.lines().count();
    fs::write(&client, &whole[..whole.len() - 10]).unwrap();
    refuses(&format!("client.ndjson:{lines}: cut short"));
    fs::write(&client, whole.replacen("\"version\":3", "\"version\":9", 1)).unwrap();
    refuses("client.ndjson:1: a history of version 9");
    fs::write(&client, "Transaction ID,Stock Name\n").unwrap();
    refuses("client.ndjson:1: not NDJSON");
    let alone = bazaar()
        .arg("check")
        .arg(altered.path("stock"))
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2), "{alone:?}");
}
