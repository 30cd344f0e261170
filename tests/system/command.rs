//! The command line: what goes wrong is said in one line.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, eventually, run};
use crate::http::{get, post};

/// Checks that a command failed with a message of one line, and returns it.
#[track_caller]
fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(
        output.status.code().is_some(),
        "ended by a signal: {output:?}"
    );
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(message.trim().lines().count(), 1, "{message}");
    message
}

fn up_with_shop(dir: &Path, shop: &str) -> Output {
    let file = dir.join("shop.json");
    fs::write(&file, shop).unwrap();
    let (data, file) = (dir.join("data"), file.to_str().unwrap().to_owned());
    run(&[
        "up",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
        "--shop",
        &file,
    ])
}

#[test]
fn a_bad_shop_file_is_refused_by_file_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let good = concat!(
        "{\n  \"shop\": \"corner\",\n  \"policy\": {\"sides\": [\"buy\"], \"min\": 1, \"account\": false},\n",
        "  \"items\": [\n    {\"number\": 901, \"name\": \"Apple\", \"price\": 0.50, \"quantity\": 7},\n",
        "    {\"number\": 902, \"name\": \"Pear\", \"price\": 0.75, \"quantity\": 7}\n  ]\n}\n",
    );
    // What is changed in the good file, and what the message must name.
    let cases: [(&str, &str, &[&str]); 7] = [
        ("{\n  \"shop\"", "{\n  oops", &["2"]),
        ("\"price\": 0.75", "\"prize\": 0.75", &["6", "prize"]),
        (", \"quantity\": 7}\n  ]", "}\n  ]", &["6", "quantity"]),
        ("0.75", "-0.75", &["6", "price"]),
        ("Pear", "Apple", &["6", "name", "Apple"]),
        ("902", "901", &["6", "number", "901"]),
        // Names are unique over all shops, those that ship included.
        ("Pear", "GameStart", &["6", "name", "GameStart"]),
    ];
    for (from, to, named) in cases {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let message = failure(&up_with_shop(dir.path(), &bad));
        assert!(message.contains("shop.json"), "{message}");
        for word in named {
            assert!(message.contains(word), "{message} does not name {word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_of_ones_own_is_one_more_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.json");
    let shop = r#"{"shop": "corner", "policy": {"sides": ["buy"], "min": 1, "account": false},
        "items": [{"number": 901, "name": "Apple", "price": 0.50, "quantity": 7}]}"#;
    fs::write(&file, shop).unwrap();
    let cluster = Cluster::start(&["--orders", "1", "--shop", file.to_str().unwrap()]);
    let apple = get(cluster.frontend(), "/stocks/Apple").await;
    assert_eq!(apple.json()["data"]["quantity"], 7, "{apple:?}");
    assert_eq!(
        get(cluster.frontend(), "/stocks/GameStart").await.status,
        200
    );
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let output = run(&[
        "up",
        "--http",
        &address,
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let message = failure(&output);
    assert!(message.contains(&address), "{message}");
}

#[test]
fn a_data_directory_has_one_owner() {
    let cluster = Cluster::start(&["--orders", "1"]);
    let data = cluster.dir().to_str().unwrap();
    let output = run(&["up", "--http", "127.0.0.1:0", "--data-dir", data]);
    let message = failure(&output);
    assert!(
        message.contains("locked") && message.contains(data),
        "{message}"
    );
    // A file is no directory.
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let message = failure(&run(&["up", "--http", "127.0.0.1:0", "--data-dir", file]));
    assert!(message.contains(file), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_in(dir.path(), &["--orders", "1"]);
    let buy = json!({"name": "GameStart", "quantity": 1, "type": "buy"});
    for _ in 0..10 {
        assert_eq!(post(cluster.frontend(), "/orders", &buy).await.status, 200);
    }
    cluster.kill();
    let mut damaged = 0;
    for path in files(&dir.path().join("catalog-1")) {
        if path.extension().is_none_or(|extension| extension != "wal") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 64 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "nothing to damage");
    let data = dir.path().to_str().unwrap();
    let output = run(&[
        "up",
        "--http",
        "127.0.0.1:0",
        "--orders",
        "1",
        "--data-dir",
        data,
    ]);
    let message = failure(&output);
    assert!(message.contains("catalog-1"), "{message}");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[test]
fn the_name_service_has_pyros_verbs() {
    let cluster = Cluster::start(&["--orders", "1"]);
    let ns = |arguments: &[&str]| {
        let address = cluster.process("nameserver/1")["address"]
            .as_str()
            .unwrap()
            .to_owned();
        let name = cluster_name(&cluster);
        let flags = ["--nameserver", address.as_str(), "--cluster", name.as_str()];
        run(&[&["ns"], arguments, flags.as_slice()].concat())
    };
    let said = |output: Output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = said(ns(&["list"]));
    for name in ["catalog/1", "order/1", "frontend/1"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(!said(ns(&["list", "--prefix", "order/"])).contains("catalog/1"));
    assert!(said(ns(&["list", "--regex", "cat.*"])).contains("catalog/1"));
    said(ns(&[
        "register",
        "printer",
        "127.0.0.1:9100",
        "--metadata",
        "colour",
    ]));
    assert!(said(ns(&["lookup", "printer"])).contains("127.0.0.1:9100"));
    // Safe by default.
    let taken = failure(&ns(&["register", "printer", "127.0.0.1:9101"]));
    assert!(taken.contains("127.0.0.1:9100"), "{taken}");
    said(ns(&["register", "printer", "127.0.0.1:9101", "--replace"]));
    said(ns(&["set-metadata", "printer", "paper", "ink"]));
    assert!(said(ns(&["yplookup", "--all", "paper"])).contains("printer"));
    said(ns(&["remove", "printer"]));
    let unknown = failure(&ns(&["lookup", "printer"]));
    assert!(unknown.contains("printer"), "{unknown}");
    said(ns(&["ping"]));
    assert!(said(ns(&["count"])).trim().parse::<u64>().unwrap() >= 3);
    failure(&ns(&["list", "--regex", "("]));

    // A dead service's name is gone within 6 s; a name server that starts empty is whole again.
    cluster.control("kill", "frontend/1");
    let died = Instant::now();
    eventually("the dead name is gone", || {
        !said(ns(&["list"])).contains("frontend/1")
    });
    assert!(
        died.elapsed() < Duration::from_secs(6),
        "{:?}",
        died.elapsed()
    );
    cluster.control("kill", "nameserver/1");
    cluster.control("start", "nameserver/1");
    eventually("the name server is whole again", || {
        let output = ns(&["list"]);
        let listed = String::from_utf8(output.stdout).unwrap();
        output.status.success() && listed.contains("catalog/1") && listed.contains("order/1")
    });
}

fn cluster_name(cluster: &Cluster) -> String {
    let file = fs::read(cluster.dir().join("cluster.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    file["cluster"].as_str().unwrap().into()
}

#[test]
fn a_client_whose_trades_all_fail_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&["--orders", "1"]);
    let url = format!("http://{}", cluster.frontend());
    let log = dir.path().join("orders.ndjson");
    let load = ["--duration", "300ms", "--trade-probability", "1", "--items"];
    let client = |item| {
        let target = [
            "client",
            "--url",
            url.as_str(),
            "--log",
            log.to_str().unwrap(),
        ];
        run(&[&target, load.as_slice(), &[item]].concat())
    };
    // The shop of this one wants an account.
    let output = client("hoodie");
    assert!(!output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("no trade succeeded"), "{said}");
    // And what a client was told is not overwritten by the next one.
    assert!(failure(&client("GameStart")).contains("orders.ndjson"));
}
