//! The progress bar: on standard error, and only on a terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Config, Kind, Progress};

/// How often the bar is drawn.
pub(crate) const PERIOD: Duration = Duration::from_millis(200);

/// A bar that shows how far a load has come. It disappears when it is dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    by_requests: bool,
}

impl Bar {
    /// The bar of a load under `config`.
    pub(crate) fn new(config: &Config) -> Self {
        let time = (config.warmup + config.duration).as_millis();
        let whole = config
            .requests
            .unwrap_or(u64::try_from(time).unwrap_or(u64::MAX));
        let bar = if stderr().is_terminal() {
            ProgressBar::new(whole)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}");
        bar.set_style(style.expect("the template is valid"));
        Self {
            bar,
            by_requests: config.requests.is_some(),
        }
    }

    /// Draws how the load stands.
    pub(crate) fn show(&self, progress: &Progress) {
        let totals = &progress.totals;
        let answered: u64 = totals.answered.values().sum();
        self.bar.set_position(if self.by_requests {
            answered
        } else {
            u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX)
        });
        self.bar.set_message(format!(
            "{:.0} requests/s, {} orders, {} errors",
            answered as f64 / progress.elapsed.as_secs_f64().max(0.001),
            crate::text::grouped(totals.answered(Kind::Trade)),
            crate::text::grouped(totals.failed()),
        ));
    }

    /// Says what happens after the load.
    pub(crate) fn judging(&self) {
        self.bar.set_message("reading acknowledged orders back");
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
