//! The report as a person reads it.

use std::fmt;

use crate::{Kind, Latency, Report};

/// A latency of `us` microseconds, in the unit that suits it.
pub(crate) fn latency(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e4 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// `count` with its digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show_settings(f)?;
        self.show_measurements(f)?;
        self.show_judgement(f)?;
        for result in &self.slo {
            writeln!(f, "service level {result}")?;
        }
        writeln!(f, "acknowledged orders are in {}", self.log.display())?;
        for failure in self.failures() {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

impl Report {
    fn show_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let pace = match settings.rate {
            Some(rate) => format!("open loop at {rate} requests/s"),
            None => "closed loop".into(),
        };
        writeln!(
            f,
            "{} connections, {pace}, trade probability {}, {} items, seed {}, {:.1} s",
            settings.connections,
            settings.trade_probability,
            settings.items.len(),
            settings.seed,
            self.elapsed_ms as f64 / 1e3,
        )
    }

    fn show_measurements(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "answered", "per s", "mean", "p50", "p90", "p99", "p99.9", "max",
        ];
        write!(f, "{:<12}", "")?;
        for column in columns {
            write!(f, "{column:>10}")?;
        }
        writeln!(f)?;
        for (kind, measured) in &self.latency {
            let per_second = self
                .throughput
                .per_second
                .get(kind)
                .copied()
                .unwrap_or_default();
            show_row(f, *kind, measured, per_second)?;
        }
        let totals = &self.totals;
        writeln!(
            f,
            "{} requests failed, {} attempts were repeated, {} scheduled requests were not sent",
            grouped(totals.failed() - totals.unstarted),
            grouped(totals.retries),
            grouped(totals.unstarted),
        )?;
        for (reason, count) in &totals.reasons {
            writeln!(f, "  {} {reason}", grouped(*count))?;
        }
        if let Some(gap) = self.longest_gap {
            writeln!(
                f,
                "longest gap without an accepted trade: {}, from {:.2} s after the start",
                latency(gap.length_us as f64),
                gap.began().as_secs_f64(),
            )?;
        }
        Ok(())
    }

    fn show_judgement(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judgement = &self.judgement;
        let undecided = &judgement.undecided;
        let Some(read_back) = &judgement.read_back else {
            return writeln!(
                f,
                "{} acknowledged orders were not read back; {} stale answers",
                grouped(judgement.acknowledged),
                judgement.stale
            );
        };
        writeln!(
            f,
            "{} of {} acknowledged orders match",
            read_back.matching, judgement.acknowledged
        )?;
        writeln!(
            f,
            "{} lost, {} wrong, {} doubled, {} stale; {} sent again",
            read_back.lost, read_back.wrong, judgement.doubled, judgement.stale, read_back.repeated,
        )?;
        if self.totals.undecided > 0 {
            writeln!(
                f,
                "of {} trades of unknown outcome, {} are recorded, {} not made, {} still unknown",
                self.totals.undecided, undecided.recorded, undecided.not_made, undecided.unknown,
            )?;
        }
        self.show_cases(f)
    }

    /// The first few cases of everything that is wrong.
    fn show_cases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let judgement = &self.judgement;
        for doubled in judgement.doubled_samples.iter().take(SHOWN) {
            writeln!(f, "  doubled: {doubled:?}")?;
        }
        for stale in judgement.stale_samples.iter().take(SHOWN) {
            writeln!(
                f,
                "  stale: a {} of {} showed version {} after version {} had been seen",
                stale.kind, stale.item, stale.shown, stale.seen
            )?;
        }
        let Some(read_back) = &judgement.read_back else {
            return Ok(());
        };
        for difference in read_back.differences.iter().take(SHOWN) {
            writeln!(f, "  acknowledged: {:?}", difference.acknowledged)?;
            writeln!(f, "         found: {:?}", difference.found)?;
        }
        for item in read_back.unbalanced.iter().take(SHOWN) {
            writeln!(
                f,
                "  {}: {} units, not {}",
                item.name, item.found, item.expected
            )?;
        }
        Ok(())
    }
}

fn show_row(
    f: &mut fmt::Formatter<'_>,
    kind: Kind,
    measured: &Latency,
    per_second: f64,
) -> fmt::Result {
    let us = |us: u64| latency(us as f64);
    let cells = [
        grouped(measured.count),
        grouped(per_second.round() as u64),
        latency(measured.mean_us),
        us(measured.p50_us),
        us(measured.p90_us),
        us(measured.p99_us),
        us(measured.p999_us),
        us(measured.max_us),
    ];
    write!(f, "{kind:<12}")?;
    for cell in cells {
        write!(f, "{cell:>10}")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_three_digits_or_so() {
        assert_eq!(latency(850.4), "850 µs");
        assert_eq!(latency(1234.0), "1.23 ms");
        assert_eq!(latency(12_345.0), "12.3 ms");
        assert_eq!(latency(1_234_567.0), "1.23 s");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
