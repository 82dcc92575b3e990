//! `sb explain`: the rules of `sb validate`.

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_plan::manifest::problem::{Severity, did_you_mean};
use sb_plan::rules::{Rule, rule, rules};

pub(super) fn explain(terminal: &Terminal, settings: &Settings, code: Option<&str>) -> Outcome {
    let Some(code) = code else {
        terminal.data(&list(settings))?;
        return Ok(Exit::Done);
    };
    let Some(rule) = rule(code) else {
        let help = match did_you_mean(code, rules().map(|rule| rule.code)) {
            Some(near) => format!("did you mean `sb explain {near}`?"),
            None => "`sb explain` lists all rules".to_owned(),
        };
        return Err(Failed::helped(Exit::Usage, format!("there is no rule `{code}`"), help));
    };
    if settings.json() {
        terminal.data(&format!("{:#}", to_json(rule)))?;
    } else {
        terminal.data(&format!("{} ({})\n\n{}", rule.code, rule.severity_words(), rule.explanation()))?;
    }
    Ok(Exit::Done)
}

fn list(settings: &Settings) -> String {
    if settings.json() {
        return format!("{:#}", json!({ "version": 1, "rules": rules().map(to_json).collect::<Vec<_>>() }));
    }
    let lines =
        rules().map(|rule| format!("{:<24}{:<18}{}", rule.code, rule.severity_words(), rule.summary()));
    lines.collect::<Vec<_>>().join("\n")
}

fn to_json(rule: &Rule) -> serde_json::Value {
    let Rule { code, why, wrong, right, .. } = rule;
    let severities: Vec<&str> = rule.severities().map(Severity::word).collect();
    json!({
        "code": code,
        "severity": rule.severity.word(),
        "severities": severities,
        "why": why,
        "wrong": wrong,
        "right": right,
    })
}
