//! What a benchmark is made of besides its manifest: the content of the files that its loads send, its steps run, and its
//! templates deploy. Where nobody keeps contents ([`Files::contents`]), only scripts for k6 are read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::benchmark::{Command, Sent};
use crate::manifest::problem::Span;
use crate::manifest::read::{Files, lies_in, normal};
use sb_workload::template::Template;
use sb_workload::{Body, Workload};

/// What files hold, by absolute path, as [`Files::contents`] says it.
pub(super) type Contents = BTreeMap<PathBuf, String>;

/// Of these files and folders, those that there are.
pub(super) fn of(files: &dyn Files, paths: impl IntoIterator<Item = PathBuf>) -> Contents {
    paths.into_iter().filter_map(|path| Some((path.clone(), files.contents(&path)?))).collect()
}

/// What a k6 script is made of.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The script, and files that are there; absolute.
    pub(super) files: Vec<PathBuf>,
    /// What it uses that nobody can know before it runs, in words, each once.
    pub(super) unknown: BTreeSet<String>,
    /// What it imports or opens beside itself that is not there.
    pub(super) missing: Vec<Missing>,
}

/// A file that a script names and that is not there.
#[derive(Debug)]
pub(super) struct Missing {
    /// Who names it.
    pub(super) script: PathBuf,
    /// The path, as it is written.
    pub(super) written: String,
    /// Where it is written, in bytes of the script's text.
    pub(super) span: Span,
}

/// So many modules and files of a script are followed.
const MOST_MODULES: usize = 1000;

/// Bodies of requests and trusted certificates; a k6 script, with what it imports and opens.
pub(super) fn named_by_sent(sent: &Sent, root: &Path, files: &dyn Files) -> Vec<PathBuf> {
    match sent {
        Sent::Requests(workload) => sent_files(workload),
        Sent::Script(script) => named_by_script(&script.path, root, files).files,
    }
}

/// What a script imports and opens, and so on: all that lies below the root.
pub(super) fn named_by_script(script: &Path, root: &Path, files: &dyn Files) -> Made {
    let mut made = Made { files: vec![script.to_owned()], ..Made::default() };
    let mut known = HashSet::from([script.to_owned()]);
    let mut next = 0;
    while let Some(path) = made.files.get(next).cloned() {
        next += 1;
        let named = named_in_script(&path, script, root, files);
        made.unknown.extend(named.unknown);
        made.missing.extend(named.missing);
        for named in named.files {
            if made.files.len() == MOST_MODULES {
                made.unknown.insert(format!("more than {MOST_MODULES} modules and files"));
                return made;
            }
            if known.insert(named.clone()) {
                made.files.push(named);
            }
        }
    }
    made
}

fn sent_files(workload: &Workload) -> Vec<PathBuf> {
    let requests =
        workload.requests.iter().chain(workload.sequences.iter().flat_map(|sequence| &sequence.requests));
    let bodies = requests.filter_map(|request| match &request.body {
        Body::File(path) => Some(path.clone()),
        Body::Empty | Body::Text { .. } => None,
    });
    bodies.chain(workload.settings.ca_file.clone()).collect()
}

/// Files that a script names relative to itself: `import './lib.js'`, `open('data.json')`, and whatever else begins with `./`.
/// `first` is the script that k6 is given: `open` may go by its folder, too.
fn named_in_script(script: &Path, first: &Path, root: &Path, files: &dyn Files) -> Made {
    static RELATIVE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"["'`](\.{1,2}/[^"'`\n]+)["'`]"#).ok());
    // A word, whether a parenthesis follows, and the text behind it, or else the letter with which something else begins.
    static USED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let word = r"(?:^|[^.\w$])(from|import|require|open)\b\s*(\()?\s*";
        Regex::new(&format!(r#"{word}(?:"([^"\n]*)"|'([^'\n]*)'|`([^`$]*)`|([^\s)]))"#)).ok()
    });
    let mut made = Made::default();
    let is_script =
        script.extension().is_some_and(|end| ["js", "mjs", "ts"].iter().any(|known| end == *known));
    let (Some(relative), Some(used), true) = (&*RELATIVE, &*USED, is_script) else { return made };
    let Ok(bytes) = files.read(script) else { return made };
    let text = without_comments(&String::from_utf8_lossy(&bytes));
    let code = without_texts(&text);
    // A function of its own with this name opens something else.
    static MAY_MISS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"\btry\b|\b(?:function|const|let|var)\s+open\b|\b(?:import|const|let|var)\s*\{[^}]*\bopen\b",
        )
        .ok()
    });
    let may_miss = MAY_MISS.as_ref().is_none_or(|pattern| pattern.is_match(&code));
    let name = script.strip_prefix(root).unwrap_or(script).display();
    let mut paths: Vec<&str> =
        relative.captures_iter(&text).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    for found in used.captures_iter(&text) {
        let word = found.get(1).map_or("", |word| word.as_str());
        let literal = [3, 4, 5].iter().find_map(|&group| found.get(group));
        let is_module = word != "open";
        let begins = found.get(1).map_or(0, |word| word.start());
        // In a text, such words name nothing. What is tried may fail, and a path may have another part.
        let is_call = found.get(2).is_some();
        let is_whole =
            text[found.get(0).map_or(begins, |all| all.end())..].trim_start().starts_with([')', ',']);
        let is_certain = code.get(begins..begins + word.len()) == Some(word)
            && match word {
                "open" | "require" => is_call && is_whole && !may_miss,
                _ => !is_call,
            };
        if let Some(literal) = literal.filter(|_| is_certain && !is_bundle(&text))
            && is_beside(literal.as_str(), is_module)
            && [script, first].iter().take(if is_module { 1 } else { 2 }).all(|named_by| {
                let path = normal(&named_by.parent().unwrap_or(named_by).join(literal.as_str()));
                !is_there(&path, files) && path.file_name().is_some_and(|name| name != "sb.js")
            })
        {
            made.missing.push(Missing {
                script: script.to_owned(),
                written: literal.as_str().to_owned(),
                span: literal.range(),
            });
        }
        let literal = literal.map(|literal| literal.as_str());
        match literal {
            // Modules of k6 itself.
            Some(text) if is_module && (text == "k6" || text.starts_with("k6/")) => {}
            Some(text) if text.contains("://") && !text.starts_with("file://") => {
                made.unknown.insert(format!("`{text}`"));
            }
            Some(text) if is_module && !text.starts_with(['.', '/']) && !text.starts_with("file://") => {
                // A module of the net may be named without its scheme; other words are those of a text.
                let may_be_module = text.contains('/') && !text.contains(char::is_whitespace);
                made.unknown.extend(may_be_module.then(|| format!("`{text}`")));
            }
            Some(text) => paths.push(text.strip_prefix("file://").unwrap_or(text)),
            None if found.get(2).is_some() && word != "from" => {
                made.unknown.insert(format!("what `{word}(…)` computes in `{name}`"));
            }
            None => {}
        }
    }
    let folder = script.parent().unwrap_or(script);
    for path in paths {
        let path = normal(&folder.join(path));
        if !files.exists(&path) || files.is_folder(&path) || is_of_sb(&path, files) {
            continue;
        }
        if path.starts_with(root) && lies_in(files, &path, root) {
            made.files.push(path);
        } else {
            made.unknown.insert(format!("`{}`, which lies outside of the root", path.display()));
        }
    }
    made
}

/// Whether this names a file beside the script: what begins at the root of the file system may lie in a container.
fn is_beside(text: &str, is_module: bool) -> bool {
    let is_relative = text.starts_with("./") || text.starts_with("../");
    is_relative || (!is_module && !text.is_empty() && !text.starts_with('/') && !text.contains("://"))
}

/// Whether a program has written this: in its long lines, texts and comments cannot be told roughly.
fn is_bundle(text: &str) -> bool {
    text.lines().any(|line| line.len() > 1000)
}

/// Kept contents are those of files that were there.
fn is_there(path: &Path, files: &dyn Files) -> bool {
    files.exists(path) || files.contents(path).is_some()
}

/// What is wrong with the script that k6 is given, whatever it sends. k6 would say so after the deployment.
pub(super) enum Unusable {
    /// There is no code in it.
    Empty,
    /// It exports nothing that an iteration could be.
    NoFunction,
    /// It exports functions, and none by default: only scenarios that name one of them with `exec` can run it.
    NoDefault(String),
}

/// Whether k6 has a function to run in this script.
pub(super) fn unusable(script: &Path, files: &dyn Files) -> Option<Unusable> {
    static DEFAULT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"\bdefault\b\s*(?:[^:\s]|$)|\bmodule\s*\.\s*exports\b|\bexec["']?\s*:"#).ok()
    });
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"\bexport\s+(?:async\s+)?function\s*\*?\s*([\w$]+)|\bexport\s+(?:const|let|var)\s+([\w$]+)|\bexports\s*\.\s*([\w$]+)|\bexport\s*\{[^}]*?([\w$]+)\s*[,}]").ok()
    });
    const OF_K6: [&str; 4] = ["options", "setup", "teardown", "handleSummary"];
    let bytes = files.read(script).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = if is_bundle(&text) { text.into_owned() } else { without_comments(&text) };
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Some(Unusable::Empty);
    }
    if DEFAULT.as_ref()?.is_match(&text) {
        return None;
    }
    let code = without_texts(&text);
    let mut named = NAMED.as_ref()?.captures_iter(&code).flat_map(|found| {
        (1..=4).filter_map(|group| Some(found.get(group)?.as_str().to_owned())).collect::<Vec<_>>()
    });
    Some(match named.find(|name| !OF_K6.contains(&name.as_str())) {
        Some(name) => Unusable::NoDefault(name),
        None => Unusable::NoFunction,
    })
}

/// Whether a file is the module that `sb` writes beside scripts, whose content is its own.
fn is_of_sb(path: &Path, files: &dyn Files) -> bool {
    path.file_name().is_some_and(|name| name == "sb.js")
        && files.read(path).is_ok_and(|bytes| bytes.starts_with(b"// Written by sb"))
}

/// A script with spaces in the place of comments, as long as it was. Texts are told from comments roughly: a pattern may
/// hold a quote.
fn without_comments(text: &str) -> String {
    blanked(text, |part| part == Part::Comment)
}

/// As [`without_comments`], of the texts: their quotes stay.
fn without_texts(text: &str) -> String {
    blanked(text, |part| part != Part::Code)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Text,
    Comment,
}

/// A script with spaces in the place of some of its parts, as long in bytes as it was.
fn blanked(text: &str, is_blank: impl Fn(Part) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut put = |letter: char, part: Part| {
        if is_blank(part) && letter != '\n' {
            out.extend(std::iter::repeat_n(' ', letter.len_utf8()));
        } else {
            out.push(letter);
        }
    };
    let mut letters = text.chars().peekable();
    let mut quote = None;
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '/') if letters.peek() == Some(&'/') => {
                put(letter, Part::Comment);
                while let Some(next) = letters.next_if(|next| *next != '\n') {
                    put(next, Part::Comment);
                }
            }
            (None, '/') if letters.peek() == Some(&'*') => {
                put(letter, Part::Comment);
                letters.next().into_iter().for_each(|star| put(star, Part::Comment));
                let mut before = ' ';
                for next in letters.by_ref() {
                    put(next, Part::Comment);
                    if before == '*' && next == '/' {
                        break;
                    }
                    before = next;
                }
            }
            (Some(_), '\\') => {
                put(letter, Part::Text);
                letters.next().into_iter().for_each(|next| put(next, Part::Text));
            }
            (None, '"' | '\'' | '`') => {
                quote = Some(letter);
                put(letter, Part::Code);
            }
            (Some(end), _) if letter == end || (letter == '\n' && end != '`') => {
                quote = None;
                put(letter, Part::Code);
            }
            (Some(_), _) => put(letter, Part::Text),
            (None, _) => put(letter, Part::Code),
        }
    }
    out
}

/// Scripts and templates that a command names: what it runs, not what it may write.
pub(super) fn named_by_command(
    command: &Command,
    folder: &Path,
    root: &Path,
    files: &dyn Files,
) -> Vec<PathBuf> {
    let words: Vec<String> = match command {
        Command::Shell(line) => words_of(line.source()),
        Command::Argv(words) => words.iter().map(|word: &Template| word.source().to_owned()).collect(),
    };
    let mut found = Vec::new();
    // A line may change its folder, in a shell of its own or not.
    let mut folders = vec![folder.to_owned()];
    let (mut before, mut command) = ("", "");
    // Of the command: what it reads without its name, and its options that name a file.
    let (mut unnamed, mut options) = (Vec::new(), Vec::new());
    for (index, word) in words.iter().enumerate() {
        let is_first = index == 0 || SEPARATORS.contains(&before);
        if is_first {
            command = name_of(word);
            unnamed = of_command(READ_UNNAMED, command);
            options = of_command(TAKES_FILE, command);
        }
        let in_folders =
            |name: &str| folders.iter().map(|folder| normal(&folder.join(name))).collect::<Vec<_>>();
        let mut named = Vec::new();
        if is_first {
            named.extend(unnamed.iter().flat_map(|file| in_folders(file)));
        }
        let is_folder = before == "cd" || (before == "-C" && command == "make");
        let attached = options.iter().find_map(|option| word.strip_prefix(option)?.strip_prefix('='));
        let is_read = options.contains(&before) || RUNS_FILE.contains(&before);
        let is_written = ["tee", "touch", "rm", "-o"].contains(&before) || before.ends_with('>');
        let is_run = word.contains('/') && is_first;
        before = word;
        // Most words have none, and are not looked at as paths.
        let end = Some(Path::new(word)).filter(|_| word.contains('.'));
        let end = end.and_then(|path| path.extension()?.to_str()).unwrap_or_default();
        if let Some(name) = attached {
            named.extend(in_folders(name));
        } else if is_read || (!is_written && (is_run || SOURCES.contains(&end))) {
            named.extend(in_folders(word));
        }
        if is_folder {
            let into: Vec<_> = in_folders(word).into_iter().filter(|path| files.is_folder(path)).collect();
            folders.extend(into);
            // What a make of another folder reads without its name.
            if command == "make" {
                let names = unnamed.iter();
                named.extend(names.flat_map(|file| folders.iter().map(move |folder| folder.join(file))));
            }
        }
        let is_there = |path: &PathBuf| {
            let text = path.to_string_lossy();
            !text.contains("{{") && path.starts_with(root) && files.exists(path) && !files.is_folder(path)
        };
        found.extend(named.into_iter().filter(is_there));
    }
    found.sort();
    found.dedup();
    found
}

/// A program of the application that a command runs by its path, and that does not exist, as it is written. What an earlier word of the
/// same line names may be made by it.
pub(super) fn missing_program(
    command: &Command,
    folder: &Path,
    root: &Path,
    files: &dyn Files,
) -> Option<String> {
    // Most lines have none, and are not taken apart: a word that begins with `./` has it in the line, or a quote in between.
    let may_have_one = |line: &str| ["./", "'/", "\"/"].iter().any(|start| line.contains(start));
    let words: Vec<String> = match command {
        Command::Shell(line) if !may_have_one(line.source()) => return None,
        Command::Shell(line) => words_of(line.source()),
        Command::Argv(words) => words.iter().map(|word: &Template| word.source().to_owned()).collect(),
    };
    // A line that goes elsewhere names its programs from there.
    if words.iter().any(|word| ["cd", "pushd"].contains(&word.as_str())) {
        return None;
    }
    let is_run = |index: usize| index == 0 || SEPARATORS.contains(&words[index - 1].as_str());
    let mut programs = (0..words.len()).filter(|index| is_run(*index)).map(|index| (index, &words[index]));
    programs
        .find(|(index, word)| {
            let path = normal(&folder.join(word));
            let is_own = word.starts_with("./") || word.starts_with("../");
            let is_plain = !word.contains(['{', '}', '$', '*', '?', '`', '\\']);
            is_own
                && is_plain
                && path.starts_with(root)
                && !files.exists(&path)
                && !words[..*index].contains(word)
        })
        .map(|(_, word)| word.clone())
}

/// What a table has for a command.
fn of_command(table: &[(&[&str], &[&'static str])], command: &str) -> Vec<&'static str> {
    let rows = table.iter().filter(|(commands, _)| commands.contains(&command));
    rows.flat_map(|(_, found)| found.iter().copied()).collect()
}

fn name_of(command: &str) -> &str {
    command.rsplit('/').next().unwrap_or(command)
}

/// What commands read without being told its name.
const READ_UNNAMED: &[(&[&str], &[&str])] = &[
    (&["make", "gmake"], &["GNUmakefile", "makefile", "Makefile"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
    (&["npm", "npx", "pnpm", "yarn"], &["package.json"]),
    (&["docker", "podman"], &["Dockerfile", "Containerfile"]),
    (&["task"], &["Taskfile.yml", "Taskfile.yaml"]),
];

/// Options that name a file to be read, whatever it is called.
const TAKES_FILE: &[(&[&str], &[&str])] = &[
    (&["make", "gmake"], &["-f", "--file", "--makefile"]),
    (&["just"], &["-f", "--justfile"]),
    (&["docker", "podman", "kubectl"], &["-f", "--file", "--filename"]),
    (&["awk", "sed", "psql", "mysql", "jq"], &["-f", "--file", "--from-file"]),
    (&["sam", "aws", "az"], &["-t", "--template", "--template-file"]),
];

/// Words behind which the name of a script comes.
const RUNS_FILE: &[&str] =
    &[".", "source", "sh", "bash", "dash", "zsh", "ksh", "python", "python3", "node", "ruby", "perl", "php"];

/// Words of a shell between which another command begins.
const SEPARATORS: &[&str] = &[";", "&&", "||", "|", "&", "(", ")", "{", "then", "do", "else", "!"];

/// How names of files end that are written by people, and not by steps.
const SOURCES: &[&str] = &[
    "bash", "bicep", "cjs", "cs", "go", "java", "js", "kt", "lua", "mjs", "php", "pl", "py", "rb", "rs",
    "sh", "tf", "toml", "ts", "yaml", "yml",
];

/// Words of a shell line, roughly: quotes are gone, and what ends a command is a word of its own.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut end_word = |word: &mut String| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    let mut quote = None;
    // Of the word; it decides more often than the others, and every manifest has thousands.
    let mut last = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ';' | '&' | '|' | '(' | ')' | '>' | '<' | '\n') => {
                let is_same = last == Some(letter) && word.chars().all(|one| one == letter);
                if !is_same {
                    end_word(&mut word);
                }
                let letter = if letter == '\n' { ';' } else { letter };
                word.push(letter);
                last = Some(letter);
            }
            (None, _) if letter.is_whitespace() => {
                end_word(&mut word);
                last = None;
            }
            _ => {
                if matches!(last, Some(';' | '&' | '|' | '(' | ')' | '>' | '<')) {
                    end_word(&mut word);
                }
                word.push(letter);
                last = Some(letter);
            }
        }
    }
    end_word(&mut word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read::Snapshot;

    /// Contents are the texts.
    struct Texts(Snapshot);

    impl Files for Texts {
        fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
            self.0.read(path)
        }
        fn exists(&self, path: &Path) -> bool {
            self.0.exists(path)
        }
        fn is_folder(&self, path: &Path) -> bool {
            self.0.is_folder(path)
        }
        fn canonical(&self, path: &Path) -> PathBuf {
            self.0.canonical(path)
        }
        fn contents(&self, path: &Path) -> Option<String> {
            Some(String::from_utf8_lossy(&self.0.read(path).ok()?).into_owned())
        }
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let names = [
            "deploy.sh",
            "bin/run",
            "out.yaml",
            "app.py",
            "state.json",
            "template.yaml",
            "rules",
            "Makefile",
            "sub/y.sh",
            "sub/Makefile",
            "sub/tool",
            "sub/rules",
            "install",
            "package.json",
        ];
        let files = Texts(Snapshot::new(names.map(|name| (format!("/w/{name}"), "x"))));
        let command = Command::Shell(Template::parse(line).unwrap());
        let mut found = named_by_command(&command, Path::new("/w"), Path::new("/w"), &files);
        found.sort();
        let expected: Vec<_> = expected.iter().map(|name| Path::new("/w").join(name)).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn a_command_is_made_of_the_scripts_and_templates_that_it_names() {
        check("sh deploy.sh {{params.x}} && bin/run", &["bin/run", "deploy.sh"]);
        check("python3 'app.py'>out.yaml; cat state.json", &["app.py"]);
        check("sam deploy --template-file ./template.yaml | tee out.yaml", &["template.yaml"]);
        check("az deployment group create --template-file template.yaml \\\n  --query x", &["template.yaml"]);
        check("echo {{params.x}}.py nothing.py /etc/passwd ../x.sh", &[]);
        check("make -f rules", &["Makefile", "rules"]);
        check("make --file=rules all > state.json", &["Makefile", "rules"]);
        check("cd sub && ./y.sh", &["sub/y.sh"]);
        check("cd sub && make; (cd . && ./tool)", &["Makefile", "sub/Makefile", "sub/tool"]);
        check("make -C sub -f rules", &["Makefile", "rules", "sub/Makefile", "sub/rules"]);
        check("sh install; . install", &["install"]);
        check("rm -f rules; tail -f state.json; npm run build", &["package.json"]);
    }

    fn made_of(texts: &[(&str, &str)]) -> Made {
        let files = Texts(Snapshot::new(texts.iter().map(|(path, text)| (*path, *text))));
        named_by_script(Path::new(texts[0].0), Path::new("/w"), &files)
    }

    #[test]
    fn a_script_is_made_of_what_it_imports_and_opens_wherever_that_lies_below_the_root() {
        let made = made_of(&[
            ("/w/a/load.js", "import { a } from './lib/a.js'; open('data.json'); import 'k6/http'"),
            ("/w/a/lib/a.js", "export * from '../../lib/b.js'; // import './gone.js'"),
            ("/w/lib/b.js", "import '../a/load.js'; const rows = papaparse(open(\"rows.csv\"))"),
            ("/w/lib/rows.csv", "import './x.js'"),
            ("/w/lib/x.js", ""),
            ("/w/a/data.json", "{}"),
            ("/w/a/lib/gone.js", ""),
        ]);
        let expected = ["a/load.js", "a/lib/a.js", "a/data.json", "lib/b.js", "lib/rows.csv"];
        assert_eq!(made.files, expected.map(|name| Path::new("/w").join(name)));
        assert_eq!(made.unknown, BTreeSet::new());
    }

    #[test]
    fn what_a_script_names_and_what_is_not_there_is_missing_where_it_is_certain() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let made = made_of(&[
                ("/w/a/load.js", text),
                ("/w/a/lib/b.js", "open('data.json'); import '../c.js'"),
                ("/w/a/data.json", "{}"),
            ]);
            let written: Vec<&str> = made.missing.iter().map(|one| one.written.as_str()).collect();
            assert_eq!(written, expected, "{text}");
            for one in made.missing.iter().filter(|one| one.script.ends_with("load.js")) {
                assert_eq!(&text[one.span.clone()], one.written, "{text}");
            }
        }
        check("import a from './a.js'", &["./a.js"]);
        check("/* ü */ import './a.js'; export * from \"../b.js\"", &["./a.js", "../b.js"]);
        check(
            "const a = require('./a'); open('x.csv'); open(`../y.csv`, 'b')",
            &["./a", "x.csv", "../y.csv"],
        );
        check("import './lib/b.js'", &["../c.js"]);
        check("import { http } from './sb.js'; import '../sb.js'", &[]);
        check("open('data.json'); open('./lib/' + name); open('/data/x.csv'); open(`${x}.csv`)", &[]);
        check(
            "// import './a.js'\n/* open('x') */ const text = \"import './a.js'\"; `\nimport './a.js'`",
            &[],
        );
        check("let all; try { all = open('x.csv') } catch (error) { all = '' }", &[]);
        check("function open(name) { return name }\nopen('x.csv')", &[]);
        check("import { open } from 'k6/experimental/fs'; open('x.csv')", &[]);
        check("import { check } from 'k6'; export default function () { open('x.csv') }", &["x.csv"]);
        check(
            "file.open('x.csv'); Array.from('./x'); import('./late.js'); import x from 'https://a/x.js'",
            &[],
        );
        check(&format!("{}; import './a.js'", "x".repeat(2000)), &[]);
    }

    #[test]
    fn a_script_without_a_function_to_run_is_told_from_one_that_has_it() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let files = Snapshot::new([("/w/load.js", text)]);
            let found = match unusable(Path::new("/w/load.js"), &files) {
                None => "runs".to_owned(),
                Some(Unusable::Empty) => "empty".to_owned(),
                Some(Unusable::NoFunction) => "nothing".to_owned(),
                Some(Unusable::NoDefault(name)) => name,
            };
            assert_eq!(found, expected, "{text}");
        }
        for text in ["", " \n", "\u{feff}// nothing yet\n", "/* export default 1 */"] {
            check(text, "empty");
        }
        for text in [
            "export default function () {}",
            "export default () => {}",
            "function main() {}\nexport { main as default };",
            "export { default } from './main.js'",
            "module.exports = function () {}",
            "exports.default = function () {}",
            "export const options = { scenarios: { a: { exec: 'browse' } } }; export function browse() {}",
        ] {
            check(text, "runs");
        }
        check("import http from 'k6/http'; http.get('http://a')", "nothing");
        check("// export default function () {}\nexport const options = {};", "nothing");
        check("switch (x) { default: y() } export function setup() {}", "nothing");
        check("export function browse() {}", "browse");
        check("export async function browse() {}", "browse");
        check("function buy() {}\nexport { buy };", "buy");
        check("export const browse = () => {}", "browse");
    }

    #[test]
    fn what_nobody_can_know_of_a_script_is_named_once() {
        let made = made_of(&[
            (
                "/w/load.js",
                "import x from 'https://jslib.k6.io/x.js'; open(__ENV.A); open(`${a}.json`); file.open(y); open();\n\
                 /* import 'https://no' */ import y from \"github.com/y/y.js\"; const text = 'greetings from \"me\"';\n\
                 import z from '../outside.js'; import w from '/w/lib.js'; import './lib.js'",
            ),
            ("/w/lib.js", "import x from 'https://jslib.k6.io/x.js'; require(name)"),
            ("/outside.js", ""),
        ]);
        assert_eq!(made.files, ["/w/load.js", "/w/lib.js"].map(PathBuf::from));
        let expected = [
            "`/outside.js`, which lies outside of the root",
            "`github.com/y/y.js`",
            "`https://jslib.k6.io/x.js`",
            "what `open(…)` computes in `load.js`",
            "what `require(…)` computes in `lib.js`",
        ];
        assert_eq!(made.unknown.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_modules_of_a_script_are_bounded() {
        let many: String = (0..2 * MOST_MODULES).map(|number| format!("import './{number}.js'\n")).collect();
        let names: Vec<String> = (0..2 * MOST_MODULES).map(|number| format!("/w/{number}.js")).collect();
        let mut texts = vec![("/w/load.js", many.as_str())];
        texts.extend(names.iter().map(|name| (name.as_str(), "")));
        let made = made_of(&texts);
        assert_eq!((made.files.len(), made.unknown.len()), (MOST_MODULES, 1));
    }
}
