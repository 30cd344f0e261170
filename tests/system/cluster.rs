//! A cluster of real processes, started by `bazaar up` and ended, however the test ends, with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How many lines of each log a failed test shows.
const LOG_LINES: usize = 30;

/// The command under test.
pub(crate) fn bazaar() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bazaar"));
    command.stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    bazaar().args(arguments).output().unwrap()
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    up: Child,
    /// Where the frontends listen.
    pub(crate) http: Vec<SocketAddr>,
    dir: PathBuf,
    /// Removes a directory of this cluster's own.
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster in a directory of its own.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut cluster = Self::start_in(temporary.path(), flags);
        cluster._temporary = Some(temporary);
        cluster
    }

    /// Starts a cluster in `dir`, or goes on with the one there.
    pub(crate) fn start_in(dir: &Path, flags: &[&str]) -> Self {
        Self::start_with(dir, flags, &[])
    }

    /// As [`Cluster::start_in`], with environment variables.
    pub(crate) fn start_with(dir: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut up = bazaar()
            .envs(environment.iter().copied())
            .args(["up", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (line_sender, line) = mpsc::channel();
        let mut stdout = BufReader::new(up.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut first = String::new();
            stdout.read_line(&mut first).ok();
            line_sender.send(first).ok();
            // Keeps the pipe open and empty as long as the process lives.
            std::io::copy(&mut stdout, &mut std::io::sink()).ok();
        });
        let line = line.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(addresses) = line.trim().strip_prefix("ready ") else {
            up.kill().ok();
            up.wait().ok();
            panic!("bazaar up said {line:?} instead of being ready");
        };
        let http = addresses
            .split(' ')
            .map(|url| {
                url.strip_prefix("http://")
                    .expect("a URL")
                    .parse()
                    .expect("an address")
            })
            .collect();
        Self {
            up,
            http,
            dir: dir.into(),
            _temporary: None,
        }
    }

    /// The first frontend.
    pub(crate) fn frontend(&self) -> SocketAddr {
        self.http[0]
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `bazaar status --json` says.
    pub(crate) fn status(&self) -> Vec<Value> {
        let output = self.command(&["status", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let mut status: Value = serde_json::from_slice(&output.stdout).unwrap();
        serde_json::from_value(status["processes"].take()).unwrap()
    }

    /// What the status says about `name`.
    pub(crate) fn process(&self, name: &str) -> Value {
        self.status()
            .into_iter()
            .find(|process| process["name"] == name)
            .unwrap_or_else(|| panic!("no process {name}"))
    }

    /// The replica of `kind` that leads, once there is one.
    #[track_caller]
    pub(crate) fn leader(&self, kind: &str) -> String {
        let mut leader = None;
        eventually("a leader", || {
            leader = self.replica_in_role(kind, "leader");
            leader.is_some()
        });
        leader.unwrap()
    }

    /// A replica of `kind` that follows.
    #[track_caller]
    pub(crate) fn follower(&self, kind: &str) -> String {
        let mut follower = None;
        eventually("a follower", || {
            follower = self.replica_in_role(kind, "follower");
            follower.is_some()
        });
        follower.unwrap()
    }

    fn replica_in_role(&self, kind: &str, role: &str) -> Option<String> {
        let of_kind = |process: &&Value| {
            process["role"] == role
                && process["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(kind))
        };
        let status = self.status();
        status
            .iter()
            .find(of_kind)
            .map(|process| process["name"].as_str().unwrap().into())
    }

    /// Runs `bazaar <arguments> --data-dir …`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        bazaar()
            .args(arguments)
            .arg("--data-dir")
            .arg(&self.dir)
            .output()
            .unwrap()
    }

    /// Runs `bazaar kill|pause|resume|start NAME`.
    #[track_caller]
    pub(crate) fn control(&self, verb: &str, name: &str) {
        let output = self.command(&[verb, name]);
        assert!(output.status.success(), "{verb} {name}: {output:?}");
    }

    /// Waits until every replica of `kind` runs and has applied what the leader has.
    #[track_caller]
    pub(crate) fn caught_up(&self, kind: &str) {
        eventually("every replica has caught up", || {
            let status = self.status();
            let mut replicas = status.iter().filter(|process| {
                process["name"]
                    .as_str()
                    .is_some_and(|n| n.starts_with(kind))
            });
            replicas.all(|replica| replica["state"] == "running" && replica["lag"] == 0)
        });
    }

    /// Every replica's log, as `bazaar order export --csv` prints it, oldest replica id first.
    #[track_caller]
    pub(crate) fn logs(&self, replicas: u64) -> Vec<String> {
        (1..=replicas).map(|replica| self.log(replica)).collect()
    }

    /// One replica's log.
    #[track_caller]
    pub(crate) fn log(&self, replica: u64) -> String {
        let replica = replica.to_string();
        let output = self.command(&["order", "export", "--csv", "--replica", replica.as_str()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Kills a process and removes its data directory, as the loss of its disk would.
    #[track_caller]
    pub(crate) fn lose(&self, name: &str) {
        self.control("kill", name);
        fs::remove_dir_all(self.data_of(name)).unwrap();
    }

    /// The data directory of a process.
    pub(crate) fn data_of(&self, name: &str) -> PathBuf {
        self.dir.join(name.replace('/', "-"))
    }

    /// Stops the cluster as a person would, with Ctrl-C.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGINT).unwrap();
        self.wait()
    }

    /// Kills the supervisor, and with it everything, without warning.
    pub(crate) fn kill(mut self) {
        self.up.kill().unwrap();
        self.wait();
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.up.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "bazaar up did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.up.id()).unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.up.try_wait(), Ok(None)) {
            if std::thread::panicking() {
                self.show_logs();
            }
            self.up.kill().ok();
            self.up.wait().ok();
        }
    }
}

impl Cluster {
    /// Shows how the processes stand and what they last logged, for whoever looks into a failure.
    fn show_logs(&self) {
        let status = self.command(&["status"]);
        eprintln!("{}", String::from_utf8_lossy(&status.stdout));
        for entry in fs::read_dir(self.dir.join("log"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let log = fs::read_to_string(entry.path()).unwrap_or_default();
            let skip = log.lines().count().saturating_sub(LOG_LINES);
            eprintln!("== {}", entry.path().display());
            log.lines().skip(skip).for_each(|line| eprintln!("{line}"));
        }
    }
}
