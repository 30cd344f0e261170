//! Line charts as SVG: panels side by side, one logarithmic axis of latencies for all of them.

use std::fmt::Write;

use crate::text::latency;

const PANEL_WIDTH: f64 = 420.0;
const PANEL_HEIGHT: f64 = 340.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 70.0;
const GAP: f64 = 40.0;
const BOTTOM: f64 = 110.0;

/// A chart.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) panels: Vec<Panel>,
}

/// One of a chart's panels.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
}

/// A line: what is measured, against a share from 0 to 1.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    /// As CSS names colours.
    pub(crate) colour: &'static str,
    pub(crate) dashed: bool,
    /// Share, and latency in microseconds.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The range of the latency axis: whole decades around everything that is shown.
#[derive(Clone, Copy, Debug)]
struct Decades {
    low: i32,
    high: i32,
}

impl Decades {
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let logarithms = values.map(|value| value.max(1.0).log10());
        let (low, high) = logarithms.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return Self { low: 0, high: 1 };
        }
        let low = low.floor() as i32;
        Self {
            low,
            high: (high.ceil() as i32).max(low + 1),
        }
    }

    /// How far down from the panel's top `value` stands.
    fn y(self, value: f64) -> f64 {
        let share =
            (value.max(1.0).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        TOP + PANEL_HEIGHT * (1.0 - share)
    }

    /// 1, 2 and 5 of every decade.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let decades = self.low..self.high;
        let ticks =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
        ticks.chain([10_f64.powi(self.high)])
    }
}

impl Chart {
    /// The chart as an SVG document.
    pub(crate) fn svg(&self) -> String {
        let width = LEFT + self.panels.len() as f64 * (PANEL_WIDTH + GAP);
        let height = TOP + PANEL_HEIGHT + BOTTOM;
        let lines = self.panels.iter().flat_map(|panel| &panel.lines);
        let values = lines.flat_map(|line| line.points.iter().map(|point| point.1));
        let decades = Decades::around(values);

        let mut svg = String::new();
        let out = &mut svg;
        put(
            out,
            format_args!(
                r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="#222">"##
            ),
        );
        put(
            out,
            format_args!(r##"<rect width="100%" height="100%" fill="#fff"/>"##),
        );
        text(
            out,
            width / 2.0,
            28.0,
            "middle",
            r#" font-size="17""#,
            &self.title,
        );
        for (index, panel) in self.panels.iter().enumerate() {
            let left = LEFT + index as f64 * (PANEL_WIDTH + GAP);
            panel.draw(out, left, decades);
            let middle = left + PANEL_WIDTH / 2.0;
            text(
                out,
                middle,
                TOP + PANEL_HEIGHT + 40.0,
                "middle",
                "",
                &self.x_label,
            );
        }
        for tick in decades.ticks() {
            text(
                out,
                LEFT - 8.0,
                decades.y(tick) + 4.0,
                "end",
                "",
                &tick_label(tick),
            );
        }
        let middle = TOP + PANEL_HEIGHT / 2.0;
        let turned = format!(r#" transform="rotate(-90 18 {middle})""#);
        text(out, 18.0, middle, "middle", &turned, &self.y_label);
        self.draw_legend(out, width);
        put(out, format_args!("</svg>"));
        svg
    }

    fn draw_legend(&self, out: &mut String, width: f64) {
        let Some(panel) = self.panels.first() else {
            return;
        };
        let y = TOP + PANEL_HEIGHT + 78.0;
        let step = (width - LEFT) / panel.lines.len().max(1) as f64;
        for (index, line) in panel.lines.iter().enumerate() {
            let x = LEFT + index as f64 * step;
            let stroke = line.stroke();
            put(
                out,
                format_args!(
                    r#"<line x1="{x}" y1="{y}" x2="{}" y2="{y}" {stroke}/>"#,
                    x + 40.0
                ),
            );
            text(out, x + 48.0, y + 4.0, "start", "", &line.label);
        }
    }
}

impl Panel {
    fn draw(&self, out: &mut String, left: f64, decades: Decades) {
        let x = |share: f64| left + PANEL_WIDTH * share;
        let (right, bottom) = (left + PANEL_WIDTH, TOP + PANEL_HEIGHT);
        text(
            out,
            x(0.5),
            TOP - 12.0,
            "middle",
            r#" font-weight="bold""#,
            &self.title,
        );
        for tick in decades.ticks() {
            let y = decades.y(tick);
            put(
                out,
                format_args!(
                    r##"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#ddd"/>"##
                ),
            );
        }
        for tenth in (0..=10).step_by(2) {
            let share = f64::from(tenth) / 10.0;
            let at = x(share);
            put(
                out,
                format_args!(
                    r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}" stroke="#eee"/>"##
                ),
            );
            text(out, at, bottom + 18.0, "middle", "", &share.to_string());
        }
        put(
            out,
            format_args!(
                r##"<rect x="{left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#888"/>"##
            ),
        );
        for line in &self.lines {
            line.draw(out, x, decades);
        }
    }
}

impl Line {
    fn stroke(&self) -> String {
        let dashes = if self.dashed {
            r#" stroke-dasharray="6 4""#
        } else {
            ""
        };
        format!(
            r#"stroke="{}" stroke-width="2" fill="none"{dashes}"#,
            self.colour
        )
    }

    fn draw(&self, out: &mut String, x: impl Fn(f64) -> f64, decades: Decades) {
        let place = |&(share, value): &(f64, f64)| (x(share), decades.y(value));
        let places: Vec<_> = self.points.iter().map(place).collect();
        let pairs: Vec<_> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        put(
            out,
            format_args!(
                r#"<polyline points="{}" {}/>"#,
                pairs.join(" "),
                self.stroke()
            ),
        );
        for ((x, y), (share, value)) in places.iter().zip(&self.points) {
            put(
                out,
                format_args!(
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{}"><title>{} at {share}: {}</title></circle>"#,
                    self.colour,
                    escaped(&self.label),
                    latency(*value),
                ),
            );
        }
    }
}

/// A tick has one digit that counts.
fn tick_label(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, more: &str, content: &str) {
    let content = escaped(content);
    put(
        out,
        format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}"{more}>{content}</text>"#
        ),
    );
}

fn put(out: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(out, "{element}").expect("a string takes everything");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "a < b & c".into(),
            x_label: "share".into(),
            y_label: "latency".into(),
            panels: vec![Panel {
                title: "mean".into(),
                lines: vec![Line {
                    label: "lookup".into(),
                    colour: "red",
                    dashed: true,
                    points,
                }],
            }],
        }
    }

    #[test]
    fn an_empty_chart_is_still_a_document() {
        let svg = chart(vec![]).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b &amp; c"));
    }

    proptest! {
        #[test]
        fn every_point_lies_within_its_panel(
            points in prop::collection::vec((0.0..=1.0, 0.0..6e7), 1..10),
        ) {
            let decades = Decades::around(points.iter().map(|point| point.1));
            for (_, value) in &points {
                let y = decades.y(*value);
                prop_assert!((TOP - 0.01..=TOP + PANEL_HEIGHT + 0.01).contains(&y), "{}", y);
            }
            let svg = chart(points.clone()).svg();
            prop_assert_eq!(svg.matches("<circle").count(), points.len());
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
