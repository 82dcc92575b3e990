//! `latency.hlog`: the distribution of latencies over time, as the tools of HdrHistogram read it (log format 1.3,
//! compressed V2 histograms). Values are microseconds. The tag `sent` has latencies of answers as expected, from the
//! moment of sending. `planned` has the same from the planned time, and `failed` those of other complete answers.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::LoadError;
use super::record::{self, Tally};

pub(super) const LATENCY_FILE: &str = "latency.hlog";

/// A load has about so many intervals at most.
const INTERVALS: u32 = 1200;
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) struct LatencyLog {
    file: File,
    serializer: V2DeflateSerializer,
    began: Instant,
    /// When the current interval began.
    since: Instant,
    interval: Duration,
    tagged: [(&'static str, Histogram<u64>); 3],
}

impl LatencyLog {
    /// `expected`: how long the load will take, when that is known.
    pub(super) fn create(
        folder: &Path,
        began: Instant,
        expected: Option<Duration>,
    ) -> Result<Self, LoadError> {
        let mut file = record::create(folder, LATENCY_FILE)?;
        let mut serializer = V2DeflateSerializer::new();
        let start =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(UNIX_EPOCH, |since| UNIX_EPOCH + since);
        IntervalLogWriterBuilder::new()
            .add_comment("latencies in microseconds, their maxima in milliseconds")
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(1e3)
            .begin_log_with(&mut file, &mut serializer)
            .map_err(LoadError::Record)?;
        Ok(Self {
            file,
            serializer,
            began,
            since: began,
            interval: SHORTEST.max(expected.unwrap_or_default() / INTERVALS),
            tagged: ["sent", "planned", "failed"].map(|tag| (tag, record::histogram())),
        })
    }

    /// Adds what was counted since the last time, and writes it when the interval is over.
    pub(super) fn add(&mut self, counted: &Tally) -> Result<(), LoadError> {
        for ((_, sum), part) in self.tagged.iter_mut().zip([
            &counted.latency,
            &counted.latency_from_planned,
            &counted.failed_latency,
        ]) {
            // Fails only for a histogram that may not grow.
            let _ = sum.add(part);
        }
        if self.since.elapsed() >= self.interval { self.write() } else { Ok(()) }
    }

    /// Ends the interval.
    pub(super) fn write(&mut self) -> Result<(), LoadError> {
        let now = Instant::now();
        let seconds = |time: Duration| time.as_secs_f64();
        let mut lines = String::new();
        for (tag, histogram) in self.tagged.iter_mut().filter(|(_, histogram)| !histogram.is_empty()) {
            let mut bytes = Vec::new();
            self.serializer
                .serialize(&*histogram, &mut bytes)
                .map_err(|error| LoadError::Record(io::Error::other(error.to_string())))?;
            lines += &format!(
                "Tag={tag},{:.3},{:.3},{:.3},{}\n",
                seconds(self.since - self.began),
                seconds(now - self.since),
                histogram.max() as f64 / 1e3,
                base64::engine::general_purpose::STANDARD.encode(&bytes),
            );
            histogram.reset();
        }
        self.since = now;
        self.file.write_all(lines.as_bytes()).map_err(LoadError::Record)
    }
}
