//! The timeline of a torture, drawn as SVG: faults as bars, one row for each sort, and below them
//! trades and lookups over time, with the same faults as bands.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use crate::torture::fault::Lane;
use crate::torture::report::{Report, Strike};

/// The size of the drawing, and where its parts are, in its own units.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 22.0;
const CHART: f64 = 120.0;
const SPACE: f64 = 34.0;
const AXIS: f64 = 28.0;

/// A character's width, to see whether a label has room.
const LETTER: f64 = 6.2;

/// Steps of an axis of time, in seconds.
const STEPS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
];

/// The most marks on the axis of time.
const MARKS: f64 = 14.0;

/// Draws the timeline of `report`.
pub(crate) fn draw(report: &Report) -> String {
    let seconds = (report.took_ms as f64 / 1e3).max(1.0);
    let plot = Plot { seconds };
    let lanes: Vec<Lane> = Lane::value_variants()
        .iter()
        .copied()
        .filter(|lane| report.strikes.iter().any(|strike| strike.lane == *lane))
        .collect();
    let rows = ROW * lanes.len() as f64;
    let trades = rows + SPACE;
    let lookups = trades + CHART + SPACE;
    let height = lookups + CHART + AXIS;

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Accepted trades and \
         lookups a second over time, with the faults\">\n"
    );
    for (row, lane) in lanes.iter().enumerate() {
        let y = ROW * row as f64;
        label(
            &mut svg,
            LEFT - 8.0,
            y + 15.0,
            "end",
            &super::page::name(lane),
        );
        let of_lane = report.strikes.iter().filter(|strike| strike.lane == *lane);
        for strike in of_lane {
            plot.band(&mut svg, strike, (trades, lookups + CHART - trades));
            plot.bar(&mut svg, strike, y);
        }
    }
    let slice = report.timeline.slice_ms;
    let charts = [
        (
            "trades",
            "accepted trades a second",
            &report.timeline.trades,
            trades,
        ),
        (
            "lookups",
            "lookups a second",
            &report.timeline.lookups,
            lookups,
        ),
    ];
    for (class, title, slices, top) in charts {
        plot.chart(&mut svg, class, title, slices, slice, top);
    }
    plot.axis(&mut svg, trades, lookups + CHART);
    svg.push_str("</svg>\n");
    svg
}

struct Plot {
    seconds: f64,
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.seconds * (WIDTH - LEFT - RIGHT)
    }

    /// Where a strike begins, and how wide it is; none where it did not take place.
    fn extent(&self, strike: &Strike) -> Option<(f64, f64)> {
        let (began, ended) = strike.began_ms.zip(strike.ended_ms)?;
        let (from, to) = (self.x(began as f64 / 1e3), self.x(ended as f64 / 1e3));
        Some((from, (to - from).max(1.5)))
    }

    fn bar(&self, svg: &mut String, strike: &Strike, y: f64) {
        let Some((x, width)) = self.extent(strike) else {
            return;
        };
        let lane = super::page::name(&strike.lane);
        let name = strike.record.fault.to_string();
        let notes = super::page::escaped(&strike.record.notes.join("\n"));
        let bar = ROW - 5.0;
        write!(
            svg,
            "<g class=\"lane {lane}\"><title>{name}\n{notes}</title><rect x=\"{x:.1}\" y=\"{:.1}\" \
             width=\"{width:.1}\" height=\"{bar}\" rx=\"3\"/>",
            y + 2.0
        )
        .expect("a string takes everything");
        if name.len() as f64 * LETTER + 6.0 < width {
            label(svg, x + 4.0, y + 15.0, "start", &name);
        }
        svg.push_str("</g>\n");
    }

    fn band(&self, svg: &mut String, strike: &Strike, (y, height): (f64, f64)) {
        let Some((x, width)) = self.extent(strike) else {
            return;
        };
        let lane = super::page::name(&strike.lane);
        writeln!(
            svg,
            "<rect class=\"band {lane}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{height}\"/>"
        )
        .expect("a string takes everything");
    }

    fn chart(
        &self,
        svg: &mut String,
        class: &str,
        title: &str,
        slices: &[u32],
        slice_ms: u64,
        top: f64,
    ) {
        let rates: Vec<f64> = slices
            .iter()
            .map(|count| f64::from(*count) * 1e3 / slice_ms as f64)
            .collect();
        let highest = round_up(rates.iter().copied().fold(1.0, f64::max));
        let bottom = top + CHART;
        let y = |rate: f64| bottom - rate / highest * CHART;
        for (rate, text) in [
            (0.0, "0".into()),
            (highest / 2.0, String::new()),
            (highest, number(highest)),
        ] {
            let y = y(rate);
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            )
            .expect("a string takes everything");
            label(svg, LEFT - 8.0, y + 4.0, "end", &text);
        }
        label(svg, LEFT, top - 8.0, "start", title);
        let mut line = String::new();
        for (index, rate) in rates.iter().enumerate() {
            let begin = index as f64 * slice_ms as f64 / 1e3;
            let end = (begin + slice_ms as f64 / 1e3).min(self.seconds);
            let (from, to, y) = (self.x(begin.min(end)), self.x(end), y(*rate));
            write!(line, "L{from:.1} {y:.1}L{to:.1} {y:.1}").expect("a string takes everything");
        }
        let (left, right) = (self.x(0.0), self.x(self.seconds));
        writeln!(
            svg,
            "<path class=\"area {class}\" d=\"M{left:.1} {bottom}{line}L{right:.1} {bottom}Z\"/>\n\
             <path class=\"line {class}\" d=\"M{}\"/>",
            line.trim_start_matches('L')
        )
        .expect("a string takes everything");
    }

    fn axis(&self, svg: &mut String, top: f64, bottom: f64) {
        let fits = |step: &f64| self.seconds / step <= MARKS;
        let step = STEPS.into_iter().find(fits).unwrap_or(self.seconds / MARKS);
        let marks = (self.seconds / step) as u32;
        for mark in 0..=marks {
            let seconds = f64::from(mark) * step;
            let x = self.x(seconds);
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
            )
            .expect("a string takes everything");
            label(svg, x, bottom + 18.0, "middle", &clock(seconds, step));
        }
    }
}

/// A moment as a clock shows it; in seconds where all are within two minutes.
fn clock(seconds: f64, step: f64) -> String {
    if step < 10.0 {
        return format!("{seconds:.0} s");
    }
    let whole = seconds as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = super::page::escaped(text);
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    )
    .expect("a string takes everything");
}

/// The next higher number that has one digit, 1, 2 or 5, and zeros.
fn round_up(number: f64) -> f64 {
    let magnitude = 10_f64.powf(number.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0].into_iter();
    let mut steps = digits.map(|digit| digit * magnitude);
    steps.find(|step| *step >= number).unwrap_or(number)
}

fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1e3)
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (number, round) in [(1.0, 1.0), (1.1, 2.0), (30.0, 50.0), (7_200.0, 10_000.0)] {
            assert!((round_up(number) - round).abs() < 1e-9, "{number}");
        }
        assert_eq!(
            (clock(90.0, 30.0), clock(4.0, 2.0)),
            ("1:30".into(), "4 s".into())
        );
    }
}
