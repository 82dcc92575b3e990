//! Broken files: each is named with its place, and says what to do.

use tempfile::tempdir;

use super::made::{day_2019, header_2019, name_2019, open, options, row_2019, write};
use crate::{Dataset, DatasetError, Empty, Key, Options};

fn key() -> Key {
    Key::new("o", "a", "f", "http")
}

/// What one file of 2019 with this text is refused with.
#[track_caller]
fn check_2019(text: &str, expected: &str) {
    let folder = tempdir().unwrap();
    write(folder.path(), &name_2019(1), text);
    let error = open(folder.path(), options(1..=1)).totals().unwrap_err();
    let shown = error.to_string().replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(shown, expected);
    assert!(!error.help().is_empty());
}

#[test]
fn a_broken_file_of_2019_is_named_with_line_and_column() {
    let name = name_2019(1);
    let good = day_2019(&[(key(), vec![1, 2, 3])]);
    check_2019("", &format!("{name}, line 1: the file is empty"));
    check_2019("a,b\n", &format!("{name}, line 1, column 1: the column is called `a`, not `HashOwner`"));
    let renamed = good.replacen(",600,", ",6000,", 1);
    check_2019(&renamed, &format!("{name}, line 1, column 604: the column is called `6000`, not `600`"));
    let short = header_2019().rsplit_once(',').unwrap().0.to_owned();
    check_2019(&short, &format!("{name}, line 1, column 1444: the header ends before the column `1440`"));
    let row = row_2019(&key(), &[1, 2, 3]);
    let with = |row: &str| format!("{good}{row}\n");
    check_2019(
        &with(&row.replacen(",2,", ",,", 1)),
        &format!("{name}, line 3, column 6: the cell of minute 2 is empty"),
    );
    check_2019(
        &with(&row.replacen(",2,", ",two,", 1)),
        &format!("{name}, line 3, column 6: `two` is not a number of invocations"),
    );
    check_2019(
        &with(&row.replacen(",2,", ",-2,", 1)),
        &format!("{name}, line 3, column 6: `-2` is not a number of invocations"),
    );
    check_2019(
        &with(row.rsplit_once(',').unwrap().0),
        &format!("{name}, line 3, column 1443: the line has 1439 minutes, not 1440"),
    );
    check_2019(
        &with(&format!("{row},0")),
        &format!("{name}, line 3, column 1445: the line has 1441 minutes, not 1440"),
    );
    check_2019(&with("o,a"), &format!("{name}, line 3, column 2: the line ends after 2 of 1444 cells"));
    check_2019(&with(""), &format!("{name}, line 3, column 1: the line is empty"));
    check_2019(
        &with(&row.replacen("a,f", "a,f\0", 1)),
        &format!("{name}, line 3, column 1: the names hold a NUL byte"),
    );
    check_2019(
        &with(&row.replacen("a,f", "a,", 1)),
        &format!("{name}, line 3, column 3: `HashFunction` is empty"),
    );
}

#[test]
fn an_empty_cell_counts_as_zero_only_when_asked_for_and_is_said() {
    let folder = tempdir().unwrap();
    let text = day_2019(&[(key(), vec![1, 25, 3])]).replacen(",25,3,0", ",,3,0", 1);
    write(folder.path(), &name_2019(1), &text);
    assert!(open(folder.path(), options(1..=1)).totals().is_err());
    let lenient = Options { empty: Empty::Zero, ..options(1..=1) };
    let totals = open(folder.path(), lenient).totals().unwrap();
    assert_eq!(totals.functions[0].per_day[0], Some(4));
    assert_eq!(totals.notes.empty_cells, 1);
    assert!(totals.notes.sentences()[0].contains("line 2, column 6"), "{:?}", totals.notes.sentences());
}

#[test]
fn a_missing_day_is_an_error_and_no_renumbering() {
    let folder = tempdir().unwrap();
    let text = day_2019(&[(key(), vec![1])]);
    for day in [1, 3] {
        write(folder.path(), &name_2019(day), &text);
    }
    write(folder.path(), &format!("{}.bak", name_2019(2)), "not read");
    let error = open(folder.path(), options(1..=3)).totals().unwrap_err();
    assert!(matches!(&error, DatasetError::Files { .. }), "{error}");
    assert!(error.to_string().ends_with("has no file `invocations_per_function_md.anon.d02.csv`"), "{error}");
    let error = open(folder.path(), Options::default()).totals().unwrap_err();
    assert!(error.to_string().contains("and 11 other days are missing"), "{error}");
    let third = open(folder.path(), options(3..=3)).totals().unwrap();
    assert_eq!(third.days[0].day, 3);
    write(folder.path(), &format!("{}.gz", name_2019(3)), "twice");
    let error = open(folder.path(), options(3..=3)).totals().unwrap_err();
    assert!(error.to_string().contains("day 3 is there twice"), "{error}");
}

/// What a file of another form is refused with.
#[track_caller]
fn check(file: &str, text: &str, expected: &str) {
    let folder = tempdir().unwrap();
    write(folder.path(), file, text);
    let error = Dataset::open(folder.path(), Options::default()).and_then(|dataset| dataset.totals());
    let shown = error.unwrap_err().to_string().replace(&folder.path().display().to_string(), "DIR");
    assert_eq!(shown, expected);
}

#[test]
fn broken_files_of_other_forms_are_named_with_their_place() {
    let azure = "app,func,end_timestamp,duration\na,f,1.5,0.5\n";
    check("t.txt", &format!("{azure}a,f,x,1\n"), "DIR/t.txt, line 3, column 3: `x` is not a time in seconds");
    check("t.txt", &format!("{azure}a,f,1,-1\n"), "DIR/t.txt, line 3, column 4: the duration is negative");
    check("t.txt", &format!("{azure}a,,1,1\n"), "DIR/t.txt, line 3, column 2: the cell is empty");
    check(
        "t.txt",
        &format!("{azure}a,f,1\n"),
        "DIR/t.txt, line 3, column 3: the line has 3 cells, and the first line 4",
    );
    let huawei = "day,time,0,1\n0,0,1,2\n";
    let file = "requests_minute/day_000.csv";
    check(
        file,
        &format!("{huawei}0,60,1,x\n"),
        &format!("DIR/{file}, line 3, column 4: `x` is not a number of invocations"),
    );
    check(
        file,
        &format!("{huawei}1,60,1,2\n"),
        &format!("DIR/{file}, line 3, column 2: second 60 is not on day 1"),
    );
    check(
        file,
        &format!("{huawei}0,0,1,2\n"),
        &format!("DIR/{file}, line 3, column 2: second 0 does not follow the row above"),
    );
    check(
        file,
        &format!("{huawei}0,60,1\n"),
        &format!("DIR/{file}, line 3, column 3: the line has 3 cells, and the first line 4"),
    );
    check(file, "day,time,0,0\n", &format!("DIR/{file}, line 1, column 4: another column has this name"));
    check(
        "function_delay_minute/day_000.csv",
        huawei,
        "`DIR` holds `function_delay_minute`, which are no numbers of invocations",
    );
    check("notes.txt", "hello\n", "`DIR` holds no dataset that is known");
}

#[test]
fn archives_and_pickles_that_are_not_read_are_named() {
    let folder = tempdir().unwrap();
    for (start, word) in [("Rar!\u{1a}", "RAR"), ("7z\u{fffd}", ""), ("\u{80}\u{4}", "")] {
        if !word.is_empty() {
            write(folder.path(), "x.bin", start);
            let error = Dataset::open(&folder.path().join("x.bin"), Options::default()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    std::fs::write(folder.path().join("week_1.pickle"), b"\x80\x05\x95abc").unwrap();
    let error = Dataset::open(&folder.path().join("week_1.pickle"), Options::default()).unwrap_err();
    assert!(error.to_string().contains("runs code"), "{error}");
    std::fs::write(folder.path().join("w.7z.001"), b"7z\xbc\xaf\x27\x1cabc").unwrap();
    let error = Dataset::open(&folder.path().join("w.7z.001"), Options::default()).unwrap_err();
    assert!(error.to_string().contains("7z x"), "{error}");
}

#[test]
fn links_that_lead_up_are_not_followed_and_those_to_nothing_are_named() {
    let folder = tempdir().unwrap();
    write(folder.path(), "requests_minute/day_000.csv", "day,time,0,1\n0,0,1,2\n");
    let at = |name: &str| folder.path().join("requests_minute").join(name);
    for (name, to) in [("up", ".."), ("here", "."), (".lock", "nowhere")] {
        std::os::unix::fs::symlink(to, at(name)).unwrap();
    }
    let dataset = Dataset::open(folder.path(), Options::default()).unwrap();
    assert_eq!(dataset.totals().unwrap().days[0].invocations, 3, "each file counts once");
    for (name, to) in [("day_001.csv", "day_001.csv"), ("day_002.csv", "/nowhere/day_002.csv")] {
        std::os::unix::fs::symlink(to, at(name)).unwrap();
        let error = Dataset::open(folder.path(), Options::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read `{}`: ", at(name).display())), "{error}");
        std::fs::remove_file(at(name)).unwrap();
    }
}
