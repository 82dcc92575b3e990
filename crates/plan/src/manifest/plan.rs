//! The raw shape of `plans/*.toml`. The doc comments are the descriptions in the JSON Schema.

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::manifest::decode::{Decode, Map, Text, shape, words, wrong_type};
use crate::manifest::load::{LoadFile, LoadOrName};
use crate::manifest::problem::{Report, Span};
use crate::manifest::tree::{Kind, Node, Spanned};
use crate::manifest::values::{Or, Period, Scalar};
use crate::plan::Executor;
use sb_workload::template::Template;

shape! {
    /// An experiment: applications, a matrix of factors, a load, and how often and in which order.
    #[cfg_attr(test, schemars(title = "sb plan"))]
    pub(crate) struct PlanFile {
        /// What the plan is called.
        plan: PlanHeaderFile,
        /// The applications, at least one; the same manifest may appear twice under different names.
        applications: Spanned<Vec<Spanned<ApplicationFile>>>,
        /// Factors and their levels, `exclude` and `include`. Example: `memory_size = [512, 1024]`.
        matrix: Option<MatrixFile>,
        /// How factors reach a manifest: parameters of every application. Example: `memory_size = "{{matrix.memory_size}}"`.
        params: Option<Map<Spanned<Or<Scalar>>>>,
        /// How often and in which order.
        trials: Option<TrialsFile>,
        /// The load of every application without its own: a table, or a name from `[loads]` (then at the top of the file). Default: one invocation.
        load: Option<Spanned<LoadOrName>>,
        /// Loads by name. Example: `[loads.burst]`.
        loads: Option<Map<LoadFile>>,
        /// Pauses.
        timing: Option<TimingFile>,
        /// How much happens at once.
        concurrency: Option<ConcurrencyFile>,
        /// Further named limits, taken by steps or applications. Example: `us_east_1 = 2`.
        locks: Option<Map<Spanned<i64>>>,
        /// When to stop early.
        budget: Option<BudgetFile>,
        /// Names for the results, by which reports group. Example: `label = "exp3_{{matrix.rate}}"`.
        labels: Option<Map<Spanned<Template>>>,
    }
}

shape! {
    /// What the plan is called.
    pub(crate) struct PlanHeaderFile {
        /// Letters, digits, `-` and `_`. Example: `"exp3-invocation-patterns"`.
        name: Text,
        /// One sentence for people.
        description: Option<String>,
        /// Where steps run; default: what the settings say. Example: `"docker"`.
        executor: Option<Executor>,
        /// Docker engines that send the loads of k6 scripts together, each its share; instead of those that a workload names. Example: `["ssh://lg1", "ssh://lg2"]`.
        load_generators: Option<Spanned<Vec<Text>>>,
    }
}

shape! {
    /// One application at one target.
    pub(crate) struct ApplicationFile {
        /// Unique in the plan. Default: the benchmark's name.
        name: Option<Text>,
        /// Path of the benchmark's manifest, relative to this file. Example: `"../applications/thumbnail-generator/benchmark.toml"`.
        manifest: Text,
        /// A target of the manifest; may be left out when there is only one. Example: `"aws"`.
        target: Option<Text>,
        /// Parameters of this application only. Example: `params = { memory_size = 2048 }`.
        params: Option<Map<Spanned<Or<Scalar>>>>,
        /// Values for templates in this plan, as `{{vars.name}}`. Example: `vars = { rate = 37 }`.
        vars: Option<Map<Scalar>>,
        /// The load of this application: a table or a name from `[loads]`. Example: `load = "burst"`.
        load: Option<Spanned<LoadOrName>>,
        /// Named limits of `[locks]` taken by every step of this application. Example: `locks = ["us_east_1"]`.
        locks: Option<Vec<Text>>,
    }
}

shape! {
    /// How often and in which order.
    pub(crate) struct TrialsFile {
        /// Deployments per application and matrix point. Default: 1.
        repetitions: Option<Spanned<i64>>,
        /// Trials on one deployment. Default: 1.
        per_deployment: Option<Spanned<i64>>,
        /// When the trials of a deployment are precise enough; instead of `per_deployment`. Example: `until = { of = "p99", relative_width = 0.05, max = 30 }`.
        until: Option<UntilFile>,
        /// Order of the trials. Default: `"sequential"`.
        order: Option<OrderWord>,
        /// Of every random choice. Default: 0. Example: `11`.
        seed: Option<u64>,
        /// What the traces of a trial must show, or it is invalid: `"cold"`, `"warm"` or `"cold_then_warm"`. Default: anything. Example: `"{{matrix.start}}"`.
        start: Option<Spanned<Or<StartWord>>>,
    }
}

shape! {
    /// After a trial, no further one begins once a figure is known precisely enough.
    pub(crate) struct UntilFile {
        /// Which figure of the latency, of each type of requests: `"p50"`, `"p90"`, `"p95"`, `"p99"` or `"mean"`.
        of: FigureWord,
        /// The width of its interval as a share of it. Example: `0.05`.
        relative_width: Spanned<f64>,
        /// How sure the interval is, 0.5 to 0.999. Default: 0.95.
        confidence: Option<Spanned<f64>>,
        /// Trials that are always done. Default: 3.
        min: Option<Spanned<i64>>,
        /// Trials after which it ends in any case. Example: `30`.
        max: Spanned<i64>,
    }
}

words! {
    /// A figure of the latency.
    pub(crate) enum FigureWord {
        /// The arithmetic mean.
        Mean = "mean",
        /// The median.
        P50 = "p50",
        /// The 90th percentile.
        P90 = "p90",
        /// The 95th percentile.
        P95 = "p95",
        /// The 99th percentile.
        P99 = "p99",
    }
}

words! {
    /// Order of the trials.
    pub(crate) enum OrderWord {
        /// All of one application and point, then the next.
        Sequential = "sequential",
        /// The first of each, then the second of each.
        Interleaved = "interleaved",
        /// Shuffled by the seed.
        Random = "random",
    }
}

words! {
    /// What the traces of a trial must show.
    pub(crate) enum StartWord {
        /// The first invocation meets a cold start.
        Cold = "cold",
        /// No invocation meets a cold start.
        Warm = "warm",
        /// The first trial on each deployment is cold, later ones are warm.
        ColdThenWarm = "cold_then_warm",
    }
}

shape! {
    /// Pauses. None of them holds a slot.
    pub(crate) struct TimingFile {
        /// Between deployment and load. Default: `"0s"`. Example: `"30s"`.
        before_invoke: Option<Spanned<Period>>,
        /// Between load and collecting traces. Default: `"0s"`. Example: `"5m"`.
        before_traces: Option<Spanned<Period>>,
        /// Between trials of one deployment. Default: `"0s"`.
        min_idle: Option<Spanned<Period>>,
    }
}

shape! {
    /// How much happens at once.
    pub(crate) struct ConcurrencyFile {
        /// Deployments being made at once. Default: 1.
        deploy: Option<Spanned<i64>>,
        /// Loads leaving this machine at once. Default: 1.
        invoke: Option<Spanned<i64>>,
        /// No build and no deployment on this machine while a load runs. Default: true.
        quiet: Option<bool>,
        /// The loads of a round begin together, once all of its applications are deployed. Default: false.
        together: Option<Spanned<bool>>,
    }
}

shape! {
    /// When to stop early: nothing new starts, and everything is cleaned up.
    pub(crate) struct BudgetFile {
        /// Failed attempts of steps. Example: `10`.
        errors: Option<Spanned<i64>>,
        /// Time since the start. Example: `"48h"`.
        duration: Option<Spanned<Period>>,
        /// Predicted cost in US dollars, by what the targets declare as `usage`. Example: `200`.
        cost_usd: Option<Spanned<f64>>,
    }
}

/// Factors, and the two reserved keys that change their product.
#[derive(Clone, Debug, Default)]
pub(crate) struct MatrixFile {
    pub factors: Map<Spanned<Vec<Spanned<Scalar>>>>,
    pub exclude: Vec<Spanned<Map<Spanned<Scalar>>>>,
    pub include: Vec<Spanned<Map<Spanned<Scalar>>>>,
}

/// Points that are left out or added. What is wrong is left out.
fn points(key: &Spanned<String>, value: &Node, report: &mut Report) -> Vec<Spanned<Map<Spanned<Scalar>>>> {
    Decode::decode(value, report).unwrap_or_else(|| {
        report.leave_out(key.span.start, key, Some(value));
        Vec::new()
    })
}

impl Decode for MatrixFile {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Table(entries) = &node.value else {
            return wrong_type(node, "a table", report);
        };
        let mut matrix = Self::default();
        for (key, value) in entries {
            match key.value.as_str() {
                "exclude" => matrix.exclude = points(key, value, report),
                "include" => matrix.include = points(key, value, report),
                _ => match Decode::decode(value, report) {
                    Some(levels) => matrix.factors.0.push((key.clone(), levels)),
                    None => report.leave_out(key.span.start, key, Some(value)),
                },
            }
        }
        Some(matrix)
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
impl JsonSchema for MatrixFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MatrixFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let levels = generator.subschema_for::<Vec<Scalar>>();
        let points = generator.subschema_for::<Vec<Map<Scalar>>>();
        json_schema!({
            "description": "Factors and their levels: every combination is a point.",
            "type": "object",
            "properties": {
                "exclude": {
                    "description": "Points to leave out: every point that has all of these levels. `application` and `target` may be named too. Example: `[ { rate = 100, application = \"thumbnails\" } ]`.",
                    "allOf": [points],
                },
                "include": {
                    "description": "Points to add after the product; each gives every factor a level, and may name `application` and `target`.",
                    "allOf": [points],
                },
                "application": false,
                "target": false,
            },
            "additionalProperties": { "allOf": [levels], "minItems": 1, "uniqueItems": true },
        })
    }
}
