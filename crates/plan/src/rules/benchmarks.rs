//! Rules about what a manifest says of deployment: parameters, images, targets, steps, outputs.

use super::About::Manifest;
use super::Depends::{File, Names, Nothing, Table};
use super::{Rule, error, warning};
use crate::manifest::problem::Severity;

const STEPS: &[&str] = &["deploy", "invoke", "cleanup", "needs"];
/// What placeholders refer to.
const VALUES: &[&str] =
    &["params", "outputs", "matrix", "vars", "extract", "deploy", "invoke", "local", "template"];

pub(super) const RULES: &[Rule] = &[
    error(
        "invalid-param",
        Manifest,
        Table,
        [
            "A parameter holds a plain value, or says where its value comes from: an environment variable, or random digits. What a plan gives it must be of the same type.",
            "[params]\nbucket = \"thumbs-{{target}}\"",
            "[params]\nbucket = { random_hex = 10 }",
        ],
    ),
    error(
        "unknown-image",
        Manifest,
        Names(&["images"]),
        [
            "A step names an image by an alias of `[images]`, or by a full reference with its tag. A bare word is taken for a misspelt alias.",
            "[images]\ndeploy = { dockerfile = \"deploy.Dockerfile\" }\n\n[[deploy]]\nname = \"stack\"\nimage = \"deplyo\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[images]\ndeploy = { dockerfile = \"deploy.Dockerfile\" }\n\n[[deploy]]\nname = \"stack\"\nimage = \"deploy\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "no-target",
        Manifest,
        Names(&["targets"]),
        [
            "A benchmark is deployed to at least one target.",
            "[targets]",
            "[targets.local]\ntraces = \"local\"",
        ],
    ),
    error(
        "unknown-target",
        Manifest,
        Names(&["targets"]),
        [
            "What limits itself to a target must name one that the manifest has. It would never run otherwise.",
            "[[deploy]]\nname = \"stack\"\ntarget = \"asw\"\nrun = \"make deploy\"\n\n[targets.aws]",
            "[[deploy]]\nname = \"stack\"\ntarget = \"aws\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"\n\n[targets.aws]",
        ],
    ),
    error(
        "unknown-step",
        Manifest,
        Names(STEPS),
        [
            "`needs` names steps of the same phase that run on the same target.",
            "[[deploy]]\nname = \"stack\"\nneeds = [\"build\"]\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"build\"\nrun = \"make build\"\n\n[[deploy]]\nname = \"stack\"\nneeds = [\"build\"]\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "needs-cycle",
        Manifest,
        File,
        [
            "Steps that need each other could never start. A step without `needs` waits for the one before it.",
            "[[deploy]]\nname = \"build\"\nneeds = [\"stack\"]\nrun = \"make build\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"build\"\nrun = \"make build\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "background-step",
        Manifest,
        Table,
        [
            "A background step is a deploy step with `run` that says when it is ready. It has no `timeout`, and no outputs that are known only at its end.",
            "[[deploy]]\nname = \"database\"\nbackground = true\nrun = \"postgres\"",
            "[[deploy]]\nname = \"database\"\nbackground = true\nready = { port = 5432 }\nrun = \"postgres\"",
        ],
    ),
    error(
        "step-action",
        Manifest,
        Table,
        [
            "A step does exactly one thing: `run`, `wait`, `wait_for`, `load`, `local`, `sam`, `bicep`, `cdk` or `terraform`. Its other keys must belong to that action.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\nwait = \"30s\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[deploy]]\nname = \"settle\"\nwait = \"30s\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "empty-shell",
        Manifest,
        Nothing,
        [
            "A shell is a program with its arguments, which takes the command as its last one.",
            "[[deploy]]\nname = \"stack\"\nshell = []\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nshell = [\"bash\", \"-c\"]\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "invalid-variable",
        Manifest,
        Nothing,
        [
            "The name of an environment variable has letters, digits and `_`, and does not begin with a digit. Shells cannot read others.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\nenv = { \"api-key\" = \"x\" }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\nenv = { API_KEY = \"x\" }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "nul-byte",
        Manifest,
        Nothing,
        [
            "The system hands commands their arguments and variables as texts that end at a NUL byte, so none can hold one.",
            "[[deploy]]\nname = \"stack\"\nrun = [\"printf\", \"a\\u0000b\"]\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"printf 'a\\\\0b'\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "invalid-output",
        Manifest,
        Table,
        [
            "An output is taken from exactly one place: `json`, `regex`, `line`, `stdout` or `file`. A `local`, `sam`, `bicep` or `terraform` step has the outputs of what it deploys.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\noutputs.endpoint = {}\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\noutputs.endpoint = { line = -1 }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "undefined-value",
        Manifest,
        Names(VALUES),
        [
            "A placeholder must name a value that exists where it stands: a parameter, an output, or one of the values that `sb` defines.",
            "[params]\nregion = \"us-east-1\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy REGION={{params.regoin}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\nregion = \"us-east-1\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy REGION={{params.region}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "value-not-here",
        Manifest,
        Nothing,
        [
            "Some values exist in one phase only: those of a trial in invoke steps and the workload, those of a request in requests.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy TRIAL={{trial.id}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy RUN={{run.id}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "output-order",
        Manifest,
        Names(VALUES),
        [
            "An output can be used once the step that makes it has run, on every target where it is used. Cleanup runs after failures, too, so that an output used there needs a `default`.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\noutputs.bucket = { line = -1 }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete BUCKET={{outputs.bucket}}\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\noutputs.bucket = { line = -1, default = \"\" }\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete BUCKET={{outputs.bucket}}\"",
        ],
    ),
    error(
        "secret-exposed",
        Manifest,
        Nothing,
        [
            "Every process of a machine can read the arguments of the others. A secret reaches a command by its environment.",
            "[params]\nkey = { env = \"API_KEY\", secret = true }\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy KEY={{params.key}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\nkey = { env = \"API_KEY\", secret = true }\n\n[[deploy]]\nname = \"stack\"\nenv = { KEY = \"{{params.key}}\" }\nrun = \"make deploy KEY=\\\"$KEY\\\"\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    warning(
        "raw-value",
        Manifest,
        Nothing,
        [
            "Three braces take a value as it is, unquoted. A shell would read it as code.",
            "[params]\nflags = \"-v\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy {{{params.flags}}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\nflags = \"-v\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy {{params.flags}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "unquotable-value",
        Manifest,
        Nothing,
        [
            "A value in a shell line is quoted. Inside quotes, comments and here-documents it cannot be, and would be read as code. Quotes do not help in arithmetic (`let`, `[[ … -eq … ]]`) and in names of variables (`unset`, `read`): some shells run commands in them. ksh and zsh do so in `[ … -eq … ]`, too. Nor do they in code that a shell or another program reads once more (`eval`, `sh -c`, `ssh`, `watch`, `python3 -c`, `awk`).",
            "[params]\ntitle = \"x\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy TITLE=\\\"{{params.title}}\\\"\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\ntitle = \"x\"\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy TITLE={{params.title}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "foreign-shell",
        Manifest,
        Nothing,
        [
            "`sb` quotes values for `sh` and its kin. Another program would read the quotes otherwise, so values reach it by environment.",
            "[params]\nregion = \"us-east-1\"\n\n[[deploy]]\nname = \"stack\"\nshell = [\"python3\", \"-c\"]\nrun = \"deploy({{params.region}})\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\nregion = \"us-east-1\"\n\n[[deploy]]\nname = \"stack\"\nshell = [\"python3\", \"-c\"]\nenv = { REGION = \"{{params.region}}\" }\nrun = \"import os; deploy(os.environ['REGION'])\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "invalid-credentials",
        Manifest,
        Names(&["credentials", "targets"]),
        [
            "A step asks for credentials by their kind, and its target must allow them. So the targets show which clouds a benchmark can reach.",
            "[targets.aws]\n\n[[deploy]]\nname = \"stack\"\nrun = \"sam deploy\"\ncredentials = [\"aws\"]\n\n[[cleanup]]\nname = \"stack\"\nrun = \"sam delete\"",
            "[targets.aws]\ncredentials = [\"aws\"]\n\n[[deploy]]\nname = \"stack\"\nrun = \"sam deploy\"\ncredentials = [\"aws\"]\n\n[[cleanup]]\nname = \"stack\"\nrun = \"sam delete\"\ncredentials = [\"aws\"]",
        ],
    )
    .or(Severity::Warning),
    error(
        "invalid-traces",
        Manifest,
        Table,
        [
            "Traces come from exactly one place, and what is said of it must fit.",
            "[targets.azure]\ntraces = { app_insights = \"an-id\", otlp = \"spans.json\" }",
            "[targets.azure]\ntraces = { otlp = \"spans.json\" }",
        ],
    )
    .or(Severity::Warning),
    error(
        "local-settings",
        Manifest,
        File,
        [
            "Concurrency, delays, faults and the like are settings of the local target. A target without a `local` step cannot have them.",
            "[targets.aws]\nconcurrency = 10",
            "[targets.aws]\ntraces = \"xray\"",
        ],
    ),
    error(
        "invalid-template",
        Manifest,
        File,
        [
            "A `local` step deploys a SAM template, which must be one that the local target can run. `docs/local-target.md` lists what it has.",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\", parameters = { Size = \"1\" } }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\" }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
        ],
    )
    .or(Severity::Note),
    error(
        "invalid-stand-in",
        Manifest,
        Nothing,
        [
            "A stand-in takes the place of an AWS service that the local target lacks. It needs the service's name in signatures, and a URL on plain HTTP.",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\", services = { rekognition = \"ftp://127.0.0.1\" } }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\", services = { rekognition = \"http://127.0.0.1:9000\" } }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
        ],
    ),
    error(
        "unknown-price",
        Manifest,
        Nothing,
        [
            "What a target uses is counted in units of the price table, so that its cost can be estimated.",
            "[targets.aws.usage]\nlambda_calls = 2",
            "[targets.aws.usage]\nlambda_requests = 2",
        ],
    ),
    warning(
        "no-cleanup",
        Manifest,
        File,
        [
            "What is deployed to a target stays there, and may cost money, when no cleanup step of the target removes it.",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    warning(
        "unused-credentials",
        Manifest,
        File,
        [
            "A target allows credentials that none of its steps asks for. Steps get those that they ask for, so one of them lacks a key, or the target allows too much.",
            "[targets.aws]\ncredentials = [\"aws\"]\n\n[[deploy]]\nname = \"stack\"\nrun = \"sam deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"sam delete\"",
            "[targets.aws]\ncredentials = [\"aws\"]\n\n[[deploy]]\nname = \"stack\"\nrun = \"sam deploy\"\ncredentials = [\"aws\"]\n\n[[cleanup]]\nname = \"stack\"\nrun = \"sam delete\"\ncredentials = [\"aws\"]",
        ],
    ),
    warning(
        "unused-workload",
        Manifest,
        File,
        [
            "The requests of a workload are sent by an invoke step with `load = true`, or by `sb` itself when there are no invoke steps. Otherwise nothing sends them.",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]\n\n[[invoke]]\nname = \"measure\"\nrun = \"make measure\"",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]\n\n[[invoke]]\nname = \"measure\"\nload = true",
        ],
    ),
    warning(
        "unused-image",
        Manifest,
        File,
        [
            "An alias of `[images]` that no step and no workload names has no effect, and is often a misspelt one.",
            "[images]\ndeploy = { dockerfile = \"deploy.Dockerfile\" }\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[images]\ndeploy = { dockerfile = \"deploy.Dockerfile\" }\n\n[[deploy]]\nname = \"stack\"\nimage = \"deploy\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    warning(
        "unused-param",
        Manifest,
        File,
        [
            "A parameter that no step, request or template reads changes nothing, whatever a plan gives it. `region` is an exception: AWS is asked by it.",
            "[params]\nsize = 512\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[params]\nsize = 512\n\n[[deploy]]\nname = \"stack\"\nrun = \"make deploy SIZE={{params.size}}\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    warning(
        "missing-script",
        Manifest,
        Nothing,
        [
            "A command runs a program of the application, such as `./deploy.sh`, and there is no such file. It would fail when it is reached.",
            "[[deploy]]\nname = \"stack\"\nrun = \"./install.sh\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
            "[[deploy]]\nname = \"stack\"\nrun = \"./deploy.sh\"\n\n[[cleanup]]\nname = \"stack\"\nrun = \"make delete\"",
        ],
    ),
    error(
        "missing-handler",
        Manifest,
        Nothing,
        [
            "The file that a function's `Handler` names is not in its `CodeUri`, so that no invocation could succeed. Code that is built must be built before.",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"no-handler.yaml\" }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
            "[[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\" }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
        ],
    )
    .or(Severity::Warning),
];
