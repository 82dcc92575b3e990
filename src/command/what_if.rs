//! What changes would bring: `sb trace what-if`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Outcome;
use super::output::Failed;
use super::paths::shortened;
use crate::cli::ColdStartsWord;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::{Style, Terminal};
use sb_analysis::{
    Change, ChangeError, Figure, Figures, IntervalUnit, Prediction, Ranked, Setting, WhatIf,
    for_each_measured_together, printable,
};

/// How many changes a ranking has.
const RANKED: usize = 10;

/// What the options ask for.
pub(super) fn change(
    operations: &[String],
    activities: &[String],
    cold_starts: Option<ColdStartsWord>,
) -> Result<Change, Failed> {
    let mut change =
        Change { no_cold_starts: cold_starts == Some(ColdStartsWord::None), ..Change::default() };
    let operations = operations.iter().try_for_each(|text| change.add_operation(text));
    operations
        .and_then(|()| activities.iter().try_for_each(|text| change.add_activity(text)))
        .map_err(failed)?;
    Ok(change)
}

fn failed(error: ChangeError) -> Failed {
    let exit = if error == ChangeError::NoTraces { Exit::Failed } else { Exit::Usage };
    Failed::message(exit, error.to_string())
}

pub(super) fn what_if(
    terminal: &Terminal,
    settings: &Settings,
    files: &[Vec<PathBuf>],
    join_linked: bool,
    change: &Change,
) -> Outcome {
    let (mut groups, mut invalid) = (BTreeMap::<Setting, WhatIf>::new(), 0_u64);
    for_each_measured_together(
        files,
        join_linked,
        &mut |trace, _, measured| {
            groups.entry(measured.setting()).or_default().add(trace, measured.trial);
        },
        &mut |_| invalid += 1,
    )?;
    if groups.is_empty() {
        return Err(failed(ChangeError::NoTraces));
    }
    // What was measured in different settings is no repetition of the same, so each setting has figures of its own.
    let names = Setting::names(groups.keys());
    let mut refused = Vec::new();
    let (mut values, mut text) = (Vec::new(), String::new());
    for (name, (setting, traces)) in names.iter().zip(&groups) {
        let prediction = match traces.predict(change) {
            Ok(prediction) => prediction,
            Err(error) => {
                refused.push((name, error));
                continue;
            }
        };
        let ranked = if change.is_empty() { Some(traces.rank(RANKED)) } else { None };
        if settings.json() {
            let mut value = json!({
                "application": setting.application, "values": setting.values,
                "traces": traces.added(), "sampled": traces.sampled(),
                "interval_unit": prediction.interval_unit, "recorded": prediction.before,
            });
            match &ranked {
                Some(ranked) => value["ranking"] = ranked.iter().map(as_json).collect(),
                None => {
                    value["changed"] = prediction.changed.into();
                    value["predicted"] = json!(prediction.after);
                }
            }
            values.push(value);
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        if names.len() > 1 {
            let _ = writeln!(text, "{}\n", terminal.paint(Style::Strong, &printable(name)));
        }
        match &ranked {
            Some(ranked) => text.push_str(&ranking(terminal, &prediction, ranked)),
            None => predicted(&mut text, &prediction),
        }
        notes(&mut text, traces, &prediction);
    }
    if refused.len() == names.len()
        && let Some((_, error)) = refused.pop()
    {
        return Err(failed(error));
    }
    if settings.json() {
        let refused: Vec<Value> = refused
            .iter()
            .map(|(name, error)| json!({ "group": name, "reason": error.to_string() }))
            .collect();
        let value = json!({ "version": 1, "invalid": invalid, "groups": values, "left_out": refused });
        terminal.data(&format!("{value:#}"))?;
        return Ok(Exit::Done);
    }
    for (name, _) in refused {
        let _ = writeln!(text, "\n{}: nothing of it would change", printable(name));
    }
    if invalid > 0 {
        let _ = writeln!(text, "left out: {}; `sb trace list` says why", counted(invalid, "invalid trace"));
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

fn predicted(text: &mut String, prediction: &Prediction) {
    let _ = writeln!(text, "{:<6}{:>36}{:>36}{:>10}", "", "recorded (ms)", "predicted (ms)", "change");
    for (name, before, after) in rows(&prediction.before, &prediction.after) {
        let _ = writeln!(
            text,
            "{name:<6}{:>36}{:>36}{:>10}",
            with_interval(before),
            with_interval(after),
            share(before, after)
        );
    }
    let _ = writeln!(
        text,
        "\n{} of {} would take another time",
        prediction.changed,
        counted(prediction.traces, "trace")
    );
}

fn rows(before: &Figures, after: &Figures) -> [(&'static str, Figure, Figure); 3] {
    [("mean", before.mean, after.mean), ("p50", before.p50, after.p50), ("p99", before.p99, after.p99)]
}

fn with_interval(figure: Figure) -> String {
    match figure.interval_ms {
        Some([low, high]) => format!("{:.3} ({low:.3} to {high:.3})", figure.ms),
        None => format!("{:.3}", figure.ms),
    }
}

/// By how much the second differs from the first.
fn share(before: Figure, after: Figure) -> String {
    if before.ms > 0.0 { format!("{:+.1} %", (after.ms / before.ms - 1.0) * 100.0) } else { "-".to_owned() }
}

fn ranking(terminal: &Terminal, now: &Prediction, ranked: &[Ranked]) -> String {
    let Figures { p50, p99, .. } = now.before;
    let title = terminal.paint(Style::Strong, "what would help most");
    let mut text = format!("{title}, of {}\n\n", counted(now.traces, "trace"));
    let _ = writeln!(text, "  recorded: p50 {} ms, p99 {} ms\n", with_interval(p50), with_interval(p99));
    if ranked.is_empty() {
        text.push_str("  no single change would make them faster\n");
        return text;
    }
    let _ = writeln!(text, "      {:<44}{:^30}{:^30}", "", "in half of its time", "in no time, at most");
    let _ = writeln!(text, "      {:<44}{:>15}{:>15}{:>15}{:>15}", "", "p50", "p99", "p50", "p99");
    for (place, ranked) in ranked.iter().enumerate() {
        let (half, gone) = (ranked.prediction.after, ranked.at_most);
        let _ = writeln!(
            text,
            "  {:>2}  {:<44}{:>15}{:>15}{:>15}{:>15}",
            place + 1,
            shortened(&printable(&ranked.what.describe()), 43),
            share(p50, half.p50),
            share(p99, half.p99),
            share(p50, gone.p50),
            share(p99, gone.p99),
        );
    }
    if let Some(first) = ranked.first() {
        let _ =
            writeln!(text, "\n  the first in detail: sb trace what-if {}", printable(&first.what.option()));
    }
    text
}

fn as_json(ranked: &Ranked) -> Value {
    json!({
        "kind": ranked.what.kind(), "what": ranked.what.describe(), "option": ranked.what.option(),
        "changed": ranked.prediction.changed, "predicted": ranked.prediction.after, "at_most": ranked.at_most,
    })
}

fn notes(text: &mut String, traces: &WhatIf, prediction: &Prediction) {
    if traces.added() > traces.sampled() as u64 {
        let _ =
            writeln!(text, "a sample of the {} traces, chosen by their ids, stands for all", traces.added());
    }
    let Figures { p50, p99, .. } = prediction.before;
    text.push_str(match prediction.interval_unit {
        IntervalUnit::Trial if p50.interval_ms.is_none() => {
            "no intervals: they need three trials with enough traces\n"
        }
        IntervalUnit::Trial => "intervals: 95 %, of whole trials\n",
        IntervalUnit::Trace => "intervals: 95 %, of the traces of one trial: how trials differ is unknown\n",
    });
    if p50.interval_ms.is_some() && p99.interval_ms.is_none() {
        text.push_str("p99 has no interval: there are fewer than 1,000 traces, or too few trials\n");
    }
}
