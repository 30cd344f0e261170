//! A cluster in a temporary directory: `bazaar up` as a child of this process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bazaar_client::BaseUrl;
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::identity::nix_pid;

/// How long the cluster may take to stop. It gives up on its own processes before.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A running cluster that nobody else uses. It ends with this process, however that ends.
pub(crate) struct Throwaway {
    child: Child,
    urls: Vec<BaseUrl>,
    /// Kept open, so that nothing the cluster prints fails.
    _stdout: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
    /// Removed after the child has ended, where it is the cluster's own.
    temporary: Option<TempDir>,
}

impl Throwaway {
    /// Starts a cluster with `flags` besides the defaults, and waits until trades flow. What it has
    /// to say goes to standard error.
    ///
    /// The cluster ends with the *thread* that this is called on: that must be the main thread.
    pub(crate) async fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("bazaar-").tempdir()?;
        let mut cluster = Self::start_in(temporary.path(), flags).await?;
        cluster.temporary = Some(temporary);
        Ok(cluster)
    }

    /// As [`Throwaway::start`], in the directory `dir`, which stays.
    pub(crate) async fn start_in(dir: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["up", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .arg("--supervised-by")
            .arg(std::process::id().to_string())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C on the terminal is for this process, which then stops the cluster.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let Some(line) = lines.next_line().await? else {
            let status = child.wait().await?;
            bail!("the cluster did not start: {status}");
        };
        let urls = line
            .strip_prefix("ready ")
            .with_context(|| format!("not ready: {line}"))?;
        let urls = urls.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            child,
            urls,
            _stdout: lines,
            dir: dir.into(),
            temporary: None,
        })
    }

    /// Where it serves HTTP.
    pub(crate) fn urls(&self) -> &[BaseUrl] {
        &self.urls
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops it, and removes what it wrote where the directory is its own.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            kill(nix_pid(pid), Signal::SIGTERM)?;
        }
        let ended = timeout(STOP_LIMIT, self.child.wait()).await;
        let status = ended.context("the cluster does not stop")??;
        if let Some(temporary) = self.temporary {
            temporary.close()?;
        }
        if !status.success() {
            bail!("the cluster did not stop in good order: {status}");
        }
        Ok(())
    }
}
