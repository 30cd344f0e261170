//! The lifecycle of a service.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::{Flags, Tasks};

/// How long a process may take to drain before it ends anyway.
const DRAIN_CAP: Duration = Duration::from_secs(5);

/// A service.
pub trait App: Sized {
    /// Its flags.
    type Config: AsRef<Flags>;

    /// Opens what it keeps, binds its ports and spawns its work onto `tasks`.
    ///
    /// # Errors
    /// Says in one line what was wrong; the process then ends.
    fn build(config: Self::Config, tasks: &Tasks) -> impl Future<Output = anyhow::Result<Self>>;

    /// Ends in good order: called once, when the process is told to stop and before its tasks are
    /// stopped.
    fn drain(self) -> impl Future<Output = ()>;
}

/// Runs a service from its flags to its end, which is a signal (SIGINT, SIGTERM) or the failure of
/// a vital task.
pub fn run<A: App>(config: A::Config) -> ExitCode {
    match start::<A>(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{}", in_one_line(&failure));
            ExitCode::FAILURE
        }
    }
}

fn start<A: App>(config: A::Config) -> anyhow::Result<()> {
    let flags = config.as_ref();
    let filter = EnvFilter::try_new(&flags.log);
    let (filter, invalid) = match filter {
        Ok(filter) => (filter, None),
        // The complaint about the filter is to be seen, too.
        Err(invalid) => (EnvFilter::new("error"), Some(invalid)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if let Some(invalid) = invalid {
        return Err(invalid).with_context(|| format!("--log {}", flags.log));
    }
    if let Some(parent) = flags.supervised_by {
        end_with_parent(parent).context("--supervised-by")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let tasks = Tasks::new();
        let app = tokio::select! {
            built = A::build(config, &tasks) => built?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        let failure = tokio::select! {
            failure = tasks.failed() => Some(failure),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        match failure {
            // What has failed is in no state to be drained.
            Some(failure) => Err(failure.into()),
            None => {
                info!("stopping");
                if tokio::time::timeout(DRAIN_CAP, app.drain()).await.is_err() {
                    error!("gave up draining");
                }
                tasks.stop(DRAIN_CAP).await;
                Ok(())
            }
        }
    })
}

/// A failure and its causes, on one line. Many an error says what its cause said; a cause is not
/// repeated then.
#[must_use]
pub fn in_one_line(failure: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in failure.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

/// Has the kernel kill this process when its parent ends, so that a supervisor that is killed
/// leaves no orphan behind.
///
/// To the kernel, the parent is the *thread* that started this process.
///
/// # Errors
/// When `parent` is not the parent: it has ended already.
pub fn end_with_parent(parent: u32) -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // The parent may have ended before the kernel was told.
    let actual = nix::unistd::getppid().as_raw();
    anyhow::ensure!(
        u32::try_from(actual) == Ok(parent),
        "process {parent} is not the parent"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn no_cause_is_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("names.json: {0}")]
        struct Said(#[source] io::Error);

        let failure = anyhow::Error::new(Said(io::ErrorKind::NotFound.into())).context("starting");
        assert_eq!(
            in_one_line(&failure),
            "starting: names.json: entity not found"
        );
    }
}
