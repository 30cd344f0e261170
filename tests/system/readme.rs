//! The sessions of the README work when they are pasted, and answer what it shows.

use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::{Cluster, PATIENCE};

const README: &str = include_str!("../../README.md");

/// Where a session asks, in the README.
const ADDRESS: &str = "localhost:8080";

/// The first block of shell commands under a heading.
fn session(heading: &str) -> &'static str {
    let (_, section) = README.split_once(heading).expect(heading);
    let (_, block) = section.split_once("```sh\n").expect("a block");
    block.split_once("```").expect("an end").0
}

/// Whether `line` is as the README shows it, where … stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else {
        return line == shown;
    };
    let Some(mut left) = line.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn its_sessions_work_when_pasted() {
    let cluster = Cluster::start(&[]);
    for heading in ["## A session\n", "## Accounts, and an order of one's own\n"] {
        let session = session(heading);
        // Each answer ends a line, as it does in a terminal.
        let script = session
            .replace(ADDRESS, &cluster.frontend().to_string())
            .replace("curl -s ", "curl -sw '\\n' ");
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]);
        bash.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, bash.output()).await.expect("in time");
        let output = output.unwrap();
        let (said, printed) = (
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
        );
        assert!(output.status.success(), "{said}{printed}");
        let mut lines = printed.lines();
        let shown: Vec<_> = session
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.starts_with(['{', 'i']))
            .collect();
        assert!(shown.len() > 3, "{shown:?}");
        for shown in shown {
            let found = lines.any(|line| is_as_shown(line.trim_end(), shown));
            assert!(found, "{shown}\nis not in:\n{printed}");
        }
    }
}
