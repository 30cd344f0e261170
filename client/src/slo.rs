//! Service levels: what a run must reach to end well.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::meter::{Kind, Measured};
use crate::report::Totals;

/// A level that a run must reach: `[kind.]measure<bound`, with `<=` for "at most".
///
/// A kind is `lookup`, `trade`, `refusal` or `order_query`; without one, all requests count together.
/// A measure is `p` and a percentile, `mean`, `max` (bounded by a time in `us`, `ms` or `s`) or
/// `errors` (bounded by a percentage).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Slo {
    kind: Option<Kind>,
    measure: Measure,
    /// Whether the bound itself is good enough.
    inclusive: bool,
    /// Microseconds, or percent.
    bound: f64,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Percentile(f64),
    Mean,
    Max,
    Errors,
}

/// Why a text is not a service level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSlo {
    /// No `<` in it.
    #[error("`{0}` has no bound: a service level is written as `p99<50ms`")]
    NoBound(String),
    /// An unknown kind of request.
    #[error("`{0}` is no kind of request: lookup, trade, refusal, order_query")]
    Kind(String),
    /// An unknown measure.
    #[error("`{0}` is no measure: p50, p99.9, mean, max, errors")]
    Measure(String),
    /// A percentile that is none.
    #[error("`{0}` is no percentile: more than 0 and at most 100")]
    Percentile(String),
    /// A bound of a latency that is no time.
    #[error("`{0}` is no time: a number and us, ms or s")]
    Time(String),
    /// A bound of the errors that is no percentage.
    #[error("`{0}` is no percentage from 0% to 100%")]
    Percentage(String),
}

/// Whether a service level was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloResult {
    /// The level.
    pub slo: Slo,
    /// What was measured, in microseconds or percent; none where nothing was, which misses the level.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}

impl Slo {
    /// Holds a run against this level.
    pub(crate) fn judge(&self, measured: &Measured, totals: &Totals) -> SloResult {
        let measured = match self.measure {
            Measure::Errors => totals.error_rate(self.kind).map(|rate| rate * 100.0),
            latency => measured
                .histogram(self.kind)
                .map(|histogram| match latency {
                    Measure::Percentile(p) => histogram.value_at_quantile(p / 100.0) as f64,
                    Measure::Mean => histogram.mean(),
                    Measure::Max | Measure::Errors => histogram.max() as f64,
                }),
        };
        let meets = |value: f64| value < self.bound || self.inclusive && value == self.bound;
        SloResult {
            slo: self.clone(),
            measured,
            met: measured.is_some_and(meets),
        }
    }
}

impl FromStr for Slo {
    type Err = InvalidSlo;

    fn from_str(text: &str) -> Result<Self, InvalidSlo> {
        let no_bound = || InvalidSlo::NoBound(text.into());
        let (left, right) = text.split_once('<').ok_or_else(no_bound)?;
        let (inclusive, right) = match right.strip_prefix('=') {
            Some(right) => (true, right.trim()),
            None => (false, right.trim()),
        };
        let left = left.trim();
        // A percentile has a dot of its own, so a kind is what begins with the name of none.
        let is_percentile = |text: &str| {
            text.strip_prefix('p')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let (kind, measure) = match left.split_once('.') {
            Some((kind, measure)) if !is_percentile(left) => (Some(parse_kind(kind)?), measure),
            _ => (None, left),
        };
        let measure = match measure {
            "mean" => Measure::Mean,
            "max" => Measure::Max,
            "errors" => Measure::Errors,
            percentile if is_percentile(percentile) => parse_percentile(percentile)?,
            other => return Err(InvalidSlo::Measure(other.into())),
        };
        let bound = match measure {
            Measure::Errors => parse_percentage(right)?,
            Measure::Percentile(_) | Measure::Mean | Measure::Max => parse_time(right)?,
        };
        Ok(Self {
            kind,
            measure,
            inclusive,
            bound,
            text: text.trim().into(),
        })
    }
}

fn parse_kind(text: &str) -> Result<Kind, InvalidSlo> {
    let named = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
    named.ok_or_else(|| InvalidSlo::Kind(text.into()))
}

fn parse_percentile(text: &str) -> Result<Measure, InvalidSlo> {
    number(&text[1..])
        .filter(|p| *p > 0.0 && *p <= 100.0)
        .map(Measure::Percentile)
        .ok_or_else(|| InvalidSlo::Percentile(text.into()))
}

fn parse_percentage(text: &str) -> Result<f64, InvalidSlo> {
    text.strip_suffix('%')
        .and_then(number)
        .filter(|percent| *percent <= 100.0)
        .ok_or_else(|| InvalidSlo::Percentage(text.into()))
}

/// Microseconds.
fn parse_time(text: &str) -> Result<f64, InvalidSlo> {
    // `s` ends the others too, so it comes last.
    [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .and_then(|(digits, factor)| Some(number(digits.trim_end())? * factor))
        .ok_or_else(|| InvalidSlo::Time(text.into()))
}

/// Digits, with or without decimals: no sign, exponent or infinity.
fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for SloResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met" } else { "missed" };
        write!(f, "{} {verdict}: ", self.slo)?;
        match (self.measured, self.slo.measure) {
            (None, _) => write!(f, "nothing was measured"),
            (Some(percent), Measure::Errors) => write!(f, "{percent:.3} %"),
            (Some(us), _) => write!(f, "{}", crate::text::latency(us)),
        }
    }
}

impl From<Slo> for String {
    fn from(slo: Slo) -> Self {
        slo.text
    }
}

impl TryFrom<String> for Slo {
    type Error = InvalidSlo;

    fn try_from(text: String) -> Result<Self, InvalidSlo> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<(Option<Kind>, Measure, bool, f64), InvalidSlo> {
        let slo: Slo = text.parse()?;
        Ok((slo.kind, slo.measure, slo.inclusive, slo.bound))
    }

    #[test]
    fn reads_kinds_measures_and_bounds() {
        use Measure::{Errors, Max, Mean, Percentile};
        let p = Percentile;
        assert_eq!(parse("p99<50ms"), Ok((None, p(99.0), false, 50_000.0)));
        assert_eq!(
            parse("p99.9 <= 1.5s"),
            Ok((None, p(99.9), true, 1_500_000.0))
        );
        assert_eq!(
            parse("lookup.p50<800us"),
            Ok((Some(Kind::Lookup), p(50.0), false, 800.0))
        );
        assert_eq!(
            parse("trade.p99.9<1s"),
            Ok((Some(Kind::Trade), p(99.9), false, 1e6))
        );
        assert_eq!(
            parse("refusal.max<1s"),
            Ok((Some(Kind::Refusal), Max, false, 1e6))
        );
        assert_eq!(
            parse("order_query.mean<9µs"),
            Ok((Some(Kind::OrderQuery), Mean, false, 9.0))
        );
        assert_eq!(parse("errors<=0%"), Ok((None, Errors, true, 0.0)));
    }

    #[test]
    fn says_what_is_wrong() {
        let bad = |text: &str| parse(text).unwrap_err();
        assert_eq!(bad("p99"), InvalidSlo::NoBound("p99".into()));
        assert_eq!(bad("p99>5ms"), InvalidSlo::NoBound("p99>5ms".into()));
        assert_eq!(bad("buy.p99<5ms"), InvalidSlo::Kind("buy".into()));
        assert_eq!(bad("median<5ms"), InvalidSlo::Measure("median".into()));
        assert_eq!(bad("<5ms"), InvalidSlo::Measure(String::new()));
        assert_eq!(bad("p101<5ms"), InvalidSlo::Percentile("p101".into()));
        assert_eq!(bad("p0<5ms"), InvalidSlo::Percentile("p0".into()));
        assert_eq!(bad("p99<5"), InvalidSlo::Time("5".into()));
        assert_eq!(bad("p99<-5ms"), InvalidSlo::Time("-5ms".into()));
        assert_eq!(bad("p99<infs"), InvalidSlo::Time("infs".into()));
        assert_eq!(bad("errors<5ms"), InvalidSlo::Percentage("5ms".into()));
        assert_eq!(bad("errors<101%"), InvalidSlo::Percentage("101%".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}", tail in "[p.<=0-9mus%]{0,12}") {
            text.parse::<Slo>().ok();
            tail.parse::<Slo>().ok();
            format!("p{tail}").parse::<Slo>().ok();
        }

        #[test]
        fn what_is_accepted_is_read_as_written(
            kind in prop::option::of(prop::sample::select(Kind::ALL.to_vec())),
            percentile in 1_u32..=1000,
            inclusive: bool,
            bound in 0_u32..100_000,
            unit in prop::sample::select(vec![("us", 1.0), ("ms", 1e3), ("s", 1e6)]),
        ) {
            let percentile = f64::from(percentile) / 10.0;
            let prefix = kind.map(|kind| format!("{kind}.")).unwrap_or_default();
            let operator = if inclusive { "<=" } else { "<" };
            let text = format!("{prefix}p{percentile}{operator}{bound}{}", unit.0);
            let bound = f64::from(bound) * unit.1;
            let read = (kind, Measure::Percentile(percentile), inclusive, bound);
            prop_assert_eq!(parse(&text), Ok(read));
            let slo: Slo = text.parse().unwrap();
            let json = serde_json::to_string(&slo).unwrap();
            prop_assert_eq!(serde_json::from_str::<Slo>(&json).unwrap(), slo);
        }
    }
}
