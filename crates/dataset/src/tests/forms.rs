//! Every form, unit and compression gives the same minutes.

use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;
use tempfile::tempdir;

use super::made::{day_2019, header_2019, name_2019, open, options, write};
use crate::{Dataset, Format, Key, Options, Window};

/// Counts of some functions in some minutes of one day.
#[derive(Clone, Debug)]
struct Made {
    functions: Vec<Vec<(u16, u64)>>,
}

fn made() -> impl Strategy<Value = Made> {
    let minutes = prop::collection::btree_map(1_u16..=1440, 1_u64..12, 1..12);
    prop::collection::vec(minutes, 1..5).prop_map(|functions| Made {
        functions: functions.into_iter().map(|f| f.into_iter().collect()).collect(),
    })
}

impl Made {
    fn minutes(&self, function: usize) -> Vec<u64> {
        let mut minutes = vec![0; 1440];
        for (minute, count) in &self.functions[function] {
            minutes[usize::from(*minute) - 1] += count;
        }
        minutes
    }

    /// A row for each invocation, spread over its minute; none falls onto the next.
    fn invocations(&self, mut row: impl FnMut(usize, f64)) {
        for (function, minutes) in self.functions.iter().enumerate() {
            for (minute, count) in minutes {
                for index in 0..*count {
                    row(function, f64::from(minute - 1) * 60.0 + index as f64 * 5.0);
                }
            }
        }
    }

    fn write(&self, format: Format, is_by_second: bool, folder: &Path) -> String {
        let name = match format {
            Format::Azure2019 => name_2019(1),
            Format::HuaweiCounts if is_by_second => "requests_second/day_000.csv".to_owned(),
            Format::HuaweiCounts => "requests_minute/day_000.csv".to_owned(),
            _ => "trace.csv".to_owned(),
        };
        let mut text = String::new();
        match format {
            Format::Azure2019 => {
                let rows: Vec<_> =
                    (0..self.functions.len()).map(|f| (key(format, f), self.minutes(f))).collect();
                text = day_2019(&rows);
            }
            Format::Azure2021 | Format::Starts => {
                let end = if format == Format::Azure2021 { "end_timestamp" } else { "start_timestamp" };
                text.push_str(&format!("app,func,{end},duration\n"));
                self.invocations(|function, start| {
                    // An invocation that begins with its minute is the hard case for binary fractions.
                    let at = if format == Format::Azure2021 { start + 0.3 } else { start };
                    text.push_str(&format!("app,f{function},{at:.3},0.300\n"));
                });
            }
            Format::HuaweiRequests => {
                text.push_str("time_worker,time_frontend,requestID,funcName,podID,userID\n");
                self.invocations(|function, start| {
                    text.push_str(&format!("{start:.3},,r,f{function},pool1-300-128-0007,9\n"));
                });
            }
            Format::HuaweiCounts => {
                let names: Vec<String> =
                    (0..self.functions.len()).map(|function| format!("f{function}")).collect();
                text.push_str(&format!("day,time,{}\n", names.join(",")));
                for minute in 0..1440_usize {
                    let counts: Vec<u64> =
                        (0..self.functions.len()).map(|function| self.minutes(function)[minute]).collect();
                    let row = |counts: Vec<u64>| {
                        let cells: Vec<String> = counts
                            .iter()
                            .map(|count| if *count == 0 { String::new() } else { format!("{count}.0") })
                            .collect();
                        cells.join(",")
                    };
                    if is_by_second {
                        let first: Vec<u64> = counts.iter().map(|count| count / 2).collect();
                        let second: Vec<u64> = counts.iter().map(|count| count - count / 2).collect();
                        text.push_str(&format!("0,{},{}\n", minute * 60, row(first)));
                        text.push_str(&format!("0,{},{}\n", minute * 60 + 59, row(second)));
                    } else {
                        text.push_str(&format!("0,{},{}\n", minute * 60, row(counts)));
                    }
                }
            }
        }
        write(folder, &name, &text);
        name
    }
}

fn key(format: Format, function: usize) -> Key {
    match format {
        Format::Azure2019 => Key::new("o", "a", &format!("f{function}"), "http"),
        Format::Azure2021 | Format::Starts => Key::new("", "app", &format!("f{function}"), ""),
        Format::HuaweiCounts => Key::new("", "", &format!("f{function}"), ""),
        Format::HuaweiRequests => Key::new("9", "", &format!("f{function}---9---pool1-300-128"), ""),
    }
}

/// How a file is packed.
#[derive(Clone, Copy, Debug)]
enum Packed {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Tar,
    TarGzip,
    Zip,
}

const PACKED: [Packed; 7] =
    [Packed::Plain, Packed::Gzip, Packed::Zstd, Packed::Xz, Packed::Tar, Packed::TarGzip, Packed::Zip];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes).unwrap();
    builder.into_inner().unwrap()
}

/// Packs the file of a folder; gives what is opened.
fn pack(folder: &Path, name: &str, packed: Packed) -> std::path::PathBuf {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).unwrap();
    let (end, bytes) = match packed {
        Packed::Plain => return folder.to_owned(),
        Packed::Gzip => (".gz", gzip(&bytes)),
        Packed::Zstd => (".zst", zstd::encode_all(&*bytes, 1).unwrap()),
        Packed::Xz => (".xz", xz(&bytes)),
        Packed::Tar | Packed::TarGzip => {
            let archive = tar(name, &bytes);
            let archive = if matches!(packed, Packed::Tar) { archive } else { gzip(&archive) };
            let target = folder.join("archive.tar");
            std::fs::write(&target, archive).unwrap();
            return target;
        }
        Packed::Zip => {
            let target = folder.join("archive.zip");
            let mut writer = zip::ZipWriter::new(std::fs::File::create(&target).unwrap());
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap();
            return target;
        }
    };
    std::fs::remove_file(&path).unwrap();
    std::fs::write(format!("{}{end}", path.display()), bytes).unwrap();
    folder.to_owned()
}

#[track_caller]
fn check(made: &Made, format: Format, is_by_second: bool, packed: Packed) {
    let folder = tempdir().unwrap();
    let name = made.write(format, is_by_second, folder.path());
    let path = pack(folder.path(), &name, packed);
    // Huawei's days count from 0.
    let day = u32::from(!matches!(format, Format::HuaweiCounts | Format::HuaweiRequests));
    let dataset = open(&path, options(day..=day));
    assert_eq!(dataset.format(), format);
    let totals = dataset.totals().unwrap();
    let keys: Vec<Key> = (0..made.functions.len()).map(|function| key(format, function)).collect();
    let found: Vec<(Key, Option<u64>)> =
        totals.functions.iter().map(|function| (function.key.clone(), function.per_day[0])).collect();
    let expected: Vec<(Key, Option<u64>)> =
        (0..keys.len()).map(|f| (keys[f].clone(), Some(made.minutes(f).iter().sum()))).collect();
    assert_eq!(found, expected, "{format:?}, {packed:?}");
    let minutes = dataset.minutes(&keys, Window { day, first: 1, minutes: 1440 }).unwrap();
    for (function, minutes) in minutes.into_iter().enumerate() {
        assert_eq!(minutes, Some(made.minutes(function)), "{format:?}, {packed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn minute_totals_are_kept_by_every_reader_unit_and_compression(made in made()) {
        for packed in PACKED {
            for format in [Format::Azure2019, Format::Azure2021, Format::Starts, Format::HuaweiRequests, Format::HuaweiCounts] {
                check(&made, format, false, packed);
            }
            check(&made, Format::HuaweiCounts, true, packed);
        }
    }
}

#[test]
fn rows_of_one_key_are_added_up_and_counted() {
    let folder = tempdir().unwrap();
    let [one, two] = ["http", "queue"].map(|trigger| Key::new("o", "a", "f", trigger));
    for day in 1..=2 {
        let rows = [(one.clone(), vec![1, 2]), (two.clone(), vec![5]), (one.clone(), vec![10, 0, 7])];
        write(folder.path(), &name_2019(day), &day_2019(&rows));
    }
    let dataset = open(folder.path(), options(1..=2));
    let totals = dataset.totals().unwrap();
    assert_eq!(totals.functions.len(), 2);
    assert_eq!(*totals.functions[0].per_day, [Some(20), Some(20)]);
    assert_eq!(totals.notes.repeated_rows, 2);
    let minutes = dataset.minutes(&[one, two], Window { day: 1, first: 1440, minutes: 3 }).unwrap();
    assert_eq!(minutes, [Some(vec![0, 11, 2]), Some(vec![0, 5, 0])]);
    let summary = crate::Criteria { min_rate: 0.0, ..Default::default() }.summary(&totals).unwrap();
    let steps: Vec<_> = summary.funnel.iter().map(|step| (step.step, step.functions, step.rows)).collect();
    assert_eq!(steps, [("total", 2, 5), ("available", 2, 5), ("no_timer", 2, 5), ("rate", 2, 5)]);
    assert_eq!(summary.several_triggers, 1);
}

#[test]
fn invocations_that_began_before_the_trace_are_counted_and_said() {
    let folder = tempdir().unwrap();
    write(folder.path(), "t.txt", "app,func,end_timestamp,duration\na,f,0.1,0.25\na,f,86400.0,0.0\n");
    let dataset = Dataset::open(folder.path(), Options::default()).unwrap();
    let totals = dataset.totals().unwrap();
    assert_eq!(*totals.functions[0].per_day, [Some(1), Some(1)]);
    assert_eq!(totals.notes.before_start, 1);
    assert!(totals.notes.sentences()[0].starts_with("1 invocation before the start"), "{:?}", totals.notes);
}

#[test]
fn single_invocations_have_their_start_since_the_window_begins() {
    let folder = tempdir().unwrap();
    let text = "app,func,end_timestamp,duration\na,f,100.0,0.5\na,f,70.3,0.3\na,g,71.0,0.0\na,f,59.9,0.0\na,f,0.1,0.2\n";
    write(folder.path(), "t.txt", text);
    let dataset = Dataset::open(folder.path(), Options::default()).unwrap();
    let key = Key::new("", "a", "f", "");
    let found =
        |first, minutes| dataset.invocations(std::slice::from_ref(&key), Window { day: 1, first, minutes });
    assert_eq!(found(2, 1).unwrap(), [(10.0, 0.3), (39.5, 0.5)]);
    assert_eq!(found(1, 1).unwrap(), [(0.0, 0.2), (59.9, 0.0)]);
    let totals = dataset.totals().unwrap();
    let wanted = crate::Wanted { function: "f".to_owned(), ..Default::default() };
    let window = Window { day: 1, first: 2, minutes: 1 };
    let export = |factor| crate::export(&dataset, &totals, &wanted, window, factor, false).unwrap();
    let text = export(1.0).to_starts_csv(&dataset).unwrap();
    assert!(
        text.ends_with("# factor: 1\n# original per minute: 2\nstart_s,duration_s\n10.000000,0.300000\n39.500000,0.500000\n"),
        "{text}"
    );
    let text = export(0.5).to_starts_csv(&dataset).unwrap();
    assert!(
        text.ends_with("# factor: 0.5\n# original per minute: 2\nstart_s,duration_s\n10.000000,0.300000\n"),
        "{text}"
    );
    let error = export(0.1).to_starts_csv(&dataset).unwrap_err().to_string();
    assert!(error.contains("the factor 0.1 leaves none of 2 invocations"), "{error}");
    write(folder.path(), &name_2019(1), &day_2019(&[(key.clone(), vec![1])]));
    let counts = open(folder.path(), options(1..=1));
    let error = counts.invocations(&[key], window).unwrap_err().to_string();
    assert!(error.contains("has counts only"), "{error}");
}

#[test]
fn durations_are_means_of_the_window_or_of_the_day() {
    let folder = tempdir().unwrap();
    write(
        folder.path(),
        "t.txt",
        "app,func,end_timestamp,duration\na,f,100.0,0.5\na,f,70.4,0.2\na,g,171.0,9.0\n",
    );
    let dataset = Dataset::open(folder.path(), Options::default()).unwrap();
    let keys = ["f", "g"].map(|function| Key::new("", "a", function, ""));
    let found = dataset.durations(&keys, Window { day: 1, first: 2, minutes: 1 }).unwrap().unwrap();
    assert_eq!(found, [Some(0.35), None]);

    let folder = tempdir().unwrap();
    let [one, two] = ["http", "queue"].map(|trigger| Key::new("o", "a", "f", trigger));
    let other = Key::new("o", "a", "g", "http");
    let rows = [one.clone(), two.clone(), other.clone()].map(|key| (key, vec![1]));
    write(folder.path(), &name_2019(1), &day_2019(&rows));
    let keys = [one, two, other];
    let window = Window { day: 1, first: 1, minutes: 1 };
    let durations = |text: &str| {
        if !text.is_empty() {
            write(folder.path(), "function_durations_percentiles.anon.d01.csv", text);
        }
        open(folder.path(), options(1..=1)).durations(&keys, window)
    };
    assert_eq!(durations("").unwrap(), None);
    // Both triggers have the durations of their function; a count of zero says nothing.
    let header = "HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum";
    let text =
        format!("{header}\no,a,f,100,3,1.0,9.0\no,a,f,500,1,1.0,9.0\no,a,g,7,0,1.0,9.0\nx,y,z,1,1,1.0,1.0\n");
    assert_eq!(durations(&text).unwrap(), Some(vec![Some(0.2), Some(0.2), None]));
    // Three keys share the memory of their application.
    assert_eq!(open(folder.path(), options(1..=1)).memory(&keys, window).unwrap(), None);
    let text = "HashOwner,HashApp,SampleCount,AverageAllocatedMb,AverageAllocatedMb_pct1\no,a,2,300,1\no,a,1,600,1\n";
    write(folder.path(), "app_memory_percentiles.anon.d01.csv", text);
    let found = open(folder.path(), options(1..=1)).memory(&keys, window).unwrap().unwrap();
    assert!(found.iter().all(|megabytes| (megabytes.unwrap() - 400.0 / 3.0).abs() < 1e-9), "{found:?}");
    for (text, expected) in [
        (format!("{header}\no,a,f,-1,3,1,9\n"), "line 2, column 4: `-1` is no number of 0 or more"),
        (format!("{header}\no,a,f\n"), "line 2: the line ends before the column `Count`"),
        (
            "HashOwner,HashApp,Average\n".to_owned(),
            "line 1, column 3: the column is not called `HashFunction`",
        ),
    ] {
        let error = durations(&text).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

const HOSTILE: [&str; 6] = ["a,b", "say \"x\"", "two\nlines", "\r\n", "\"", "plain"];

/// The cells of a file that this crate wrote, as a reader of CSV finds them.
fn read_again(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn names_with_commas_quotation_marks_and_line_breaks_are_read_and_written() {
    let folder = tempdir().unwrap();
    let keys: Vec<Key> = HOSTILE.iter().map(|name| Key::new("o,1", "my \"app\"", name, "http")).collect();
    let rows: Vec<_> = (1..).zip(&keys).map(|(count, key)| (key.clone(), vec![count, 2 * count])).collect();
    for day in 1..=2 {
        write(folder.path(), &name_2019(day), &day_2019(&rows));
    }
    let dataset = open(folder.path(), options(1..=2));
    let totals = dataset.totals().unwrap();
    assert_eq!(totals.functions.len(), HOSTILE.len());
    let window = Window { day: 1, first: 1, minutes: 2 };
    let minutes = dataset.minutes(&keys, window).unwrap();
    for (count, (key, minutes)) in (1..).zip(keys.iter().zip(&minutes)) {
        let function = totals.functions.iter().find(|function| function.key == *key).unwrap();
        assert_eq!(*function.per_day, [Some(3 * count), Some(3 * count)], "{key}");
        assert_eq!(minutes.as_deref(), Some(&[count, 2 * count][..]), "{key}");
        let wanted = crate::Wanted { function: key.function().to_owned(), ..Default::default() };
        let export = crate::export(&dataset, &totals, &wanted, window, 1.0, false).unwrap();
        let text = export.to_csv(&dataset);
        let numbers = text.lines().skip_while(|line| line.starts_with('#'));
        assert_eq!(
            numbers.skip(1).collect::<Vec<_>>(),
            [count.to_string(), (2 * count).to_string()],
            "{text}"
        );
    }
    let header = "HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum";
    let durations: String =
        (1..).zip(&keys).map(|(count, key)| format!("\n{},{count}00,1,0,0", key.without_trigger())).collect();
    write(folder.path(), "function_durations_percentiles.anon.d01.csv", &format!("{header}{durations}\n"));
    let memory = "HashOwner,HashApp,SampleCount,AverageAllocatedMb\n\"o,1\",\"my \"\"app\"\"\",1,600\n";
    write(folder.path(), "app_memory_percentiles.anon.d01.csv", memory);
    // The list of files is read when a dataset is opened.
    let dataset = open(folder.path(), options(1..=2));
    let found = dataset.durations(&keys, window).unwrap().unwrap();
    assert_eq!(found[..2], [Some(0.1), Some(0.2)]);
    assert_eq!(dataset.memory(&keys, window).unwrap().unwrap(), vec![Some(100.0); keys.len()]);

    let sampled: Vec<crate::Sampled> = keys
        .iter()
        .map(|key| crate::Sampled { key: key.clone(), day_total: 1, windows: vec![vec![1, 2]] })
        .collect();
    let names = |text: &str, column: usize| -> Vec<String> {
        read_again(text)[1..].iter().map(|row| row[column].clone()).collect()
    };
    assert_eq!(names(&crate::sampled_csv(&sampled, 1), 2), HOSTILE);
    assert_eq!(names(&crate::sampled_csv(&sampled, 1), 0), ["o,1"; 6]);
    assert_eq!(names(&crate::windows_csv(&sampled), 2), HOSTILE);
    let labels: String = keys.iter().map(|key| format!("\n{key},steady")).collect();
    let labels = format!("HashOwner,HashApp,HashFunction,Trigger,time1{labels}\n");
    let labels = crate::read_labels(&labels).unwrap();
    for (label, key) in labels.iter().zip(&keys) {
        assert!(label.is_of(key), "{label:?} {key}");
    }
}

#[test]
fn hostile_names_of_the_other_forms_are_read() {
    let folder = tempdir().unwrap();
    let line = |names: &[&str]| crate::cells::line_of(names.iter().copied());
    let rows: String = HOSTILE.iter().map(|name| format!("{},60.5,0.5\n", line(&["my,app", name]))).collect();
    write(folder.path(), "t.txt", &format!("\"app\",\"func\",\"end_timestamp\",\"duration\"\n{rows}"));
    let totals = |folder: &tempfile::TempDir| {
        Dataset::open(folder.path(), Options::default()).unwrap().totals().unwrap().functions
    };
    let names = |functions: &[crate::FunctionTotals]| {
        let mut names: Vec<String> = functions.iter().map(|one| one.key.function().to_owned()).collect();
        names.sort();
        names
    };
    let mut expected = HOSTILE.map(str::to_owned).to_vec();
    expected.sort();
    let found = totals(&folder);
    assert_eq!(names(&found), expected);
    assert!(found.iter().all(|one| one.key.app() == "my,app" && *one.per_day == [Some(1)]));

    let folder = tempdir().unwrap();
    let header = format!("day,time,{}\n", line(&HOSTILE));
    write(folder.path(), "requests_minute/day_000.csv", &format!("{header}0,0,1,2,3,4,5,6\n"));
    assert_eq!(names(&totals(&folder)), expected);

    let folder = tempdir().unwrap();
    let rows: String =
        HOSTILE.iter().map(|name| format!("1.5,{}\n", line(&["pool-1", name, "u,1"]))).collect();
    write(folder.path(), "r.csv", &format!("time_worker,podID,funcName,userID\n{rows}"));
    let found = totals(&folder);
    assert_eq!(names(&found), {
        let mut all: Vec<String> = HOSTILE.iter().map(|name| format!("{name}---u,1---pool")).collect();
        all.sort();
        all
    });
    assert!(found.iter().all(|one| one.key.owner() == "u,1"));
}

#[test]
fn a_quotation_mark_that_nothing_closes_is_named_where_it_opens() {
    let folder = tempdir().unwrap();
    write(folder.path(), "t.txt", "app,func,end_timestamp,duration\na,f,1,0\na,\"f,1,0\na,f,1,0\n");
    let error = Dataset::open(folder.path(), Options::default()).unwrap().totals().unwrap_err();
    assert!(
        error.to_string().ends_with("line 3: a quotation mark opens a cell here, and nothing closes it"),
        "{error}"
    );
    write(folder.path(), &name_2019(1), &format!("{}\no,\"a,f,http,1\n", header_2019()));
    let error = open(folder.path(), options(1..=1)).totals().unwrap_err();
    assert!(error.to_string().contains("line 2: a quotation mark"), "{error}");
}
