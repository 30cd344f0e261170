//! Network namespaces: one for each process, made and removed with iproute2's `ip`.
//!
//! A namespace's name says which process made it, so that the next run finds those whose owner died
//! before it could remove them.

use std::fs;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use bazaar_rpc::ServiceName;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::error::NetworkError;
use crate::identity::Identity;

/// Where iproute2 keeps the names of namespaces.
const NAMES: &str = "/run/netns";

/// What all our names begin with.
const PREFIX: &str = "bazaar-torture";

/// How long `ip` may take. The kernel may have to wait for other namespaces to end first.
const LIMIT: Duration = Duration::from_secs(20);

/// The namespaces of one network.
pub(super) struct Namespaces {
    names: Vec<String>,
}

/// The name of the namespace of `process` in the network `serial` of this program.
pub(super) fn name(owner: &Identity, serial: u32, process: ServiceName) -> String {
    let Identity { pid, started, .. } = owner;
    let ServiceName { kind, id } = process;
    format!("{PREFIX}-{pid}-{started}-{serial}-{kind}-{id}")
}

impl Namespaces {
    /// Makes namespaces of these names. Whatever comes of it, they are to be [removed](Self::remove).
    pub(super) async fn add(names: Vec<String>) -> (Self, Result<(), NetworkError>) {
        let commands: Vec<String> = names
            .iter()
            .map(|name| format!("netns add {name}"))
            .collect();
        let added = ip(&[], &commands).await;
        (Self { names }, added)
    }

    /// Removes them, as far as they are there.
    pub(super) async fn remove(self) -> Result<(), NetworkError> {
        remove(self.names).await
    }
}

/// Removes namespaces whose owners died without removing them.
pub(super) async fn remove_stale() -> Result<(), NetworkError> {
    let names = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    remove(names.filter(|name| is_stale(name)).collect()).await
}

/// Whether the process that made the namespace of this name is gone.
fn is_stale(name: &str) -> bool {
    let owner = || {
        let rest = name.strip_prefix(PREFIX)?.strip_prefix('-')?;
        let mut fields = rest.split('-');
        let pid: u32 = fields.next()?.parse().ok()?;
        let started: u64 = fields.next()?.parse().ok()?;
        Some((pid, started))
    };
    owner().is_some_and(|(pid, started)| {
        Identity::of(pid).map_or(true, |now| now.started != started || !now.is_alive())
    })
}

async fn remove(names: Vec<String>) -> Result<(), NetworkError> {
    let there = |name: &String| fs::exists(format!("{NAMES}/{name}")).unwrap_or(true);
    let there: Vec<String> = names.into_iter().filter(there).collect();
    let commands: Vec<String> = there
        .iter()
        .map(|name| format!("netns delete {name}"))
        .collect();
    let removed = ip(&["-force"], &commands).await;
    // Another run may have removed the same stale ones at the same moment.
    if there
        .iter()
        .any(|name| fs::exists(format!("{NAMES}/{name}")).unwrap_or(true))
    {
        return removed;
    }
    Ok(())
}

/// Has `ip` carry out `commands`, each one line without the word `ip`.
pub(super) async fn ip(options: &[&str], commands: &[String]) -> Result<(), NetworkError> {
    if commands.is_empty() {
        return Ok(());
    }
    let shown = || format!("ip {} {}", options.join(" "), commands.join("; "));
    let start = |source| NetworkError::Start {
        command: shown(),
        source,
    };
    let running = async {
        let mut child = Command::new("ip")
            .args(options)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("it was asked for");
        let lines = commands.join("\n");
        let written = stdin.write_all(lines.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await?;
        // Where `ip` has failed, its own words say more than the broken pipe.
        if output.status.success() {
            written?;
        }
        io::Result::Ok(output)
    };
    let Output { status, stderr, .. } = timeout(LIMIT, running)
        .await
        .map_err(|_elapsed| NetworkError::TimedOut(shown()))?
        .map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(NetworkError::Failed {
        command: shown(),
        status,
        stderr: String::from_utf8_lossy(&stderr).trim().replace('\n', "; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_stale_when_its_owner_is_gone() {
        let owner = Identity::of(std::process::id()).unwrap();
        let process: ServiceName = "order/3".parse().unwrap();
        assert!(!is_stale(&name(&owner, 17, process)));
        let mut predecessor = owner.clone();
        predecessor.started -= 1;
        assert!(is_stale(&name(&predecessor, 17, process)));
        for foreign in [
            "bazaar",
            "bazaar-torture",
            "bazaar-torture-x-1-2-order-3",
            "cni-17",
        ] {
            assert!(!is_stale(foreign), "{foreign}");
        }
    }
}
