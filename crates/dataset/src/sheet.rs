//! A contact sheet: windows side by side in one HTML file, to name their patterns by eye.

use serde_json::json;

use crate::cells::quoted;
use crate::classify::{PatternClass, classify};
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
            let name = quoted(function.key.function());
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
        "patterns": PatternClass::STUDY.map(PatternClass::name),
        "functions": functions,
        "cells": cells,
    });
    // A script ends at `</`, wherever that stands, so no text of the data may hold it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replace("@TITLE@", &escaped(title)).replace("@DATA@", &data)
}

/// A figure of one window as SVG: invocations per minute over the minutes of the day, from 0 on.
pub fn window_svg(name: &str, window: Window, minutes: &[u64]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 320.0;
    const LEFT: f64 = 80.0;
    const BELOW: f64 = 50.0;
    const ABOVE: f64 = 40.0;
    let highest = minutes.iter().copied().max().unwrap_or_default().max(1);
    let steps = minutes.len().saturating_sub(1).max(1) as f64;
    let x = |place: usize| LEFT + (WIDTH - LEFT - 20.0) * place as f64 / steps;
    let y = |count: u64| HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * count as f64 / highest as f64;
    let points: Vec<String> = minutes
        .iter()
        .enumerate()
        .map(|(place, count)| format!("{:.1},{:.1}", x(place), y(*count)))
        .collect();
    let last = u32::from(window.first) + window.minutes - 1;
    // Hashes are long; their first letters tell them apart.
    let title: String = name.chars().take(16).collect();
    let (bottom, right) = (HEIGHT - BELOW, WIDTH - 20.0);
    let mut marks = String::new();
    for count in [0, highest / 2, highest] {
        let at = y(count);
        marks.push_str(&format!(
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#cccccc\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>",
            LEFT - 8.0,
            at + 4.0
        ));
    }
    for (place, minute, anchor) in
        [(0, u32::from(window.first), "start"), (minutes.len().max(1) - 1, last, "end")]
    {
        marks.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">minute {minute}</text>",
            x(place),
            bottom + 20.0
        ));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\"><title>{}</title><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\
         <text x=\"{LEFT}\" y=\"22\">{} · day {} · invocations per minute</text>{marks}\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#1f6fb2\" stroke-width=\"2\"/></svg>\n",
        escaped(name),
        escaped(&title),
        window.day,
        points.join(" ")
    )
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
    fn a_figure_begins_at_zero_and_reaches_the_busiest_minute() {
        let window = Window { day: 1, first: 600, minutes: 3 };
        let picture = window_svg("<f>", window, &[0, 50, 100]);
        assert!(picture.contains("points=\"80.0,270.0 350.0,155.0 620.0,40.0\""), "{picture}");
        assert!(picture.contains("&lt;f&gt;") && picture.contains("minute 602"), "{picture}");
        assert!(window_svg("f", window, &[7]).contains("80.0,40.0"));
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
