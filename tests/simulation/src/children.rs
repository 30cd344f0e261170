//! Runs of seeds, each in a child process of its own: a simulation has the process for itself, its
//! clock and randomness included.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bazaar_daemon::planted::Bug;

use crate::faults::Profile;
use crate::report::{Finding, Report};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) bug: Option<Bug>,
    pub(crate) duration: Duration,
}

impl Run {
    /// The arguments that make this run, of this program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "seed".into(),
            self.seed.to_string(),
            "--profile".into(),
            self.profile.to_string(),
            "--duration".into(),
            format!("{}s", self.duration.as_secs()),
        ];
        if let Some(bug) = self.bug {
            arguments.extend(["--bug".into(), bug.to_string()]);
        }
        arguments
    }

    /// The command that replays it, for people.
    pub(crate) fn command(&self) -> String {
        format!("cargo simulate {}", self.arguments().join(" "))
    }

    /// Runs it in a child process.
    pub(crate) fn perform(&self) -> Report {
        self.try_perform().unwrap_or_else(|problem| Report {
            seed: self.seed,
            profile: self.profile.to_string(),
            bug: self.bug.map(|bug| bug.to_string()),
            checks: [("run".into(), Finding::Violation(vec![problem]))].into(),
            ..Report::default()
        })
    }

    fn try_perform(&self) -> Result<Report, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = Command::new(program)
            .args(self.arguments())
            .arg("--machine-readable")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let last = output
            .stdout
            .split(|byte| *byte == b'\n')
            .rfind(|line| !line.is_empty());
        last.and_then(|line| serde_json::from_slice(line).ok())
            .ok_or_else(|| {
                let text = String::from_utf8_lossy(&output.stderr);
                let lines: Vec<_> = text.lines().rev().take(12).collect();
                let lines: Vec<_> = lines.into_iter().rev().collect();
                format!(
                    "the run broke off ({}):\n{}",
                    output.status,
                    lines.join("\n")
                )
            })
    }
}

/// Performs `work` on each of `tasks`, `jobs` at a time, and hands over what comes of them as it
/// comes.
pub(crate) fn each<T: Send, O: Send>(
    tasks: impl IntoIterator<Item = T>,
    jobs: NonZeroUsize,
    work: impl Fn(T) -> O + Sync,
    mut take: impl FnMut(O),
) {
    let tasks: Mutex<VecDeque<T>> = Mutex::new(tasks.into_iter().collect());
    let next = || {
        tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|threads| {
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..jobs.get() {
            let (sender, next, work) = (sender.clone(), &next, &work);
            threads.spawn(move || {
                while let Some(task) = next() {
                    if sender.send(work(task)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for outcome in outcomes {
            take(outcome);
        }
    });
}
