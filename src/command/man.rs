//! `sb man`: manual pages, made of what the help says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use clap::{Arg, Command};

use super::Outcome;
use super::output::Failed;
use crate::cli;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) fn man(terminal: &Terminal, words: &[String], into: Option<&Path>) -> Outcome {
    let mut top = cli::command();
    top.build();
    if let Some(folder) = into {
        return write_all(terminal, &top, folder);
    }
    let mut command = &top;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let message = format!("`{}` has no command `{word}`", name(command).replace('-', " "));
            Failed::helped(Exit::Usage, message, "`sb help` lists the commands")
        })?;
    }
    let page = page(command);
    // Somebody reads it: man shows it, where there is one.
    if !terminal.is_interactive() || !read_with_man(&page) {
        terminal.data(&page)?;
    }
    Ok(Exit::Done)
}

fn read_with_man(page: &str) -> bool {
    let Ok(mut man) = Process::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn() else {
        return false;
    };
    let written = man.stdin.take().map(|mut pipe| pipe.write_all(page.as_bytes()));
    let ended = man.wait();
    // Who leaves the pager early reads no more.
    written.is_some() && ended.is_ok_and(|status| status.success())
}

fn write_all(terminal: &Terminal, top: &Command, folder: &Path) -> Outcome {
    let failed = |error: std::io::Error| {
        let message = format!("cannot write manual pages to `{}`: {error}", folder.display());
        Failed::helped(Exit::Failed, message, "name a folder that you may write to")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut count = 0;
    let mut left = vec![top];
    while let Some(command) = left.pop() {
        std::fs::write(folder.join(format!("{}.1", name(command))), page(command)).map_err(failed)?;
        count += 1;
        left.extend(shown(command));
    }
    terminal.say(&format!("wrote {count} manual pages to {}", folder.display()));
    Ok(Exit::Done)
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

/// `sb-plan-graph`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// The page of a command, in the language of man.
fn page(command: &Command) -> String {
    let name = name(command);
    let about = text(command.get_about());
    let mut out = format!(
        ".TH {} 1 \"\" \"sb {}\" \"sb\"\n.SH NAME\n{} \\- {}\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        escaped(&name),
        escaped(&about)
    );
    let usage = command.clone().render_usage().to_string();
    let _ = write!(out, ".SH SYNOPSIS\n{}\n", escaped(usage.trim_start_matches("Usage:").trim()));
    let long = command.get_long_about().map_or(about, ToString::to_string);
    let _ = write!(out, ".SH DESCRIPTION\n{}\n", escaped(&long));
    let of = |is_positional: bool| {
        let all = command.get_arguments().filter(|argument| !argument.is_hide_set());
        all.filter(move |argument| argument.is_positional() == is_positional).collect::<Vec<_>>()
    };
    for (title, arguments) in [("ARGUMENTS", of(true)), ("OPTIONS", of(false))] {
        if !arguments.is_empty() {
            let _ = writeln!(out, ".SH {title}");
        }
        for argument in arguments {
            explain(&mut out, argument);
        }
    }
    let commands: Vec<_> = shown(command).collect();
    if !commands.is_empty() {
        out.push_str(".SH COMMANDS\n");
    }
    for inner in commands {
        let _ = write!(
            out,
            ".TP\n\\fB{}\\fR(1)\n{}\n",
            escaped(&self::name(inner)),
            escaped(&text(inner.get_about()))
        );
    }
    let more = text(command.get_after_help());
    if !more.is_empty() {
        let _ = write!(out, ".SH NOTES\n.nf\n{}\n.fi\n", escaped(&more));
    }
    out
}

fn explain(out: &mut String, argument: &Arg) {
    let names: Vec<_> = argument
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(argument.get_long().map(|long| format!("--{long}")))
        .collect();
    let values = argument.get_value_names().unwrap_or_default();
    let value = if argument.is_positional() || argument.get_action().takes_values() {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    } else {
        String::new()
    };
    let _ = write!(out, ".TP\n\\fB{}\\fR", escaped(&names.join(", ")));
    let space = if names.is_empty() || value.is_empty() { "" } else { " " };
    let _ = writeln!(out, "{space}\\fI{}\\fR", escaped(&value));
    let mut help = text(argument.get_help());
    let shown: Vec<_> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !shown.is_empty() && argument.get_action().takes_values() {
        let _ = write!(help, " [values: {}]", shown.join(", "));
    }
    let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !default.is_empty() && !argument.is_hide_default_value_set() && argument.get_action().takes_values() {
        let _ = write!(help, " [default: {}]", default.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(help, " [variable: {}]", variable.to_string_lossy());
    }
    let _ = writeln!(out, "{}", escaped(&help));
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// Text in which man finds no commands.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text
        .lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}
