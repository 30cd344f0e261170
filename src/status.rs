//! `bazaar status`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bazaar_rpc::connect::call;
use comfy_table::{CellAlignment, Table, presets};

use crate::control;
use crate::observer::{ClusterStatus, ProcessStatus};

/// How long the supervisor may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// How often `--watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Clears a terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// How to show the status.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// The cluster's data directory.
    #[arg(long, value_name = "DIR", default_value = "var")]
    data_dir: PathBuf,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Look again every second, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Prints how the processes are.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    loop {
        let control = control::connect(&config.data_dir).await?;
        let status = call(LIMIT, |context| control.status(context))
            .await
            .context("the supervisor did not answer")?;
        let text = if config.json {
            format!("{}\n", serde_json::to_string(&status)?)
        } else {
            format!("{}\n", table(&status))
        };
        let mut out = io::stdout().lock();
        if config.watch && out.is_terminal() {
            out.write_all(CLEAR.as_bytes())?;
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        drop(out);
        if !config.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

fn table(status: &ClusterStatus) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns = [
        "NAME", "STATE", "PID", "ROLE", "TERM", "APPLIED", "LAG", "RESTARTS", "ADDRESS", "HTTP",
    ];
    table.set_header(columns);
    for process in &status.processes {
        table.add_row(row(process));
    }
    for (column, heading) in table.column_iter_mut().zip(columns) {
        if ["PID", "TERM", "APPLIED", "LAG", "RESTARTS"].contains(&heading) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(process: &ProcessStatus) -> [String; 10] {
    /// A value, or a dash where there is none.
    fn show<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".into(), |value| value.to_string())
    }
    let ProcessStatus {
        name,
        state,
        pid,
        role,
        term,
        last_applied,
        lag,
        ..
    } = process;
    [
        name.to_string(),
        format!("{state:?}").to_lowercase(),
        show(*pid),
        show(role.map(|role| format!("{role:?}").to_lowercase())),
        show(*term),
        show(*last_applied),
        show(*lag),
        process.restarts.to_string(),
        show(process.address),
        show(process.http),
    ]
}
