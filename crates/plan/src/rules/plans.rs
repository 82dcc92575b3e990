//! Rules about plans: applications, factors, loads, budgets.

use super::About::Plan;
use super::Depends::{File, Names, Nothing, Table};
use super::{Rule, error, warning};
use crate::manifest::problem::Severity;

pub(super) const RULES: &[Rule] = &[
    error(
        "no-application",
        Plan,
        Names(&["applications"]),
        [
            "A plan runs at least one application.",
            "applications = []",
            "[[applications]]\nmanifest = \"../benchmark.toml\"",
        ],
    ),
    error(
        "unknown-param",
        Plan,
        Names(&["params"]),
        [
            "A plan can set parameters that the manifest has.",
            "[params]\nmemory = 1024",
            "[params]\nmemory_size = 1024",
        ],
    ),
    error(
        "secret-in-plan",
        Plan,
        Nothing,
        [
            "A plan is stored with its results. A secret parameter gets its value from the environment instead.",
            "[params]\napi_key = \"s3cret\"",
            "[params]\nmemory_size = 1024",
        ],
    ),
    error(
        "unknown-lock",
        Plan,
        Names(&["locks"]),
        [
            "An application takes locks of `[locks]`, which says how many may hold each.",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\nlocks = [\"us_east_1\"]",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\nlocks = [\"us_east_1\"]\n\n[locks]\nus_east_1 = 2",
        ],
    ),
    error(
        "unknown-load",
        Plan,
        Names(&["loads", "load"]),
        [
            "A load that is named must be in `[loads]`.",
            "load = \"bursts\"\n\n[loads.burst]\nbursts = { size = 20, at = [\"0s\"] }",
            "load = \"burst\"\n\n[loads.burst]\nbursts = { size = 20, at = [\"0s\"] }",
        ],
    ),
    error(
        "invalid-load",
        Plan,
        Table,
        [
            "A load says in exactly one way when requests are sent, and its other keys must belong to that way.",
            "[load]\nconstant = 20\niterations = 10\nduration = \"10s\"",
            "[load]\nconstant = 20\nduration = \"10s\"",
        ],
    ),
    error(
        "invalid-csv",
        Plan,
        Nothing,
        [
            "A trace is a CSV file with a column `InvocationsPerMinute` and one line for each minute.",
            "[load]\ncsv = \"../columns.csv\"",
            "[load]\ncsv = \"../trace.csv\"\nskip = \"0s\"",
        ],
    ),
    error(
        "invalid-value",
        Plan,
        Nothing,
        [
            "A placeholder must give a value of the type that its key takes, at every point of the matrix.",
            "[matrix]\nrate = [\"fast\", \"slow\"]\n\n[load]\nconstant = \"{{matrix.rate}}\"\nduration = \"10s\"",
            "[matrix]\nrate = [10, 20]\n\n[load]\nconstant = \"{{matrix.rate}}\"\nduration = \"10s\"",
        ],
    ),
    error(
        "invalid-matrix",
        Plan,
        Table,
        [
            "A factor has different levels of one kind, and `include` and `exclude` name factors and levels that exist.",
            "[matrix]\nmemory_size = [512, 512]\n\n[params]\nmemory_size = \"{{matrix.memory_size}}\"",
            "[matrix]\nmemory_size = [512, 1024]\n\n[params]\nmemory_size = \"{{matrix.memory_size}}\"",
        ],
    )
    .or(Severity::Warning),
    error(
        "unused-factor",
        Plan,
        File,
        [
            "A factor that no parameter of a step, no load and no start depends on changes nothing. An experiment would compare a thing with itself.",
            "[matrix]\nmemory_size = [512, 1024]",
            "[matrix]\nmemory_size = [512, 1024]\n\n[params]\nmemory_size = \"{{matrix.memory_size}}\"",
        ],
    ),
    warning(
        "unused-load",
        Plan,
        File,
        [
            "A load has an effect when an application has it, and an invoke step with `load = true` sends it. Nothing else of a plan sends one.",
            "load = { iterations = 5 }\n\n[[applications]]\nmanifest = \"../no-load.toml\"",
            "load = { iterations = 5 }\n\n[[applications]]\nmanifest = \"../benchmark.toml\"",
        ],
    ),
    warning(
        "unused-lock",
        Plan,
        File,
        [
            "A limit in `[locks]` holds for the applications and steps that name it in `locks`. One that nothing names limits nothing, and is often misspelt.",
            "locks = { us_east_1 = 2 }",
            "locks = { us_east_1 = 2 }\n\n[[applications]]\nmanifest = \"../benchmark.toml\"\nlocks = [\"us_east_1\"]",
        ],
    ),
    warning(
        "unused-var",
        Plan,
        File,
        [
            "The `vars` of an application are values for placeholders of the plan. One that no placeholder reads has no effect, and is often misspelt.",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\nvars = { rate = 37 }",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\nvars = { rate = 37 }\n\n[load]\nconstant = \"{{vars.rate}}\"\nduration = \"10s\"",
        ],
    ),
    error(
        "invalid-together",
        Plan,
        Names(&["concurrency", "trials", "applications"]),
        [
            "Loads begin together only where the applications run side by side, with a load for each and one trial on each deployment. Neither a lock nor a step before a load may keep them apart.",
            "[concurrency]\ntogether = true",
            "[concurrency]\ndeploy = 2\ninvoke = 2\ntogether = true\n\n[trials]\norder = \"interleaved\"",
        ],
    ),
    error(
        "invalid-until",
        Plan,
        Names(&["until", "per_deployment"]),
        [
            "`until` ends the trials of a deployment once they are precise enough, so it replaces a fixed number. Between `min` and `max` something must be left to decide. `max` trials must be able to send what the figure needs.",
            "[trials]\nper_deployment = 5\nuntil = { of = \"p50\", relative_width = 0.05, max = 30 }",
            "[trials]\nuntil = { of = \"p50\", relative_width = 0.05, max = 30 }",
        ],
    ),
    error(
        "invalid-start",
        Plan,
        Names(&["start", "traces", "targets"]),
        [
            "`start` says whether trials begin cold or warm. It is checked against traces, so the target must have some.",
            "[[applications]]\nmanifest = \"../no-traces.toml\"\n\n[trials]\nstart = \"cold\"",
            "[trials]\nstart = \"cold\"",
        ],
    ),
    error(
        "invalid-request",
        Plan,
        Nothing,
        [
            "The parameters that a plan gives must leave every request one that can be sent.",
            "[params]\nhost = \"a b\"",
            "[params]\nhost = \"localhost\"",
        ],
    ),
    error(
        "unknown-cost",
        Plan,
        Names(&["usage", "targets"]),
        [
            "A budget in US dollars can be kept only where the usage of each cloud target is declared.",
            "[[applications]]\nmanifest = \"../aws.toml\"\n\n[budget]\ncost_usd = 10",
            "[[applications]]\nmanifest = \"../benchmark.toml\"\n\n[budget]\ncost_usd = 10",
        ],
    ),
    warning(
        "over-budget",
        Plan,
        File,
        [
            "By the usage that targets declare, the plan costs more than its budget. It would stop before its end.",
            "[[applications]]\nmanifest = \"../dear.toml\"\n\n[budget]\ncost_usd = 1",
            "[[applications]]\nmanifest = \"../dear.toml\"\n\n[budget]\ncost_usd = 1000",
        ],
    ),
];
