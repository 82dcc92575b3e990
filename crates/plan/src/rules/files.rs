//! Rules about any file: its bytes, its syntax, its keys and the kinds of its values.

use super::About::{Manifest, Other, Plan};
use super::Depends::{Nothing, Table};
use super::{Rule, error};
use crate::manifest::problem::Severity;

pub(super) const RULES: &[Rule] = &[
    error(
        "unreadable-file",
        Other,
        Nothing,
        [
            "A file must be there, be a regular file of at most 2 MiB, and be readable. Nothing in it can be checked otherwise.",
            "",
            "",
        ],
    ),
    error(
        "wrong-file",
        Other,
        Nothing,
        [
            "A manifest, a plan, a workload, a load and a template are different kinds of files. What one of them says means nothing in the place of another.",
            "",
            "",
        ],
    ),
    error(
        "not-utf8",
        Other,
        Nothing,
        ["A file is text in UTF-8. Bytes of another encoding have no certain meaning.", "", ""],
    ),
    error(
        "syntax",
        Manifest,
        Nothing,
        [
            "The text must be TOML, or YAML in a file that ends with `.yaml` or `.yml`. Texts need quotes in TOML, and numbers must fit into 64 bits.",
            "[params]\nregion = us-east-1",
            "[params]\nregion = \"us-east-1\"",
        ],
    ),
    error(
        "duplicate-key",
        Manifest,
        Nothing,
        [
            "A key may be given once in a table. Of two values one would be lost, and nobody could tell which.",
            "[params]\nmemory_size = 512\nmemory_size = 1024",
            "[params]\nmemory_size = 1024",
        ],
    ),
    error(
        "unknown-key",
        Manifest,
        Nothing,
        [
            "A key that `sb` does not know has no effect, and is most often a misspelt one. What is near to a known key is checked as that key, and `sb validate --fix` corrects it.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\ntimout = \"10m\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\ntimeout = \"10m\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "missing-key",
        Plan,
        Nothing,
        [
            "Some keys have no default, such as the `manifest` of an application. The file says too little without them.",
            "[[applications]]\ntarget = \"local\"",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\ntarget = \"local\"",
        ],
    ),
    error(
        "wrong-type",
        Manifest,
        Nothing,
        [
            "Every key takes values of certain kinds only: texts, numbers, booleans, lists or tables. A duration is a text with a unit.",
            "[[deploy]]\nname = \"settle\"\nwait = 30\n\n[[cleanup]]\nname = \"settle\"\nwait = \"1s\"",
            "[[deploy]]\nname = \"settle\"\nwait = \"30s\"\n\n[[cleanup]]\nname = \"settle\"\nwait = \"1s\"",
        ],
    ),
    error(
        "unknown-word",
        Manifest,
        Nothing,
        [
            "Some keys take one of a few words. `sb validate --fix` corrects a word that is nearly one of them.",
            "[targets.aws]\ntraces = \"x-ray\"",
            "[targets.aws]\ntraces = \"xray\"",
        ],
    ),
    error(
        "invalid-duration",
        Plan,
        Nothing,
        [
            "A duration is a number with a unit: `ms`, `s`, `m`, `h` or `d`. Without a unit it could mean seconds or minutes.",
            "[timing]\nbefore_invoke = \"ninety\"",
            "[timing]\nbefore_invoke = \"90s\"",
        ],
    ),
    error(
        "duration-out-of-range",
        Plan,
        Nothing,
        [
            "A duration is at most a year, and above zero where nothing could happen otherwise.",
            "[load]\nconstant = 10\nduration = \"0s\"",
            "[load]\nconstant = 10\nduration = \"10s\"",
        ],
    ),
    error(
        "invalid-size",
        Manifest,
        Nothing,
        [
            "A size is a number of bytes, or a text with a unit such as `MiB` or `GB`.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\nlimits = { memory = \"512 megs\" }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\nlimits = { memory = \"512MiB\" }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "out-of-range",
        Plan,
        Nothing,
        [
            "A number must lie in the range that its key allows. The message says which one.",
            "[trials]\nrepetitions = 0",
            "[trials]\nrepetitions = 3",
        ],
    ),
    error(
        "invalid-name",
        Manifest,
        Nothing,
        [
            "Names become parts of files, labels and ids. They have 1 to 64 letters, digits, `-` and `_`, and do not begin with `-`.",
            "[benchmark]\nname = \"my shop\"",
            "[benchmark]\nname = \"my-shop\"",
        ],
    ),
    error(
        "duplicate-name",
        Manifest,
        Nothing,
        [
            "Two things of one kind need two names. Results are grouped by them, and other parts of the file refer to them.",
            "[[workload.requests]]\nname = \"read\"\nurl = \"http://127.0.0.1:8080/a\"\n\n[[workload.requests]]\nname = \"read\"\nurl = \"http://127.0.0.1:8080/b\"",
            "[[workload.requests]]\nname = \"read-a\"\nurl = \"http://127.0.0.1:8080/a\"\n\n[[workload.requests]]\nname = \"read-b\"\nurl = \"http://127.0.0.1:8080/b\"",
        ],
    ),
    error(
        "missing-file",
        Manifest,
        Nothing,
        [
            "A file that is named must exist when the file that names it is checked. It must be a regular file, or a folder where a folder is meant.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/dog.jpg\" }]",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/cat.jpg\" }]",
        ],
    ),
    error(
        "outside-root",
        Manifest,
        Nothing,
        [
            "A manifest may name files inside its root only, so that a repository can be checked and run without reading anything else. Links are followed.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"../../secrets/cat.jpg\" }]",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/cat.jpg\" }]",
        ],
    ),
    error(
        "invalid-path",
        Manifest,
        Nothing,
        [
            "A path is known before anything runs. It cannot be empty or hold placeholders.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/{{target}}.jpg\" }]",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/cat.jpg\" }]",
        ],
    ),
    error(
        "template-syntax",
        Manifest,
        Nothing,
        [
            "A placeholder is written `{{path.to.value}}`. Two braces that are meant as they are have a backslash before them.",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/{{request.uuid\" }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/{{request.uuid}}\" }]",
        ],
    ),
    error(
        "invalid-pointer",
        Manifest,
        Nothing,
        [
            "A JSON pointer (RFC 6901) begins with `/`, and is empty for the whole document.",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", expect = { json = { \"status\" = \"done\" } } }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", expect = { json = { \"/status\" = \"done\" } } }]",
        ],
    ),
    error(
        "invalid-regex",
        Manifest,
        Nothing,
        [
            "A regular expression must be one that the crate `regex` can read, and takes one value: it has at most one group.",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", expect = { regex = \"(done\" } }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", expect = { regex = \"(done)\" } }]",
        ],
    ),
    error(
        "invalid-arguments",
        Other,
        Table,
        [
            "The words on the command line that describe a load must describe one. `sb invoke --help` shows what there is.",
            "",
            "",
        ],
    ),
    error(
        "invalid-override",
        Other,
        Nothing,
        [
            "A value given by `-p` or by a variable `SB_PARAM_NAME` must be one that the parameter takes. It cannot replace what follows a factor or is shown by a label.",
            "",
            "",
        ],
    )
    .or(Severity::Warning),
];
