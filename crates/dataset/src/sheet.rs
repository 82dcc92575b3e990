//! A contact sheet: windows side by side in one HTML file, to name their patterns by eye.

use serde_json::json;

use crate::classify::{Pattern, classify};
use crate::model::{Key, Window};

/// A function of a sample, with its minutes in each window.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// Which function.
    pub key: Key,
    /// Invocations on the day of the windows.
    pub day_total: u64,
    /// Minutes of each window, in the order of the windows.
    pub windows: Vec<Vec<u64>>,
}

/// The sample as the study's table: the names of the key, and the total of the day.
pub fn sampled_csv(sample: &[Sampled], day: u32) -> String {
    let mut text = format!("HashOwner,HashApp,HashFunction,Trigger,Count.{day}\n");
    for function in sample {
        text.push_str(&format!("{},{}\n", function.key, function.day_total));
    }
    text
}

/// The minutes of each window: `i` is the place in the sample from 1, `m0` the first minute.
pub fn windows_csv(sample: &[Sampled]) -> String {
    let minutes =
        sample.iter().flat_map(|function| &function.windows).map(Vec::len).max().unwrap_or_default();
    let names: Vec<String> = (0..minutes).map(|minute| format!("m{minute}")).collect();
    let mut text = format!("i,window,HashFunction,{}\n", names.join(","));
    for (place, function) in (1..).zip(sample) {
        for (window, counts) in (1..).zip(&function.windows) {
            let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
            let name = function.key.function();
            text.push_str(&format!("{place},time{window},{name},{}\n", counts.join(",")));
        }
    }
    text
}

/// Makes the page. It asks nobody for anything, and works from a file: a policy forbids everything else.
///
/// Keys 1 to 4 name the pattern of the window that is shown large, `u` takes the last label back, and the arrows move.
/// What was labelled stays in the browser, and is saved as CSV in the study's form.
pub fn contact_sheet(title: &str, windows: &[Window], sample: &[Sampled]) -> String {
    let mut cells = Vec::new();
    for (place, function) in sample.iter().enumerate() {
        for (window, counts) in function.windows.iter().enumerate() {
            let found = classify(counts);
            cells.push(json!({
                "place": place,
                "window": window,
                "counts": counts,
                "rule": found.rule,
                "pattern": found.pattern.name(),
            }));
        }
    }
    let functions: Vec<serde_json::Value> = sample
        .iter()
        .map(|function| {
            json!({
                "owner": function.key.owner(),
                "app": function.key.app(),
                "function": function.key.function(),
                "trigger": function.key.trigger(),
            })
        })
        .collect();
    let windows: Vec<String> = windows
        .iter()
        .map(|window| {
            format!(
                "day {}, minutes {}–{}",
                window.day,
                window.first,
                u32::from(window.first) + window.minutes - 1
            )
        })
        .collect();
    let data = json!({
        "title": title,
        "windows": windows,
        "patterns": Pattern::STUDY.map(Pattern::name),
        "functions": functions,
        "cells": cells,
    });
    // A script ends at `</`, wherever that stands, so no text of the data may hold it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replace("@TITLE@", &escaped(title)).replace("@DATA@", &data)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = include_str!("sheet.html");

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Sampled> {
        vec![Sampled {
            key: Key::new("o", "a", "</script><b>", "http"),
            day_total: 90_000,
            windows: vec![vec![1, 2, 3], vec![4, 5, 6]],
        }]
    }

    #[test]
    fn tables_have_the_forms_of_the_study() {
        let sample = sample();
        assert_eq!(
            sampled_csv(&sample, 1),
            "HashOwner,HashApp,HashFunction,Trigger,Count.1\no,a,</script><b>,http,90000\n"
        );
        assert_eq!(
            windows_csv(&sample),
            "i,window,HashFunction,m0,m1,m2\n1,time1,</script><b>,1,2,3\n1,time2,</script><b>,4,5,6\n"
        );
    }

    #[test]
    fn no_name_of_a_dataset_can_leave_the_data_of_the_page() {
        let windows = [600, 1080].map(|first| Window { day: 1, first, minutes: 3 });
        let page = contact_sheet("a <title>", &windows, &sample());
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("a &lt;title&gt;"));
        assert!(page.contains("\\u003c/script>\\u003cb>"));
        assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody");
        assert!(!page.contains('@'), "every place is filled in");
    }
}
