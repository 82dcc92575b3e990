//! Reads back what the analysis of traces left in an invocation's folder: as much of `trace_breakdown.csv` and
//! `invalid_traces.csv` as a summary needs. Columns are found by their names.

use std::io::Read;

use super::summary::{Activity, ReportError};

/// One valid trace. Durations in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceRow {
    pub(super) trace_id: String,
    pub(super) duration: i64,
    pub(super) cold_starts: u64,
    /// In the order of [`Activity::ALL`]; `None`: the activity got no piece of time.
    pub(super) parts: [Option<i64>; 9],
}

pub(super) fn read_breakdown(file: &str, source: impl Read) -> Result<Vec<TraceRow>, ReportError> {
    let mut csv = csv::Reader::from_reader(source);
    let header = csv.headers().map_err(|error| ReportError::csv(file, error))?.clone();
    let trace_id = column(file, &header, "trace_id")?;
    let duration = column(file, &header, "duration")?;
    let cold_starts = column(file, &header, "num_cold_starts")?;
    let mut activities = [0; 9];
    for (place, activity) in activities.iter_mut().zip(Activity::ALL) {
        *place = column(file, &header, activity.name())?;
    }
    let mut rows = Vec::new();
    for (index, record) in csv.records().enumerate() {
        let record = record.map_err(|error| ReportError::csv(file, error))?;
        let wrong = |column: usize, expected: &'static str| ReportError::Value {
            file: file.to_owned(),
            // Behind the header. The reader's own count is one too low after CRLF.
            line: index as u64 + 2,
            column: header[column].to_owned(),
            value: record[column].to_owned(),
            expected,
        };
        let time = |column: usize| {
            parse_duration(&record[column])
                .ok_or_else(|| wrong(column, "a duration (H:MM:SS or H:MM:SS.ffffff)"))
        };
        let mut parts = [None; 9];
        for (part, column) in parts.iter_mut().zip(activities) {
            *part = if record[column].is_empty() { None } else { Some(time(column)?) };
        }
        rows.push(TraceRow {
            trace_id: record[trace_id].to_owned(),
            duration: time(duration)?,
            cold_starts: record[cold_starts].parse().map_err(|_| wrong(cold_starts, "a whole number"))?,
            parts,
        });
    }
    Ok(rows)
}

/// The ids of the traces that could not be analysed.
pub(super) fn read_invalid(file: &str, source: impl Read) -> Result<Vec<String>, ReportError> {
    let mut csv = csv::Reader::from_reader(source);
    let header = csv.headers().map_err(|error| ReportError::csv(file, error))?.clone();
    let trace_id = column(file, &header, "trace_id")?;
    csv.records()
        .map(|record| Ok(record.map_err(|error| ReportError::csv(file, error))?[trace_id].to_owned()))
        .collect()
}

fn column(file: &str, header: &csv::StringRecord, name: &'static str) -> Result<usize, ReportError> {
    header
        .iter()
        .position(|found| found == name)
        .ok_or_else(|| ReportError::Column { file: file.to_owned(), column: name })
}

/// Microseconds of `H:MM:SS`, `H:MM:SS.ffffff` or `D day(s), H:MM:SS…`, where only the days may be negative.
fn parse_duration(text: &str) -> Option<i64> {
    let (days, clock) = match text.split_once(", ") {
        Some((days, clock)) => {
            let number = days.strip_suffix(" days").or_else(|| days.strip_suffix(" day"))?;
            (number.parse::<i64>().ok()?, clock)
        }
        None => (0, text),
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "000000"));
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<i64> {
        let plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse().ok() } else { None }
    };
    let mut fields = whole.split(':');
    let hours = number(fields.next()?, 1..=2)?;
    let minutes = number(fields.next()?, 2..=2).filter(|minutes| *minutes < 60)?;
    let seconds = number(fields.next()?, 2..=2).filter(|seconds| *seconds < 60)?;
    if fields.next().is_some() || hours >= 24 {
        return None;
    }
    let micros = number(fraction, 6..=6)?;
    days.checked_mul(86_400_000_000)?
        .checked_add(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        check("0:00:00", Some(0));
        check("0:00:14.963000", Some(14_963_000));
        check("23:59:59.999999", Some(86_399_999_999));
        check("1 day, 0:00:01", Some(86_401_000_000));
        check("2 days, 10:00:00.000001", Some(208_800_000_001));
        check("-1 day, 23:59:59.999000", Some(-1_000));
        for text in
            ["", "1", "0:0:1", "0:00:60", "0:00:01.5", "24:00:00", "-0:00:01", "x day, 0:00:01", "0:00:01:00"]
        {
            check(text, None);
        }
    }

    #[test]
    fn columns_are_found_by_name_and_faults_have_a_place() {
        let header = "duration,trace_id,num_cold_starts,orchestration,trigger,container_initialization,\
                      runtime_initialization,computation,queing,overhead,external_service,unclassified,more\r\n";
        let row = "0:00:01,1-a,2,0:00:00.400000,,,,0:00:00.600000,,0:00:00,,0:00:00,x\r\n";
        let rows = read_breakdown("f.csv", format!("{header}{row}").as_bytes()).unwrap();
        assert_eq!(
            rows,
            [TraceRow {
                trace_id: "1-a".to_owned(),
                duration: 1_000_000,
                cold_starts: 2,
                parts: [Some(400_000), None, None, None, Some(600_000), None, Some(0), None, Some(0)],
            }]
        );
        let message = |text: String| read_breakdown("f.csv", text.as_bytes()).unwrap_err().to_string();
        assert!(message(header.replace("trigger,", "")).contains("f.csv has no column `trigger`"));
        let damaged = format!("{header}{}", row.replace("0:00:01,", "1 s,"));
        assert!(message(damaged).starts_with("f.csv, line 2: column `duration`: `1 s` is not a duration"));
    }
}
