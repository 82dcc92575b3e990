//! Are all placeholders defined where they stand, and may their values go there?

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use serde_json::Value;

use crate::benchmark::Phase;
use crate::manifest::problem::{MOST_NAMES, Problem, Report, Span, suggest};
use crate::manifest::tree::Spanned;
use crate::validate::precedence::Order;
use crate::validate::shell::{self, Trap};
use sb_workload::template::{Piece, Template};

/// What a rendered string becomes, and so what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    ShellString,
    /// As [`Role::ShellString`], of a shell that evaluates the numbers of `[ … -eq … ]`.
    KornString,
    ArgvWord,
    FileName,
    /// Environment variables and settings.
    Plain,
    /// URLs, headers, bodies: they have rules of their own for what bytes they may hold.
    Request,
}

/// Who uses a template, on which targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct User<'a> {
    pub phase: Phase,
    /// None: the workload.
    pub step: Option<&'a str>,
    /// Part of a request, where `request.*` has a value: what requests before it in its sequence have extracted.
    pub request: Option<&'a [String]>,
    pub targets: &'a [String],
}

/// An output and the step that makes it.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub phase: Phase,
    pub step: String,
    pub secret: bool,
    pub has_default: bool,
    /// The step may fail and others go on.
    pub may_fail: bool,
}

/// What is defined on one target.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetScope {
    pub outputs: BTreeMap<String, Maker>,
    pub order: Order,
    /// Two steps of one phase have the same name, so that their order is not known by it.
    pub is_ambiguous: bool,
    /// Names of the invoke steps that drive the workload.
    pub loads: Vec<String>,
}

/// What is defined in a benchmark.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Name and secrecy.
    pub params: BTreeMap<String, bool>,
    pub targets: BTreeMap<String, TargetScope>,
    /// Values that are known before anything has run, by path.
    pub constants: BTreeMap<String, Value>,
    /// By target, those of the parameters that were met in a template.
    pub read_params: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

const ALWAYS: [&str; 5] = ["benchmark.name", "benchmark.description", "benchmark.root", "target", "run.id"];
const IN_TRIALS: [&str; 3] = ["trial.number", "trial.id", "logs_dir"];
const IN_REQUESTS: [&str; 4] = ["request.uuid", "request.number", "request.name", "request.random"];

/// Where the placeholders of a text stand, by path, in the order of the text.
type Places = HashMap<String, Vec<Span>>;

/// Where placeholders stand in the source: as narrowly as can be told. One look at the text finds all: it may have thousands.
fn places(text: &str, start: usize) -> Places {
    let mut found = Places::new();
    for (at, _) in text.match_indices("{{") {
        // `{{{` holds two openings, of which the first counts.
        if at > 0 && text.as_bytes()[at - 1] == b'{' {
            continue;
        }
        let inside = text[at..].trim_start_matches('{');
        let open = text[at..].len() - inside.len();
        let trimmed = inside.trim_start();
        let ends = |c: char| !(c.is_alphanumeric() || "._-".contains(c));
        let Some(end) = trimmed.find(ends) else { continue };
        let rest = trimmed[end..].trim_start();
        let braces = rest.len() - rest.trim_start_matches('}').len();
        // Without its end it is none.
        if braces > 0 {
            let end_of_all = text.len() - rest.len() + braces.min(open);
            found.entry(trimmed[..end].to_owned()).or_default().push(start + at..start + end_of_all);
        }
    }
    found
}

/// A placeholder. Where it stands is looked for when something is wrong with it.
struct Placeholder<'a> {
    path: &'a str,
    raw: bool,
    /// Of how many of the same path before it in the template.
    occurrence: usize,
    template: &'a Span,
    /// Of all placeholders of the template.
    places: Rc<OnceCell<Places>>,
}

impl Placeholder<'_> {
    fn span(&self, report: &Report) -> Span {
        let text = || report.source.text().get(self.template.clone()).unwrap_or_default();
        let places = self.places.get_or_init(|| places(text(), self.template.start));
        let place = places.get(self.path).and_then(|places| places.get(self.occurrence));
        place.unwrap_or(self.template).clone()
    }
}

fn placeholders(template: &Spanned<Template>) -> Vec<Placeholder<'_>> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let places = Rc::new(OnceCell::new());
    let values = template.value.pieces().iter().filter_map(|piece| match piece {
        Piece::Value { path, raw } => Some((path.as_str(), *raw)),
        Piece::Literal(_) => None,
    });
    values
        .map(|(path, raw)| {
            let count = seen.entry(path).or_insert(0);
            *count += 1;
            let places = Rc::clone(&places);
            Placeholder { path, raw, occurrence: *count - 1, template: &template.span, places }
        })
        .collect()
}

impl Scope {
    /// Checks one template of a benchmark.
    pub(super) fn check(
        &self,
        template: &Spanned<Template>,
        role: Role,
        user: User<'_>,
        report: &mut Report,
    ) {
        let found = placeholders(template);
        for placeholder in &found {
            let Placeholder { path, raw, .. } = placeholder;
            if *raw && role != Role::ArgvWord && role != Role::FileName {
                report.push(
                    Problem::warning("raw-value", format!("the value of `{{{{{{{path}}}}}}}` is not quoted"))
                        .at(&placeholder.span(report), "raw")
                        .help(format!(
                            "write `{{{{{path}}}}}` unless the value is meant to be read as code here"
                        )),
                );
            }
            self.check_path(placeholder, role, user, report);
        }
        let has_nul = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains('\0'));
        if role != Role::Request && template.value.pieces().iter().any(has_nul) {
            report.push(
                Problem::error("nul-byte", "a NUL byte cannot be handed to a command")
                    .at(&template.span, "holds a NUL byte")
                    .help("remove it; a command that needs one can make it: `printf '\\0'`"),
            );
        }
        if [Role::ShellString, Role::KornString].contains(&role) {
            for (index, trap) in shell::traps(&template.value) {
                if trap == Trap::Number && role != Role::KornString {
                    continue;
                }
                let Placeholder { path, .. } = &found[index];
                let variable = variable_for(path);
                let mended = unquoted(&template.value, trap, &variable);
                let help = format!(
                    "pass it by environment: `env = {{ {variable} = \"{{{{{path}}}}}\" }}`, and write {mended}"
                );
                trapped(&found[index], trap, help, report);
            }
        }
    }

    /// Checks the words of a command that no shell reads.
    pub(super) fn check_words(&self, words: &[Spanned<Template>], user: User<'_>, report: &mut Report) {
        for word in words {
            self.check(word, Role::ArgvWord, user, report);
        }
        for (word, index, trap) in shell::traps_in_words(words.iter().map(|word| &word.value)) {
            let placeholder = &placeholders(&words[word])[index];
            trapped(placeholder, trap, in_words(trap, placeholder.path), report);
        }
    }

    fn check_path(&self, placeholder: &Placeholder<'_>, role: Role, user: User<'_>, report: &mut Report) {
        let path = placeholder.path;
        if ALWAYS.contains(&path)
            || (IN_TRIALS.contains(&path) && user.phase == Phase::Invoke)
            || (IN_REQUESTS.contains(&path) && user.request.is_some())
            || path
                .strip_prefix("extracted.")
                .is_some_and(|name| user.request.is_some_and(|known| known.iter().any(|it| it == name)))
        {
            return;
        }
        if IN_TRIALS.contains(&path) || IN_REQUESTS.contains(&path) {
            let place =
                if path.starts_with("request.") { "requests" } else { "invoke steps and the workload" };
            report.push(
                Problem::error("value-not-here", format!("`{{{{{path}}}}}` has a value only in {place}"))
                    .at(&placeholder.span(report), "has no value here")
                    .help(suggest("", "defined here", self.known(user).iter().map(String::as_str))),
            );
            return;
        }
        if let Some((name, secret)) =
            path.strip_prefix("params.").and_then(|name| self.params.get_key_value(name))
        {
            let mut read = self.read_params.borrow_mut();
            for target in user.targets {
                read.entry(target.clone()).or_default().insert(name.clone());
            }
            if *secret {
                secret_use(path, &placeholder.span(report), role, report);
            }
            return;
        }
        if let Some(output) = path.strip_prefix("outputs.")
            && self.targets.values().any(|scope| scope.outputs.contains_key(output))
        {
            self.check_output(output, placeholder, role, user, report);
            return;
        }
        report.push(undefined(path, &placeholder.span(report), &self.known(user)));
    }

    /// What a user may name, as far as it is of help.
    fn known(&self, user: User<'_>) -> Vec<String> {
        let params = self.params.keys().take(MOST_NAMES);
        let mut known: Vec<String> = params.map(|name| format!("params.{name}")).collect();
        let outputs = self.targets.values().flat_map(|scope| scope.outputs.keys());
        let outputs: BTreeSet<&String> = outputs.take(MOST_NAMES).collect();
        known.extend(outputs.iter().map(|name| format!("outputs.{name}")));
        known.extend(ALWAYS.map(str::to_owned));
        if user.phase == Phase::Invoke {
            known.extend(IN_TRIALS.map(str::to_owned));
        }
        if let Some(extracted) = user.request {
            known.extend(extracted.iter().map(|name| format!("extracted.{name}")));
            known.extend(IN_REQUESTS.map(str::to_owned));
        }
        known
    }

    /// An output must have been made, on every target where the user runs, before the user starts.
    fn check_output(
        &self,
        output: &str,
        placeholder: &Placeholder<'_>,
        role: Role,
        user: User<'_>,
        report: &mut Report,
    ) {
        let code = "output-order";
        let path = format!("outputs.{output}");
        let mut secret = false;
        for target in user.targets {
            let Some(scope) = self.targets.get(target) else { continue };
            let Some(maker) = scope.outputs.get(output) else {
                let elsewhere: Vec<&str> = self
                    .targets
                    .iter()
                    .filter(|(_, scope)| scope.outputs.contains_key(output))
                    .map(|(name, _)| name.as_str())
                    .collect();
                report.push(
                    Problem::error(
                        code,
                        format!("no step makes the output `{output}` on the target `{target}`"),
                    )
                    .at(&placeholder.span(report), format!("has no value on `{target}`"))
                    .help(format!(
                        "it is made on `{}`: add a step for `{target}` that makes it, or limit this one with `target = \"{}\"`",
                        elsewhere.join("`, `"),
                        elsewhere.first().unwrap_or(&""),
                    )),
                );
                continue;
            };
            secret |= maker.secret;
            let step = &maker.step;
            let problem = if user.phase == Phase::Cleanup && maker.phase == Phase::Invoke {
                Some((
                    format!("the output `{output}` belongs to a trial, and cleanup is of the deployment"),
                    "make it in a deploy step".to_owned(),
                ))
            } else if user.phase == Phase::Cleanup && !maker.has_default {
                Some((
                    format!("cleanup uses the output `{output}`, which has no default"),
                    format!(
                        "the deployment may have stopped before `{step}` made it: add `default = …` to the output"
                    ),
                ))
            } else if user.phase == Phase::Cleanup {
                None
            } else if maker.phase == user.phase && user.step == Some(step.as_str()) && !scope.is_ambiguous {
                Some((
                    format!("the step `{step}` uses `{output}`, which is its own output"),
                    "a step cannot use its own output: it is known when the step has ended".to_owned(),
                ))
            } else if maker.phase == user.phase && !self.comes_before(scope, step, user) {
                Some((
                    format!(
                        "the output `{output}` is made by `{step}`, which need not have run before {}{}",
                        user.step.map_or("the load".to_owned(), |name| format!("`{name}`")),
                        if self.targets.len() > 1 { format!(" on `{target}`") } else { String::new() },
                    ),
                    format!("add \"{step}\" to `needs` of the step that uses it"),
                ))
            } else if maker.phase > user.phase {
                Some((
                    format!("the output `{output}` is made by `{step}`, in a later phase"),
                    "make it in a deploy step".to_owned(),
                ))
            } else if maker.may_fail && !maker.has_default {
                Some((
                    format!("the output `{output}` is missing when `{step}` fails, which it is allowed to"),
                    "add `default = …` to the output, or remove `allow_failure`".to_owned(),
                ))
            } else {
                None
            };
            if let Some((message, help)) = problem {
                let span = placeholder.span(report);
                report.push(Problem::error(code, message).at(&span, "may have no value here").help(help));
            }
        }
        if secret {
            secret_use(&path, &placeholder.span(report), role, report);
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the scope")]
    fn comes_before(&self, scope: &TargetScope, maker: &str, user: User<'_>) -> bool {
        let before =
            |step: &str| scope.order.get(&user.phase).is_some_and(|order| order.comes_before(maker, step));
        match user.step {
            _ if scope.is_ambiguous => true,
            Some(step) => before(step),
            None => scope.loads.iter().all(|load| before(load)),
        }
    }
}

/// Reports a placeholder that stands where its value cannot be quoted.
fn trapped(placeholder: &Placeholder<'_>, trap: Trap, help: String, report: &mut Report) {
    let path = placeholder.path;
    report.push(
        Problem::error(
            "unquotable-value",
            format!("`{{{{{path}}}}}` stands {}, where its value cannot be quoted", trap.place()),
        )
        .at(&placeholder.span(report), "quoting would break here")
        .help(help),
    );
}

/// What to write instead in a command that is given as words.
fn in_words(trap: Trap, path: &str) -> String {
    let value = format!("\"{{{{{path}}}}}\"");
    match trap {
        Trap::Remote => format!(
            "write the command as one text, and give the value to the other shell's standard input: \
             `run = \"printf '%s\\\\n' {{{{{path}}}}} | ssh HOST 'read -r value; echo \\\"$value\\\"'\"`"
        ),
        Trap::Program => format!(
            "give it as a word behind the code, which then reads its arguments: \
             `[\"python3\", \"-c\", \"import sys; print(sys.argv[1])\", {value}]`"
        ),
        _ => format!(
            "give it as a word behind the code, which reads it as `$1`: `[\"sh\", \"-c\", \"echo \\\"$1\\\"\", \"sh\", {value}]`"
        ),
    }
}

/// What to write where a value cannot be quoted, so that a shell reads the variable instead.
fn unquoted(template: &Template, trap: Trap, variable: &str) -> String {
    let reference = format!("\"${variable}\"");
    match trap {
        Trap::DoubleQuotes | Trap::HereDocument => format!("`${{{variable}}}` here"),
        Trap::SingleQuotes => {
            // Where quotes hold nothing else, they go with the placeholder.
            let mut texts = [String::new(), String::new()];
            // A look at the first two values is enough: a line may have thousands.
            let is_alone = template.paths().nth(1).is_none();
            for piece in template.pieces().iter().filter(|_| is_alone) {
                match piece {
                    Piece::Literal(text) => texts[0].push_str(text),
                    Piece::Value { .. } => texts.swap(0, 1),
                }
            }
            let [after, before] = &texts;
            let simple = |text: &str| !text.contains(['\'', '"', '\\', '\n', '`']);
            if let (true, Some(before), Some(after)) =
                (is_alone, before.strip_suffix('\''), after.strip_prefix('\''))
                && simple(before)
                && simple(after)
            {
                return format!("`{before}{reference}{after}`: no single quotes around it");
            }
            format!(
                "`'{reference}'` in its place: the quotes around it end the text before it, and begin the text after it"
            )
        }
        Trap::Comment => format!("`${variable}` here, or leave it out of the comment"),
        // A shell reads what the variable holds once more.
        Trap::Arithmetic | Trap::Number => format!(
            "`${variable}` in its place, after a check that it is a number: `case \"${variable}\" in ''|*[!0-9]*) exit 1;; esac`"
        ),
        Trap::Name => format!(
            "`\"${variable}\"` in its place, after a check that it is a name: `case \"${variable}\" in ''|[0-9]*|*[!A-Za-z0-9_]*) exit 1;; esac`"
        ),
        Trap::Code => format!(
            "`{reference}` within single quotes of the code, so that only the inner shell reads it, as in `sh -c 'echo {reference}'`; \
             where the value is code on purpose, `sh -c {reference}`"
        ),
        Trap::Remote => format!(
            "the value to the other shell's standard input: `printf '%s\\n' {reference} | ssh HOST 'read -r value; echo \"$value\"'`"
        ),
        Trap::Program => format!(
            "{reference} as an argument behind the code, which then reads its arguments, as in \
             `python3 -c 'import sys; print(sys.argv[1])' {reference}` or `awk -v value={reference} '{{ print value }}'`; \
             or let the code read the variable `{variable}` of its environment"
        ),
        Trap::Backticks | Trap::Expansion | Trap::Escaped | Trap::Unclear => {
            format!("`{reference}` in its place")
        }
    }
}

fn variable_for(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn secret_use(path: &str, span: &Span, role: Role, report: &mut Report) {
    let place = match role {
        Role::ShellString | Role::KornString | Role::ArgvWord => {
            "an argument list, which every process can read"
        }
        Role::FileName => "a file name",
        Role::Plain | Role::Request => return,
    };
    report.push(
        Problem::error("secret-exposed", format!("the secret `{{{{{path}}}}}` would land in {place}"))
            .at(span, "secret")
            .help(format!(
                "pass it by environment: `env = {{ {variable} = \"{{{{{path}}}}}\" }}`, and let the command read `{variable}`",
                variable = variable_for(path),
            )),
    );
}

fn undefined(path: &str, span: &Span, known: &[String]) -> Problem {
    let problem = Problem::error("undefined-value", format!("`{{{{{path}}}}}` is not defined here"))
        .at(span, "not defined");
    let names = known.iter().map(String::as_str);
    // A name without its table is a common slip.
    match known.iter().find(|name| name.split_once('.').is_some_and(|(_, last)| last == path)) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None if known.is_empty() => problem.help("nothing is defined here: write the value out"),
        None => problem.help(suggest(path, "defined here", names)),
    }
}

/// Checks a template of a plan, where values are plain and only `known` names exist.
///
/// True: all of them are defined.
pub(super) fn check_plain(
    template: &Spanned<Template>,
    known: &BTreeSet<String>,
    report: &mut Report,
) -> bool {
    let before = report.problems.len();
    for placeholder in placeholders(template) {
        if !known.contains(placeholder.path) {
            let names: Vec<String> = known.iter().take(MOST_NAMES).cloned().collect();
            report.push(undefined(placeholder.path, &placeholder.span(report), &names));
        }
    }
    report.problems.len() == before
}
