//! The report as a page.

use crate::torture::report::Report;

/// The page.
pub(crate) fn render(report: &Report) -> String {
    format!("<!doctype html><pre>{report}</pre>")
}
