//! Which process a process id means. Ids are reused; an id and the moment its process started are
//! not, within one boot of the machine.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How often to look whether a process has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One process, and no other that gets its id later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub(crate) started: u64,
    /// Which boot that is.
    boot: String,
}

impl Identity {
    /// The process that has `pid` now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?
            .trim()
            .into();
        let Stat { started, .. } = Stat::read(pid)?;
        Ok(Self { pid, started, boot })
    }

    /// Whether that process runs, or is paused.
    pub(crate) fn is_alive(&self) -> bool {
        let now = Self::of(self.pid);
        now.is_ok_and(|now| now == *self) && state(self.pid).is_some_and(|state| !state.is_dead())
    }

    /// Kills the process, paused or not, and waits until it has ended; returns whether it has,
    /// within `limit`.
    pub(crate) async fn end(&self, limit: Duration) -> bool {
        let ended = async {
            while self.is_alive() {
                // It may end by itself between the look and the signal.
                kill(nix_pid(self.pid), Signal::SIGKILL).ok();
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(limit, ended).await.is_ok()
    }
}

/// Whether a process runs, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelState(u8);

impl KernelState {
    /// Stopped by a signal.
    pub(crate) fn is_paused(self) -> bool {
        self.0 == b'T'
    }

    /// Ended, and perhaps not reaped yet.
    fn is_dead(self) -> bool {
        matches!(self.0, b'Z' | b'X')
    }
}

/// The state of the process that has `pid`.
pub(crate) fn state(pid: u32) -> Option<KernelState> {
    Stat::read(pid).ok().map(|stat| stat.state)
}

/// `pid` as the system calls want it.
pub(crate) fn nix_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("the kernel's process ids are below 2^22"))
}

/// What is used of `/proc/<pid>/stat`, see proc_pid_stat(5).
struct Stat {
    state: KernelState,
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = KernelState(*fields.next()?.as_bytes().first()?);
        // The third field was the state; the start is the twenty-second.
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { state, started })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process that does nothing, killed when the test ends.
    struct Sleeper(Child);

    impl Sleeper {
        fn spawn() -> Self {
            Self(Command::new("sleep").arg("600").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn a_name_full_of_parentheses_and_spaces_is_no_trap() {
        let text = "42 (a) b) S) T 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        let stat = Stat::parse(text).unwrap();
        assert!(stat.state.is_paused());
        assert_eq!(stat.started, 987_654);
    }

    #[tokio::test]
    async fn a_paused_process_is_ended_and_a_successor_is_spared() {
        let sleeper = Sleeper::spawn();
        let identity = Identity::of(sleeper.0.id()).unwrap();
        let successor = Identity {
            started: identity.started + 1,
            ..identity.clone()
        };
        assert!(!successor.is_alive());
        assert!(successor.end(Duration::ZERO).await);
        assert!(identity.is_alive());

        kill(nix_pid(identity.pid), Signal::SIGSTOP).unwrap();
        assert!(identity.end(Duration::from_secs(10)).await);
        assert!(!identity.is_alive());
    }
}
