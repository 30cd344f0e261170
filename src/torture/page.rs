//! The report as a page: one file, which needs nothing from elsewhere and runs no script.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::torture::figures::Outcomes;
use crate::torture::journal::Outcome;
use crate::torture::plot;
use crate::torture::report::{Judged, Report, Strike, Summary};
use crate::torture::sum::Round;

const STYLE: &str = include_str!("page.css");

/// The page.
pub(crate) fn render(report: &Report) -> String {
    let seed = report.seed;
    let is_clean = report.failures.is_empty();
    let (class, word) = if is_clean {
        ("ok", "every promise was kept")
    } else {
        ("violation", "not clean")
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Bazaar torture, seed {seed}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Bazaar torture <span class=\"verdict {class}\">{word}</span></h1>\n\
         <p>Seed {seed}, version {}, {:.0} s.</p>\n<pre>{}</pre>\n</header>\n<main>\n",
        report.program,
        report.took_ms as f64 / 1e3,
        escaped(&report.command)
    );
    failures(&mut page, report);
    tiles(&mut page, report);
    if report.rounds.is_empty() {
        page.push_str("<section>\n<h2>Timeline</h2>\n<div class=\"wide\">\n");
        page.push_str(&plot::draw(report));
        page.push_str("</div>\n</section>\n");
    }
    verdicts(&mut page, &report.verdicts);
    faults(&mut page, &report.faults);
    if report.rounds.is_empty() {
        events(&mut page, &report.strikes);
    } else {
        rounds(&mut page, &report.rounds);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// A value's name on the command line.
pub(super) fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// `text` with nothing in it that means anything in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

fn failures(page: &mut String, report: &Report) {
    if report.failures.is_empty() {
        return;
    }
    page.push_str("<section class=\"failures\">\n<ul>\n");
    for failure in &report.failures {
        add(page, format_args!("<li>{}</li>\n", escaped(failure)));
    }
    page.push_str("</ul>\n");
    if let Some(kept) = &report.kept {
        let kept = escaped(&kept.display().to_string());
        add(
            page,
            format_args!("<p>Everything was kept in <code>{kept}</code>.</p>\n"),
        );
    }
    page.push_str("</section>\n");
}

fn tiles(page: &mut String, report: &Report) {
    page.push_str("<section class=\"tiles\">\n");
    let mut tile = |title: &str, figure: String, below: String| {
        add(
            page,
            format_args!("<div><b>{figure}</b><span>{title}</span><small>{below}</small></div>\n"),
        );
    };
    let rest = |outcomes: Outcomes| {
        let Outcomes {
            refused, unknown, ..
        } = outcomes;
        format!("{} refused, {} unknown", grouped(refused), grouped(unknown))
    };
    let operations = report.operations;
    tile(
        "trades accepted",
        grouped(operations.trades.done),
        rest(operations.trades),
    );
    tile(
        "orders changed",
        grouped(operations.amendments.done),
        rest(operations.amendments),
    );
    tile(
        "lookups answered",
        grouped(operations.lookups.done),
        rest(operations.lookups),
    );
    let orders = report.orders as u64;
    tile("orders on every replica", grouped(orders), String::new());
    let injected: usize = report.faults.iter().map(|fault| fault.injected).sum();
    let kinds = report
        .faults
        .iter()
        .filter(|fault| fault.injected > 0)
        .count();
    let of = report.faults.len();
    tile(
        "faults injected",
        grouped(injected as u64),
        format!("{kinds} of {of} kinds"),
    );
    tile(
        "longest time without a trade",
        gap(report.longest_gap_ms),
        String::new(),
    );
    page.push_str("</section>\n");
}

fn verdicts(page: &mut String, verdicts: &[Judged]) {
    page.push_str(
        "<section>\n<h2>Verdicts</h2>\n<div class=\"wide\"><table>\n\
         <tr><th>check</th><th>promise</th><th>verdict</th></tr>\n",
    );
    for judged in verdicts {
        let Judged {
            check,
            promise,
            verdict,
            details,
        } = judged;
        let class = verdict.replace(' ', "-");
        let mut list = String::new();
        for detail in details {
            add(&mut list, format_args!("<li>{}</li>", escaped(detail)));
        }
        let details = match details.len() {
            0 => String::new(),
            count => format!("<details open><summary>{count}</summary><ul>{list}</ul></details>"),
        };
        add(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td><span class=\"verdict {class}\">{verdict}</span>\
                 {details}</td></tr>\n",
                escaped(check),
                escaped(promise)
            ),
        );
    }
    page.push_str("</table></div>\n</section>\n");
}

fn faults(page: &mut String, faults: &[Summary]) {
    page.push_str(
        "<section>\n<h2>Faults</h2>\n<div class=\"wide\"><table>\n<tr><th>fault</th><th>what it is</th>\
         <th class=\"number\">injected</th><th class=\"number\">longest gap</th><th>met</th></tr>\n",
    );
    for fault in faults {
        let mut remarks = format!("{} ", fault.contacts());
        if let Some(why) = &fault.skipped {
            add(
                &mut remarks,
                format_args!("<b>skipped</b>: {} ", escaped(why)),
            );
        }
        for (why, times) in &fault.missed {
            add(
                &mut remarks,
                format_args!("{times} not injected: {} ", escaped(why)),
            );
        }
        let row = if fault.injected > 0 {
            ""
        } else {
            " class=\"idle\""
        };
        add(
            page,
            format_args!(
                "<tr{row}><td><i class=\"dot {}\"></i>{}</td><td>{}</td><td class=\"number\">{}</td>\
                 <td class=\"number\">{}</td><td>{remarks}</td></tr>\n",
                name(&fault.fault.lane()),
                fault.fault,
                escaped(&fault.story),
                fault.injected,
                gap(fault.longest_gap_ms)
            ),
        );
    }
    page.push_str("</table></div>\n</section>\n");
}

fn events(page: &mut String, strikes: &[Strike]) {
    page.push_str(
        "<section>\n<h2>What was done</h2>\n<div class=\"wide\"><table>\n<tr><th class=\"number\">at\
         </th><th class=\"number\">for</th><th>fault</th><th>what was done and seen</th>\
         <th class=\"number\">longest gap</th></tr>\n",
    );
    for strike in strikes.iter().filter(|strike| strike.began_ms.is_some()) {
        let seconds = |milliseconds: Option<u64>| {
            milliseconds
                .map(|time| format!("{:.1} s", time as f64 / 1e3))
                .unwrap_or_default()
        };
        let lasted = strike
            .began_ms
            .zip(strike.ended_ms)
            .map(|(from, to)| to - from);
        let mut notes: Vec<_> = strike
            .record
            .notes
            .iter()
            .map(|note| escaped(note))
            .collect();
        let met = &strike.record.met;
        notes.extend(
            met.iter()
                .map(|(what, count)| format!("met {count} {what}")),
        );
        if let Outcome::Missed(why) = &strike.record.outcome {
            notes.push(format!("<b>does not count</b>: {}", escaped(why)));
        }
        add(
            page,
            format_args!(
                "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td>\
                 <td><i class=\"dot {}\"></i>{}</td><td>{}</td><td class=\"number\">{}</td></tr>\n",
                seconds(strike.began_ms),
                seconds(lasted),
                name(&strike.lane),
                strike.record.fault,
                notes.join("<br>"),
                gap(strike.longest_gap_ms)
            ),
        );
    }
    page.push_str("</table></div>\n</section>\n");
}

fn rounds(page: &mut String, rounds: &[Round]) {
    page.push_str(
        "<section>\n<h2>Rounds</h2>\n<div class=\"wide\"><table>\n<tr><th>round</th><th>again</th>\
         <th class=\"number\">took</th><th class=\"number\">trades</th>\
         <th class=\"number\">faults</th><th class=\"number\">longest gap</th><th></th></tr>\n",
    );
    for round in rounds {
        let (class, word) = match round.failures {
            0 => ("ok", "ok"),
            _ => ("violation", "not clean"),
        };
        add(
            page,
            format_args!(
                "<tr><td><a href=\"{0}/report.html\">{0}</a></td><td><code>{1}</code></td>\
                 <td class=\"number\">{2:.0} s</td><td class=\"number\">{3}</td>\
                 <td class=\"number\">{4}</td><td class=\"number\">{5}</td>\
                 <td><span class=\"verdict {class}\">{word}</span></td></tr>\n",
                round.name,
                escaped(&round.command),
                round.took_ms as f64 / 1e3,
                grouped(round.trades),
                round.injected,
                gap(round.longest_gap_ms)
            ),
        );
    }
    page.push_str("</table></div>\n</section>\n");
}

fn gap(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "–".into(),
        Some(gap) if gap < 1e4 => format!("{gap:.0} ms"),
        Some(gap) => format!("{:.1} s", gap / 1e3),
    }
}

/// A number with a thin space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

fn add(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_seen_becomes_markup() {
        assert_eq!(escaped("<b>&\"x\""), "&lt;b&gt;&amp;&quot;x&quot;");
    }

    #[test]
    fn numbers_and_gaps_are_readable() {
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(grouped(12), "12");
        assert_eq!(
            [gap(None), gap(Some(41.3)), gap(Some(12_345.0))],
            ["–", "41 ms", "12.3 s"]
        );
    }
}
