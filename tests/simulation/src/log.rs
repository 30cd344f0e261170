//! What the services log, on standard error, with the simulation's time and the machine.

use std::fmt;
use std::io;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::{Machine, clock};

struct Here;

impl FormatTime for Here {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let at = clock::elapsed().as_secs_f64() * 1e3;
        match Machine::current() {
            Some(machine) => write!(writer, "{at:>10.3} {}", machine.address()),
            None => write!(writer, "{at:>10.3}"),
        }
    }
}

/// Shows what passes `filter`.
///
/// # Errors
/// When that is no filter.
pub(crate) fn to_standard_error(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Here)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}
