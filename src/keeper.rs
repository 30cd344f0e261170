//! Keeps one process: carries out what its [`Lifecycle`] says, and tells the lifecycle what happens.

use std::future::pending;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::ServiceName;
use nix::sys::signal::{Signal, kill};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::identity::nix_pid;
use crate::launcher::Launcher;
use crate::lifecycle::{Action, Event, Lifecycle, Refusal, State};
use crate::process_log::ProcessLog;
use crate::roster::Roster;

/// How long a process may take to stop when it is asked to. Every service drains faster than that.
const STOP_LIMIT: Duration = Duration::from_secs(12);

/// The most requests that wait for one process.
const MAX_REQUESTS: usize = 16;

/// What a kept process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// As far as the supervisor has to do with it: a pause by somebody else does not show here.
    pub(crate) state: State,
    /// Its process id, while there is a process.
    pub(crate) pid: Option<u32>,
    /// How often it was started.
    pub(crate) starts: u64,
    /// It has ended for good.
    pub(crate) is_over: bool,
}

/// The unasked end of a process.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) name: ServiceName,
    pub(crate) cause: Cause,
    /// The last error that it logged.
    pub(crate) last_words: String,
}

/// How a process came to its end.
#[derive(Debug)]
pub(crate) enum Cause {
    /// It ended by itself, or by a signal.
    Exit(ExitStatus),
    /// It could not be started.
    Spawn(anyhow::Error),
}

/// Keeps one process, from a task of its own.
pub(crate) struct Keeper {
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
}

struct Request {
    event: Event,
    reply: oneshot::Sender<Result<(), Refusal>>,
}

impl Keeper {
    /// Starts the process `name` and keeps it. Its unasked deaths go to `deaths`, as far as there is
    /// room.
    pub(crate) fn spawn(
        name: ServiceName,
        launcher: Arc<Launcher>,
        roster: Arc<Roster>,
        deaths: mpsc::Sender<Death>,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
        let lifecycle = Lifecycle::new(Duration::ZERO);
        let state = lifecycle.state();
        let view = watch::Sender::new(View {
            state,
            pid: None,
            starts: 0,
            is_over: false,
        });
        let watcher = view.subscribe();
        let work = Work {
            name,
            launcher,
            roster,
            deaths,
            lifecycle,
            epoch: Instant::now(),
            life: None,
            starts: 0,
            give_up: None,
            view,
        };
        tokio::spawn(work.run(receiver));
        Self {
            requests,
            view: watcher,
        }
    }

    /// What the process does.
    pub(crate) fn view(&self) -> View {
        *self.view.borrow()
    }

    /// Waits until the process does what `is_so` describes.
    pub(crate) async fn wait_until(&self, mut is_so: impl FnMut(&View) -> bool) {
        // The sender is dropped when the process has ended for good: nothing changes any more.
        self.view
            .clone()
            .wait_for(|view| is_so(view) || view.is_over)
            .await
            .ok();
    }

    /// Has the process take notice of `event`.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.requests.send(Request { event, reply }).await {
            Ok(()) => answer.await.unwrap_or(Err(Refusal::Stopping)),
            Err(_ended) => Err(Refusal::Stopping),
        }
    }
}

/// The state of a keeper's task.
struct Work {
    name: ServiceName,
    launcher: Arc<Launcher>,
    roster: Arc<Roster>,
    deaths: mpsc::Sender<Death>,
    lifecycle: Lifecycle,
    /// The lifecycle's times count from here.
    epoch: Instant,
    life: Option<Life>,
    starts: u64,
    /// When to kill a process that was asked to stop.
    give_up: Option<Instant>,
    view: watch::Sender<View>,
}

/// One process, from its start to its end.
struct Life {
    child: Child,
    log: ProcessLog,
}

impl Work {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while !self.lifecycle.is_over() {
            let due = self.lifecycle.due().map(|due| self.epoch + due);
            tokio::select! {
                status = end_of(&mut self.life) => self.ended(status),
                () = at(due) => self.step(Event::Due).unwrap_or(()),
                () = at(self.give_up) => {
                    self.give_up = None;
                    self.signal(Signal::SIGKILL);
                }
                // The supervisor holds the other end as long as it wants anything.
                Some(request) = requests.recv() => {
                    let outcome = self.step(request.event);
                    // Whoever asked may have gone.
                    request.reply.send(outcome).ok();
                }
            }
            self.publish();
        }
    }

    fn step(&mut self, event: Event) -> Result<(), Refusal> {
        match self.lifecycle.on(event, self.epoch.elapsed())? {
            Action::Nothing => {}
            Action::Spawn => self.spawn(),
            Action::Kill => self.signal(Signal::SIGKILL),
            Action::Pause => self.signal(Signal::SIGSTOP),
            Action::Resume => self.signal(Signal::SIGCONT),
            Action::Terminate => {
                self.signal(Signal::SIGTERM);
                self.signal(Signal::SIGCONT);
                self.give_up = Some(Instant::now() + STOP_LIMIT);
            }
        }
        Ok(())
    }

    fn spawn(&mut self) {
        match self.try_spawn() {
            Ok(life) => {
                self.life = Some(life);
                self.starts += 1;
            }
            Err(error) => {
                self.step(Event::Ended).unwrap_or(());
                self.report(Cause::Spawn(error), String::new());
            }
        }
    }

    fn try_spawn(&mut self) -> anyhow::Result<Life> {
        let (log, file) = ProcessLog::open(&self.launcher.layout().log(self.name))?;
        let mut command: Command = self.launcher.command(self.name).into();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // A group of its own: Ctrl-C on the terminal is for the supervisor, which stops its
            // children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().expect("the child was not waited for yet");
        self.roster.enter(self.name, pid)?;
        Ok(Life { child, log })
    }

    fn ended(&mut self, status: ExitStatus) {
        let unasked = self.lifecycle.state() == State::Running;
        let life = self.life.take();
        self.give_up = None;
        if let Err(failure) = self.roster.strike(self.name) {
            // Harmless: the next run finds that the process is gone.
            error!("{failure:#}");
        }
        self.step(Event::Ended).unwrap_or(());
        if let (true, Some(life)) = (unasked, life) {
            self.report(Cause::Exit(status), life.log.last_words());
        }
    }

    fn report(&self, cause: Cause, last_words: String) {
        // Where there is no room, nobody is interested any more.
        self.deaths
            .try_send(Death {
                name: self.name,
                cause,
                last_words,
            })
            .ok();
    }

    /// Signals the process, where there is one. It was not waited for, so the id is its own.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid()
            && let Err(errno) = kill(nix_pid(pid), signal)
        {
            error!(name = %self.name, pid, %signal, %errno, "could not signal");
        }
    }

    fn pid(&self) -> Option<u32> {
        self.life.as_ref().and_then(|life| life.child.id())
    }

    fn publish(&self) {
        let view = View {
            state: self.lifecycle.state(),
            pid: self.pid(),
            starts: self.starts,
            is_over: self.lifecycle.is_over(),
        };
        self.view
            .send_if_modified(|last| std::mem::replace(last, view) != view);
    }
}

/// Waits until the process ends; for ever where there is none.
async fn end_of(life: &mut Option<Life>) -> ExitStatus {
    match life {
        Some(life) => match life.child.wait().await {
            Ok(status) => status,
            Err(error) => {
                error!(%error, "could not wait for a process");
                pending().await
            }
        },
        None => pending().await,
    }
}

/// Waits until `time`; for ever where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
