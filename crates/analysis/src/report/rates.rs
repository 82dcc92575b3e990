//! Invocations over time: what a load plans, and what became of it. As a picture for the terminal and as an SVG image.

use std::fmt::{self, Write};
use std::time::Duration;

use sb_measurement::{Invocation, Timestamp};

/// Counts in intervals of equal length, one line of them for each kind of event.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Above the picture.
    pub title: String,
    /// The length of an interval, in seconds.
    pub interval: f64,
    /// Planned, sent and answered invocations, as far as they are known.
    pub series: Vec<Series>,
}

/// Events of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// `planned`, `sent` or `answered`.
    pub name: &'static str,
    /// How many there are in each interval.
    pub counts: Vec<u64>,
}

/// About a series, in invocations per second but for the total.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RateFigures {
    /// Invocations.
    pub total: u64,
    /// The mean over all intervals.
    pub mean: f64,
    /// The 95th percentile of the intervals.
    pub p95: f64,
    /// The highest of the intervals.
    pub peak: f64,
}

/// More than anyone sees in a picture.
const MOST_INTERVALS: f64 = 1200.0;

/// Seconds.
const INTERVALS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 86400.0];

impl Rates {
    /// A load as planned: its send times, how many there are, and its length.
    pub fn planned(
        title: String,
        times: impl Iterator<Item = Duration>,
        count: u64,
        length: Duration,
    ) -> Self {
        let interval = interval_for(length.as_secs_f64(), count);
        let mut planned = Series { name: "planned", counts: intervals(length.as_secs_f64(), interval) };
        for time in times {
            planned.count(time.as_secs_f64(), interval);
        }
        Self { title, interval, series: vec![planned] }
    }

    /// A load as it went: when its invocations were due, left, and were answered.
    pub fn measured(title: String, invocations: &[Invocation]) -> Self {
        let micros = |invocation: &Invocation| {
            [
                invocation.planned.map(Timestamp::micros),
                invocation.sent.map(Timestamp::micros),
                invocation.answered.map(Timestamp::micros),
            ]
        };
        let all = || invocations.iter().flat_map(micros).flatten();
        let start = all().min().unwrap_or(0);
        let length = all().max().map_or(0, |end| end - start) as f64 / 1e6;
        let interval = interval_for(length, invocations.len() as u64);
        let mut series: Vec<Series> = ["planned", "sent", "answered"]
            .into_iter()
            .map(|name| Series { name, counts: intervals(length, interval) })
            .collect();
        let is_planned = invocations.iter().all(|one| one.planned.is_some());
        for invocation in invocations {
            for (series, time) in series.iter_mut().zip(micros(invocation)) {
                if let Some(time) = time {
                    series.count((time - start) as f64 / 1e6, interval);
                }
            }
        }
        if !is_planned {
            // Only the generator knew when they were due.
            series.remove(0);
        }
        Self { title, interval, series }
    }

    /// The figures of one of the series.
    pub fn figures(&self, series: &Series) -> RateFigures {
        let mut sorted = series.counts.clone();
        sorted.sort_unstable();
        let rate = |count: u64| count as f64 / self.interval;
        let high = (sorted.len().saturating_sub(1) as f64 * 0.95).round() as usize;
        let total = sorted.iter().sum::<u64>();
        RateFigures {
            total,
            mean: total as f64 / (sorted.len().max(1) as f64 * self.interval),
            p95: rate(sorted.get(high).copied().unwrap_or(0)),
            peak: rate(sorted.last().copied().unwrap_or(0)),
        }
    }

    /// The highest count of any interval, never 0.
    fn highest(&self) -> u64 {
        self.series.iter().flat_map(|series| &series.counts).copied().max().unwrap_or(0).max(1)
    }

    fn length(&self) -> f64 {
        self.series.first().map_or(0.0, |series| series.counts.len() as f64 * self.interval)
    }

    /// Columns of blocks, the first series only; then a line of figures for each series.
    pub fn to_terminal(&self, out: &mut impl Write, width: usize) -> fmt::Result {
        const HEIGHT: usize = 10;
        const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let highest = self.highest() as f64 / self.interval;
        let label = short(highest).len().max(short(highest / 2.0).len());
        let Some(first) = self.series.first() else { return Ok(()) };
        let columns = width.saturating_sub(label + 2).clamp(10, 200).min(first.counts.len().max(1));
        // The highest of what falls into a column: a spike must not vanish in a mean.
        let heights: Vec<f64> = (0..columns)
            .map(|column| {
                let from = column * first.counts.len() / columns;
                let to = ((column + 1) * first.counts.len() / columns).max(from + 1);
                first.counts.get(from..to).into_iter().flatten().copied().max().unwrap_or(0) as f64
                    / self.interval
                    / highest
            })
            .collect();
        writeln!(out, "{}, invocations per second", self.title)?;
        for row in (0..HEIGHT).rev() {
            let mark = match row {
                9 => short(highest),
                4 => short(highest / 2.0),
                _ => String::new(),
            };
            let line: String = heights
                .iter()
                .map(|height| {
                    let eighths = (height * (HEIGHT * 8) as f64).ceil() as usize;
                    BLOCKS[eighths.saturating_sub(row * 8).min(8)]
                })
                .collect();
            writeln!(out, "{mark:>label$} │{}", line.trim_end())?;
        }
        writeln!(out, "{:>label$} └{}", 0, "─".repeat(columns))?;
        let end = time(self.length());
        writeln!(out, "{:>label$}  0{end:>1$}", "", columns.saturating_sub(1))?;
        for series in &self.series {
            let RateFigures { total, mean, p95, peak } = self.figures(series);
            writeln!(
                out,
                "{:<9}{total} in {end}: mean {}/s, 95th percentile {}/s, peak {}/s",
                series.name,
                short(mean),
                short(p95),
                short(peak)
            )?;
        }
        Ok(())
    }

    /// Steps, one line for each series, that of the plan filled.
    pub fn to_svg(&self, out: &mut impl Write) -> fmt::Result {
        const LEFT: f64 = 70.0;
        const TOP: f64 = 56.0;
        const WIDTH: f64 = 870.0;
        const HEIGHT: f64 = 260.0;
        let bottom = TOP + HEIGHT;
        let top_rate = round_up(self.highest() as f64 / self.interval);
        let length = self.length();
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="960" height="364" viewBox="0 0 960 364" font-family="sans-serif" font-size="12">"#
        )?;
        writeln!(out, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##)?;
        writeln!(
            out,
            r#"<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{}</text><text x="{LEFT}" y="42">invocations per second</text>"#,
            super::waterfall_svg::escaped(&self.title)
        )?;
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            let (x, y) = (LEFT + share * WIDTH, bottom - share * HEIGHT);
            writeln!(
                out,
                r##"<line x1="{LEFT}" y1="{y}" x2="{}" y2="{y}" stroke="#dddddd"/><text x="{}" y="{}" text-anchor="end" fill="#555555">{}</text><text x="{x}" y="{}" text-anchor="middle" fill="#555555">{}</text>"##,
                LEFT + WIDTH,
                LEFT - 8.0,
                y + 4.0,
                short(top_rate * share),
                bottom + 20.0,
                time(length * share)
            )?;
        }
        for (place, series) in self.series.iter().enumerate() {
            // Okabe and Ito's palette, which stays apart for most kinds of colour blindness.
            let colour = ["#0072b2", "#e69f00", "#009e73"][place % 3];
            let mut path = String::new();
            for (interval, count) in series.counts.iter().enumerate() {
                let x = |interval: usize| LEFT + WIDTH * interval as f64 * self.interval / length;
                let y = bottom - HEIGHT * (*count as f64 / self.interval) / top_rate;
                let command = if interval == 0 { 'M' } else { 'L' };
                write!(path, "{command}{:.1} {y:.1}H{:.1}", x(interval), x(interval + 1))?;
            }
            if place == 0 {
                writeln!(
                    out,
                    r#"<path d="{path}V{bottom}H{LEFT}Z" fill="{colour}" fill-opacity="0.15" stroke="none"/>"#
                )?;
            }
            writeln!(out, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>"#)?;
            let x = LEFT + WIDTH - 190.0 * (self.series.len() - place) as f64;
            let total = series.counts.iter().sum::<u64>();
            writeln!(
                out,
                r#"<rect x="{x}" y="14" width="12" height="12" fill="{colour}"/><text x="{}" y="24">{} ({total})</text>"#,
                x + 18.0,
                series.name
            )?;
        }
        writeln!(out, "</svg>")
    }
}

impl Series {
    fn count(&mut self, seconds: f64, interval: f64) {
        let place = (seconds / interval + 1e-9).max(0.0) as usize;
        // What is due at the very end belongs to the last interval.
        let last = self.counts.len() - 1;
        self.counts[place.min(last)] += 1;
    }
}

/// Not more intervals than can be seen, nor than there are invocations: between single ones there is no rate.
fn interval_for(length: f64, invocations: u64) -> f64 {
    let most = MOST_INTERVALS.min(invocations as f64);
    let fits = INTERVALS.into_iter().find(|interval| length / interval <= most + 1e-9);
    fits.unwrap_or(INTERVALS[INTERVALS.len() - 1])
}

fn intervals(length: f64, interval: f64) -> Vec<u64> {
    vec![0; ((length / interval - 1e-9).ceil() as usize).max(1)]
}

/// The next of 1, 2, 2.5, 4, 5, 8 or 10 times a power of ten, so that the marks of the axis are round.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(value)
}

/// `0.5`, `37`, `12.5`, `1200`
fn short(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    if value >= 1.0 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// `850ms`, `90s`, `17min`, `3h`
fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        seconds if seconds < 600.0 => format!("{}s", short(seconds)),
        seconds if seconds < 36_000.0 => format!("{}min", short(seconds / 60.0)),
        seconds => format!("{}h", short(seconds / 3600.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_measurement::Outcome;

    fn planned(times: &[f64], length: f64) -> Rates {
        let times = times.iter().copied().map(Duration::from_secs_f64);
        Rates::planned(
            "a load".to_owned(),
            times.clone(),
            times.len() as u64,
            Duration::from_secs_f64(length),
        )
    }

    #[test]
    fn invocations_are_counted_in_the_interval_in_which_they_are_due() {
        let twice: Vec<f64> =
            (0..2400).map(|number| f64::from(number) / 2.0).chain([7.999, 1200.0]).collect();
        let rates = planned(&twice, 1200.0);
        assert_eq!(rates.interval.to_bits(), 1f64.to_bits());
        let counts = &rates.series[0].counts;
        assert_eq!((counts.len(), &counts[6..9], counts[1199]), (1200, &[2, 3, 2][..], 3));
        let figures = rates.figures(&rates.series[0]);
        assert_eq!(
            (figures.total, figures.peak.to_bits(), figures.p95.to_bits()),
            (2402, 3f64.to_bits(), 2f64.to_bits())
        );
        // A load that is played fast is looked at closely: rates stay per second.
        let fast: Vec<f64> = (0..3000).map(|number| f64::from(number) / 300.0).collect();
        let rates = planned(&fast, 10.0);
        assert!((rates.interval - 0.01).abs() < 1e-12 && rates.figures(&rates.series[0]).peak < 401.0);
        // Ten in a second are no rate of a hundred in a hundredth of it.
        let even: Vec<f64> = (0..100).map(|number| f64::from(number) / 10.0).collect();
        let rates = planned(&even, 10.0);
        assert!((rates.figures(&rates.series[0]).peak - 10.0).abs() < 1e-9, "{rates:?}");
        assert_eq!(planned(&[0.0, 0.0], 0.0).series[0].counts, [2], "a burst has no length");
    }

    #[test]
    fn what_was_sent_and_answered_is_drawn_against_the_plan() {
        let at = |seconds: f64| Timestamp::from_micros(1_700_000_000_000_000 + (seconds * 1e6) as i64);
        let invocation = |due: f64, sent: Option<f64>, answered: Option<f64>| Invocation {
            invocation: 1,
            request: "get".to_owned(),
            trace_id: String::new(),
            planned: Some(at(due)),
            sent: sent.map(at),
            answered: answered.map(at),
            status: None,
            outcome: Outcome::Ok,
        };
        let rates = Rates::measured(
            "a run".to_owned(),
            &[
                invocation(0.0, Some(0.0), Some(2.9)),
                invocation(1.0, Some(1.2), Some(1.9)),
                invocation(2.0, None, None),
            ],
        );
        let counts = |series: usize| &rates.series[series].counts[..3];
        assert_eq!((counts(0), counts(1), counts(2)), (&[1, 1, 1][..], &[1, 1, 0][..], &[0, 1, 1][..]));
        let mut svg = String::new();
        rates.to_svg(&mut svg).unwrap();
        assert!(svg.contains("planned (3)") && svg.contains("sent (2)") && svg.contains("answered (2)"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_terminal_shows_a_spike_however_narrow_it_is() {
        let spike: Vec<f64> = (0..10_000).map(|_| 700.5).chain([3.0]).collect();
        let mut text = String::new();
        planned(&spike, 1200.0).to_terminal(&mut text, 40).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a load, invocations per second");
        assert_eq!((lines[1].matches('█').count(), lines[1].starts_with("10000 │")), (1, true), "{text}");
        assert!(lines[10].contains('▁') && lines.iter().all(|line| line.chars().count() <= 90), "{text}");
        assert_eq!(lines[13], "planned  10001 in 20min: mean 8.3/s, 95th percentile 0/s, peak 10000/s");
    }
}
