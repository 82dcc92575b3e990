//! Programs that read a word of their arguments as code: which word of a command that is.

use super::Trap;

/// What the words of a command so far say about the word at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reader {
    #[default]
    None,
    /// The program was named; its options may follow.
    Named(Program),
    /// `ssh HOST`, `flock FILE`: the first word that is no option was there.
    Placed(Program),
    /// The word at hand is code.
    Code(Program),
    /// The word at hand is code, and so are all that follow.
    Rest(Program),
}

/// By what their arguments have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Shell,
    /// Splits the text of `-S` into the words of another command.
    Env,
    /// A name may stand before the option with the code, too.
    Su,
    Flock,
    Ssh,
    Watch,
    Parallel,
    Python,
    Perl,
    /// Ruby, and others whose code follows `-e`.
    Ruby,
    Node,
    Php,
    Awk,
}

/// Commands that do not start what their words name.
const OF_DATA: [&str; 32] = [
    "echo", "printf", "[", "test", "[[", ":", "true", "false", "cat", "ls", "cd", "mkdir", "rmdir", "rm",
    "cp", "mv", "ln", "touch", "chmod", "chown", "grep", "egrep", "fgrep", "export", "declare", "typeset",
    "local", "readonly", "pip", "pip3", "apt-get", "which",
];
/// Commands that start the program that their words name.
const STARTING: [&str; 22] = [
    "env",
    "sudo",
    "doas",
    "nice",
    "ionice",
    "setsid",
    "timeout",
    "stdbuf",
    "xargs",
    "chroot",
    "chrt",
    "taskset",
    "unshare",
    "nsenter",
    "strace",
    "flock",
    "sshpass",
    "busybox",
    "gosu",
    "su-exec",
    "systemd-run",
    "find",
];

impl Program {
    /// `starts`: the word is where a program is expected. Those whose code follows an option are known elsewhere, too:
    /// what starts them need not be known.
    fn of(word: &str, starts: bool) -> Option<Self> {
        // No name of a program: `/home:/bin/bash` names folders.
        if word.contains([':', '=']) {
            return None;
        }
        let name = word.rsplit('/').next().unwrap_or_default();
        Some(match name {
            "sh" | "bash" | "dash" | "ash" | "ksh" | "mksh" | "rbash" | "yash" | "zsh" | "fish" => {
                Self::Shell
            }
            "env" if starts => Self::Env,
            "su" | "runuser" | "script" | "npx" => Self::Su,
            "perl" => Self::Perl,
            "ruby" | "lua" | "Rscript" | "julia" | "groovy" | "elixir" => Self::Ruby,
            "node" | "nodejs" | "bun" => Self::Node,
            "php" => Self::Php,
            "flock" if starts => Self::Flock,
            "ssh" | "autossh" if starts => Self::Ssh,
            "watch" if starts => Self::Watch,
            "parallel" if starts => Self::Parallel,
            "awk" | "gawk" | "mawk" | "nawk" if starts => Self::Awk,
            _ => {
                let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"))?;
                let is_version = version.chars().all(|it| it.is_ascii_digit() || it == '.');
                return is_version.then_some(Self::Python);
            }
        })
    }

    fn trap(self) -> Trap {
        match self {
            Self::Shell | Self::Env | Self::Su | Self::Flock | Self::Watch | Self::Parallel => Trap::Code,
            Self::Ssh => Trap::Remote,
            Self::Python | Self::Perl | Self::Ruby | Self::Node | Self::Php | Self::Awk => Trap::Program,
        }
    }

    /// Whether the word after `option` is its value.
    fn takes_value(self, option: &str) -> bool {
        if let Some(long) = option.strip_prefix("--") {
            let known: &[&str] = match self {
                Self::Flock => &["timeout", "wait", "conflict-exit-code"],
                Self::Watch => &["interval", "equexit"],
                Self::Parallel => &[
                    "jobs",
                    "max-procs",
                    "max-args",
                    "max-replace-args",
                    "arg-file",
                    "sshlogin",
                    "timeout",
                    "delay",
                    "results",
                    "joblog",
                    "retries",
                    "colsep",
                    "delimiter",
                    "tmpdir",
                    "memfree",
                    "load",
                    "halt",
                    "tagstring",
                    "workdir",
                    "env",
                    "basefile",
                    "block",
                    "nice",
                ],
                Self::Node => &["require", "import", "loader", "conditions"],
                Self::Awk => &["field-separator", "assign", "include"],
                _ => &[],
            };
            return known.contains(&long);
        }
        let letters = match self {
            Self::Shell => "oO",
            Self::Flock => "wE",
            Self::Ssh => "BbcDEeFIiJLlmOopPQRSWw",
            Self::Watch => "nq",
            Self::Parallel => "jndaIPNLSC",
            Self::Python => "WX",
            Self::Perl | Self::Ruby => "I",
            Self::Node => "rC",
            Self::Php => "dc",
            Self::Awk => "Fvi",
            Self::Env => "uC",
            Self::Su => "",
        };
        let signs: &[char] = if self == Self::Shell { &['-', '+'] } else { &['-'] };
        // Several may stand in one word, and the value of the last may be attached: `-n5`.
        option.strip_prefix(signs).is_some_and(|rest| {
            let first = rest.find(|it| letters.contains(it));
            first.is_some_and(|at| at + 1 == rest.len())
        })
    }

    /// Whether the word after `option`, or what is attached to it, is code.
    fn takes_code(self, option: &str) -> bool {
        if let Some(long) = option.strip_prefix("--") {
            let known: &[&str] = match self {
                Self::Su | Self::Flock => &["command"],
                Self::Env => &["split-string"],
                Self::Node => &["eval", "print"],
                Self::Php => &["run"],
                _ => &[],
            };
            return known.contains(&long.split('=').next().unwrap_or_default());
        }
        let signs: &[char] = if self == Self::Shell { &['-', '+'] } else { &['-'] };
        let Some(letters) = option.strip_prefix(signs) else { return false };
        let holds =
            |code: &[char], with_text: &[char]| letters.contains(code) && !letters.starts_with(with_text);
        match self {
            Self::Shell | Self::Su | Self::Flock => letters.contains('c'),
            Self::Env => holds(&['S'], &['u', 'C']),
            Self::Python => holds(&['c'], &['X', 'm']),
            Self::Perl => holds(&['e', 'E'], &['M', 'm', 'I', 'i', 'x', 'F', 'C', 'D', 'd']),
            Self::Ruby => holds(&['e'], &['I', 'r', 'C', 'E', 'F', 'i', 'K', 'l', 'W', 'x']),
            Self::Node => holds(&['e', 'p'], &['r', 'C']),
            Self::Php => letters.starts_with('r'),
            Self::Ssh | Self::Watch | Self::Parallel | Self::Awk => false,
        }
    }

    /// Whether the first word that is no option is code.
    fn begins_with_code(self) -> bool {
        matches!(self, Self::Watch | Self::Parallel | Self::Awk)
    }
}

impl Reader {
    /// As what code the word at hand is read: `word`, as far as it is known. `before` is the word before it.
    pub(super) fn reads(self, word: &str, before: &str) -> Option<Trap> {
        let is_first = |program: Program| !word.starts_with('-') && !program.takes_value(before);
        match self {
            Self::Code(program) | Self::Rest(program) => Some(program.trap()),
            Self::Named(program) if program.begins_with_code() => is_first(program).then(|| program.trap()),
            Self::Placed(Program::Ssh) => is_first(Program::Ssh).then_some(Trap::Remote),
            // Attached to its option; shells know no such thing.
            Self::Named(program) if program != Program::Shell => {
                program.takes_code(word).then(|| program.trap())
            }
            Self::Named(_) | Self::Placed(_) | Self::None => None,
        }
    }

    /// What follows from a whole word for the next. `name` is that of the command, where it was known before this word.
    pub(super) fn after(self, word: &str, before: &str, name: Option<&str>) -> Self {
        if name.is_some_and(|name| OF_DATA.contains(&name)) {
            return Self::None;
        }
        let starts = name.is_none_or(|name| STARTING.contains(&name.rsplit('/').next().unwrap_or(name)));
        let anew = || Program::of(word, starts).map_or(Self::None, Self::Named);
        let is_option = word.starts_with('-') && word.len() > 1;
        match self {
            Self::Rest(Program::Parallel) if word.starts_with(":::") => Self::None,
            Self::Rest(program) => Self::Rest(program),
            // The options of a shell may go on, and the code follows the last of them.
            Self::Code(Program::Shell) if is_option || word.starts_with('+') => self,
            Self::Code(Program::Shell) if Program::Shell.takes_value(before) => self,
            // Perl and others take several.
            Self::Code(program @ (Program::Perl | Program::Ruby)) => Self::Named(program),
            Self::Named(program) | Self::Placed(program) if program.takes_value(before) => self.kept(program),
            Self::Placed(Program::Ssh) if is_option => self,
            Self::Placed(Program::Ssh) => Self::Rest(Program::Ssh),
            Self::Placed(program) if program.takes_code(word) => Self::Code(program),
            Self::Named(program) => named(program, word, is_option, anew),
            Self::None | Self::Code(_) | Self::Placed(_) => anew(),
        }
    }

    fn kept(self, program: Program) -> Self {
        if matches!(self, Self::Placed(_)) { Self::Placed(program) } else { Self::Named(program) }
    }
}

/// After a word that follows the program's name, or its options.
fn named(program: Program, word: &str, is_option: bool, anew: impl Fn() -> Reader) -> Reader {
    match program {
        Program::Flock if !is_option => Reader::Placed(program),
        Program::Flock => Reader::Named(program),
        _ if program.takes_code(word) => Reader::Code(program),
        Program::Watch if word == "-x" || word == "--exec" => Reader::None,
        Program::Awk if word.starts_with("-f") || word.starts_with("--file") => Reader::None,
        Program::Python if word.starts_with("-m") => Reader::None,
        Program::Shell if word.starts_with('+') => Reader::Named(program),
        Program::Su => Reader::Named(program),
        _ if is_option => Reader::Named(program),
        Program::Ssh => Reader::Placed(program),
        // Without a command, the arguments of parallel are commands.
        Program::Parallel if word.starts_with(":::") => Reader::Rest(Program::Watch),
        Program::Watch | Program::Parallel => Reader::Rest(program),
        Program::Awk => Reader::None,
        _ => anew(),
    }
}
