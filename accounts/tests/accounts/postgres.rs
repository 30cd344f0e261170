//! A PostgreSQL server of a test's own: in a temporary directory, on a socket there, and as a user
//! without privileges.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whom Debian's package has PostgreSQL run as.
const USER: &str = "postgres";

/// A server, stopped when this is dropped.
pub(crate) struct Postgres {
    programs: PathBuf,
    dir: TempDir,
    child: Option<Child>,
}

impl Postgres {
    /// Starts a server. None where PostgreSQL is not installed, which is a failure in CI.
    pub(crate) async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name(USER).unwrap();
            let user = user.expect("the package makes that user");
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self {
            programs,
            dir,
            child: None,
        };
        let data = server.data();
        let mut initdb = server.command("initdb");
        initdb.args(["--auth=trust", "--no-sync", "--username", USER, "--pgdata"]);
        succeeded(initdb.arg(data).output().unwrap());
        server.start_again().await;
        Some(server)
    }

    /// Starts the server, which is stopped.
    pub(crate) async fn start_again(&mut self) {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data());
        postgres.args(["-c", "fsync=off", "-c", "listen_addresses="]);
        postgres.arg("-k").arg(self.dir.path());
        postgres.stderr(Stdio::null());
        self.child = Some(postgres.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !self.sql("SELECT 1").output().unwrap().status.success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the database `name`, and returns its URL.
    pub(crate) async fn create_database(&self, name: &str) -> String {
        let name = &name[..name.len().min(63)];
        succeeded(
            self.sql(&format!("CREATE DATABASE {name}"))
                .output()
                .unwrap(),
        );
        let socket = self.dir.path().display();
        format!("postgres:///{name}?host={socket}&user={USER}")
    }

    /// Sends `signal` to every process of the server. Each has a session of its own, so they make
    /// no group.
    pub(crate) fn signal_all(&self, signal: Signal) {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in std::iter::once(pid).chain(children.map(Pid::from_raw)) {
            // One that has ended in the meantime needs no signal.
            kill(pid, signal).ok();
        }
    }

    /// Stops the server; clients are cut off.
    pub(crate) async fn stop(&mut self) {
        // Its "fast" shutdown.
        kill(self.pid(), Signal::SIGINT).unwrap();
        let mut child = self.child.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait())
            .await
            .unwrap()
            .unwrap();
    }

    fn pid(&self) -> Pid {
        let pid = self.child.as_ref().expect("it runs").id();
        Pid::from_raw(i32::try_from(pid).unwrap())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn sql(&self, statement: &str) -> Command {
        let mut psql = self.command("psql");
        psql.args([
            "--no-psqlrc",
            "--username",
            USER,
            "--dbname",
            USER,
            "--host",
        ]);
        psql.arg(self.dir.path()).args(["--command", statement]);
        psql
    }

    /// A program of PostgreSQL. The server refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
            // It ends with the thread that started it, should a test be killed.
            command.args(["--pdeathsig", "QUIT"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
            // Its "immediate" shutdown; a paused one goes on first.
            kill(pid, Signal::SIGCONT).ok();
            kill(pid, Signal::SIGQUIT).ok();
            child.wait().ok();
        }
    }
}

/// Where PostgreSQL's programs are: on the path, or where Debian's newest package has them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    let packaged = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut packaged: Vec<_> = packaged
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort();
    let has_all = |dir: &Path| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| dir.join(program).is_file())
    };
    on_path
        .chain(packaged.into_iter().rev())
        .find(|dir| has_all(dir))
}

fn succeeded(output: Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
