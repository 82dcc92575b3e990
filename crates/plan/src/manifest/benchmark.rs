//! The raw shape of `benchmark.toml`. The doc comments are the descriptions in the JSON Schema.

use crate::manifest::decode::{Map, Text, choice, shape, words};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{OneOrMany, Period, Scalar, Size};
use crate::manifest::workload::WorkloadFile;
use sb_workload::template::Template;

shape! {
    /// Says how to deploy, load and clean up one application.
    #[cfg_attr(test, schemars(title = "sb benchmark"))]
    pub(crate) struct BenchmarkFile {
        /// What the benchmark is called and where it lives.
        benchmark: HeaderFile,
        /// A deployment's configuration. Steps use it as `{{params.name}}`. Example: `memory_size = 1024`.
        params: Option<Map<Spanned<ParamFile>>>,
        /// Container images by alias. Example: `deploy = { dockerfile = "deploy.Dockerfile" }`.
        images: Option<Map<Spanned<ImageFile>>>,
        /// Where the benchmark can be deployed, at least one. Example: `[targets.local]`.
        targets: Map<Spanned<TargetFile>>,
        /// Steps that deploy the application, in order unless `needs` says otherwise.
        deploy: Option<Vec<Spanned<StepFile>>>,
        /// What is sent: a table, or the path of a file with the same keys. Example: `workload = "../workloads/upload.toml"`.
        workload: Option<Spanned<WorkloadOrPath>>,
        /// Steps of one trial. Default: one step that drives the workload with the chosen load.
        invoke: Option<Vec<Spanned<StepFile>>>,
        /// Steps that remove what was deployed. All of them run, even after one fails.
        cleanup: Option<Vec<Spanned<StepFile>>>,
    }
}

shape! {
    /// What the benchmark is called and where it lives.
    pub(crate) struct HeaderFile {
        /// Letters, digits, `-` and `_`. Example: `"thumbnail-generator"`.
        name: Text,
        /// One sentence for people. Example: `"Creates a thumbnail for every image uploaded to a bucket."`.
        description: Option<String>,
        /// Folder mounted into every container, relative to this file; it may be a parent folder but stays inside the git work tree. Default: `"."`.
        root: Option<Text>,
    }
}

choice! {
    /// A parameter's value, or where it comes from.
    pub(crate) enum ParamFile: "a value or a table with `env` or `random_hex`" {
        /// A plain value; an override must have the same type.
        String | Integer | Float | Boolean => Value(Scalar),
        /// Where the value comes from.
        Table => Source(ParamSourceFile),
    }
}

shape! {
    /// Where a parameter's value comes from: exactly one of `env` and `random_hex`.
    pub(crate) struct ParamSourceFile {
        /// The environment variable that holds the value. Example: `{ env = "MY_KEY" }`.
        env: Option<Text>,
        /// Used when the environment variable is not set. Example: `{ env = "REGION", default = "us-east-1" }`.
        default: Option<Text>,
        /// That many random hexadecimal digits, drawn once per deployment and then kept (1 to 64). Example: `{ random_hex = 10 }`.
        random_hex: Option<Spanned<i64>>,
        /// Never written to a journal, log, report or argument list. Example: `{ env = "MY_KEY", secret = true }`.
        secret: Option<bool>,
    }
}

choice! {
    /// An image: a reference, or how to build it.
    pub(crate) enum ImageFile: "an image reference or a table with `dockerfile`" {
        /// A reference. Example: `"amazon/aws-cli:2.27.0"`.
        String => Reference(String),
        /// How to build it.
        Table => Build(BuildFile),
    }
}

shape! {
    /// An image built from a Dockerfile.
    pub(crate) struct BuildFile {
        /// Path of the Dockerfile, relative to this file. Example: `"deploy.Dockerfile"`.
        dockerfile: Text,
        /// Folder sent to the build, relative to this file. Default: `"."`.
        context: Option<Text>,
        /// Build arguments. Example: `args = { VERSION = "1.2" }`.
        args: Option<Map<String>>,
    }
}

shape! {
    /// A place where the benchmark can be deployed.
    pub(crate) struct TargetFile {
        /// The most that steps of this target may ask for. Example: `["aws"]`.
        credentials: Option<Vec<Text>>,
        /// Where `sam` and `bicep` steps deploy. Default: what the target's name, traces and credentials say. Example: `"aws"`.
        platform: Option<Spanned<PlatformWord>>,
        /// Where traces come from: a word, or a table with `app_insights`, `google` or `otlp`. Example: `"xray"`. Default: `"none"`.
        traces: Option<Spanned<TracesFile>>,
        /// With the traces `"xray"` and `"local"`: whether a trace and those that link to it, such as of who gets its messages, are fetched and analysed as one. Default: `false`.
        join_linked: Option<Spanned<bool>>,
        /// What one invocation uses, in units of the price table, for estimates of cost. Example: `{ lambda_requests = 2, lambda_gb_seconds = 0.6, xray_traces = 1 }`.
        usage: Option<Map<Spanned<f64>>>,
        /// What one deployment uses beside its invocations. Example: `{ s3_writes = 20 }`.
        usage_per_deployment: Option<Map<Spanned<f64>>>,
        /// Of the local target: executions at once, all functions together; more are throttled. Default: 20 at once, and requests wait for room.
        concurrency: Option<Spanned<i64>>,
        /// Of the local target: how long an idle instance is kept. Default: `"10m"`. Example: `"30s"`.
        keep_alive: Option<Spanned<Period>>,
        /// Of the local target: whether functions run in containers (Docker or Podman) instead of as processes. Default: `false`.
        containers: Option<Spanned<bool>>,
        /// Of the local target: images that take the place of AWS's, by the functions' runtime. Example: `{ "python3.12" = "registry.example/lambda-python:3.12" }`.
        function_images: Option<Spanned<Map<Text>>>,
        /// Of the local target: what its delays and faults are drawn from. Default: 0.
        seed: Option<Spanned<i64>>,
        /// Of the local target: delays that it adds. Example: `{ cold_start = { median = "200ms", p99 = "1s" }, trigger = "50ms" }`.
        delays: Option<Spanned<DelaysFile>>,
        /// Of the local target: what goes wrong on purpose. Example: `{ function_error = 0.01, deploy = 1 }`.
        faults: Option<Spanned<FaultsFile>>,
    }
}

shape! {
    /// Delays that the local target adds to what this machine needs itself.
    pub(crate) struct DelaysFile {
        /// To the initialization of a new instance.
        cold_start: Option<Spanned<DelayFile>>,
        /// Between the acceptance of an asynchronous event and its first attempt.
        trigger: Option<Spanned<DelayFile>>,
        /// Before a function's call of another service is passed on.
        service: Option<Spanned<DelayFile>>,
    }
}

choice! {
    /// A delay: always the same, or drawn anew each time.
    pub(crate) enum DelayFile: "a duration or a table with `median` and `p99`" {
        /// Always the same. Example: `"50ms"`.
        String => Fixed(Period),
        /// Drawn from a log-normal distribution.
        Table => Distribution(DistributionFile),
    }
}

shape! {
    /// A log-normal distribution.
    pub(crate) struct DistributionFile {
        /// Half of the delays are shorter. Example: `"200ms"`.
        median: Spanned<Period>,
        /// Of 100 delays 99 are shorter. Example: `"1s"`.
        p99: Spanned<Period>,
    }
}

shape! {
    /// What goes wrong on purpose: rates from 0 to 1, and numbers of times.
    pub(crate) struct FaultsFile {
        /// Share of invocations that fail instead of reaching the function.
        function_error: Option<Spanned<f64>>,
        /// Share of calls that are refused as one too many (429); an event waits and is tried again.
        throttle: Option<Spanned<f64>>,
        /// Share of asynchronous events that are accepted and never arrive.
        lost_message: Option<Spanned<f64>>,
        /// Share of calls of other services that take 2 s longer.
        slow_service: Option<Spanned<f64>>,
        /// So many first attempts of the step that starts the runtime fail.
        deploy: Option<Spanned<i64>>,
        /// So many first attempts of the step that stops it fail.
        cleanup: Option<Spanned<i64>>,
    }
}

choice! {
    /// Where traces come from.
    pub(crate) enum TracesFile: "a word such as \"xray\" or a table with `app_insights`, `google` or `otlp`" {
        /// A tracer.
        String => Word(TracesWord),
        /// A tracer that needs to be told more.
        Table => Source(Box<TracesSourceFile>),
    }
}

words! {
    /// Where a target is.
    pub(crate) enum PlatformWord {
        /// Amazon Web Services.
        Aws = "aws",
        /// The local target.
        Local = "local",
        /// Microsoft Azure.
        Azure = "azure",
        /// Google Cloud.
        Google = "google",
        /// Somewhere else, which steps alone know.
        None = "none",
    }
}

words! {
    /// Where traces come from.
    pub(crate) enum TracesWord {
        /// AWS X-Ray.
        Xray = "xray",
        /// AWS CloudWatch Transaction Search: X-Ray's traces, out of the log group `aws/spans`.
        TransactionSearch = "transaction_search",
        /// Azure Application Insights: the application's id is `{{outputs.app_insights_id}}`, the API key or the token is in the environment.
        AppInsights = "app_insights",
        /// Google Cloud Trace: the project's id is `{{outputs.google_project}}`, the token is in the environment variable `SB_GOOGLE_TOKEN`.
        Google = "google",
        /// A receiver for OpenTelemetry on this machine, which runs from the first deploy step to the last cleanup step.
        Otlp = "otlp",
        /// The local target.
        Local = "local",
        /// No traces are collected.
        None = "none",
    }
}

shape! {
    /// Where traces come from: exactly one of `app_insights`, `google` and `otlp`.
    pub(crate) struct TracesSourceFile {
        /// The id of the application in Azure Application Insights. Example: `"{{outputs.app_insights_id}}"`.
        app_insights: Option<Spanned<Template>>,
        /// With `app_insights`: its API key, best a secret parameter. Default: the environment variable `SB_APP_INSIGHTS_API_KEY`. Example: `"{{params.insights_key}}"`.
        api_key: Option<Spanned<Template>>,
        /// With `app_insights`, instead of a key: a token of Entra. With `google`: an access token. Default: the environment variable `SB_APP_INSIGHTS_TOKEN` or `SB_GOOGLE_TOKEN`. Example: `"{{params.insights_token}}"`.
        token: Option<Spanned<Template>>,
        /// With `app_insights` or `google`: where its API is, for other clouds than the public one. Default: `"https://api.applicationinsights.io"`, `"https://cloudtrace.googleapis.com"`.
        endpoint: Option<Spanned<Template>>,
        /// The id of the project in Google Cloud Trace. Example: `"{{params.project}}"`.
        google: Option<Spanned<Template>>,
        /// A file to which the application's spans are exported as OTLP JSON, relative to this file. Example: `"spans.json"`.
        otlp: Option<Spanned<Template>>,
    }
}

choice! {
    /// The workload itself, or the file that holds it.
    pub(crate) enum WorkloadOrPath: "a table or the path of a workload file" {
        /// Path of a TOML or YAML file with the keys of `[workload]`, relative to this file.
        String => Path(String),
        /// The workload itself.
        Table => Inline(Box<WorkloadFile>),
    }
}

shape! {
    /// One step, with exactly one action: `run`, `wait`, `wait_for`, `load`, `local`, `sam`, `bicep`, `cdk` or `terraform`.
    pub(crate) struct StepFile {
        /// Unique per phase and target; letters, digits, `-` and `_`. Example: `"stack"`.
        name: Text,
        /// A target or a list of them; default: every target. Example: `target = ["aws", "local"]`.
        target: Option<OneOrMany<Text>>,
        /// Steps of the same phase that must succeed first; default: the step before. `[]` starts at once. Example: `needs = ["stack"]`.
        needs: Option<OneOrMany<Text>>,
        /// Action: a command. A string goes to the shell, with values quoted; a list of words meets no shell. Example: `run = ["sam", "deploy"]`.
        run: Option<Spanned<RunFile>>,
        /// With `run`, only in deploy steps: the command is kept alive until the deployment's cleanup has run. Default: false. Example: `background = true`.
        background: Option<Spanned<bool>>,
        /// With `background`: when the step counts as ready, and what needs it starts. Example: `ready = { port = 5432 }`.
        ready: Option<Spanned<ReadyFile>>,
        /// Action: waits this long. Example: `wait = "30s"`.
        wait: Option<Spanned<Period>>,
        /// Action: waits until a URL answers. Example: `wait_for = { http = "{{outputs.endpoint}}/health" }`.
        wait_for: Option<Spanned<WaitForFile>>,
        /// Action, only in invoke steps: drives the workload with the chosen load. Example: `load = true`.
        load: Option<Spanned<bool>>,
        /// Action: the local target. Example: `local = { template = "template.yaml" }`.
        local: Option<Spanned<LocalFile>>,
        /// Action: a SAM template, on AWS or on the local target, as the target's platform says. Example: `sam = { template = "template.yaml" }`.
        sam: Option<Spanned<SamFile>>,
        /// Action: a Bicep template, on Azure. Example: `bicep = { template = "main.bicep", group = "sb-shop-{{params.deploy_id}}", location = "eastus" }`.
        bicep: Option<Spanned<BicepFile>>,
        /// Action: an application of the AWS CDK, on AWS. Example: `cdk = { dir = "infra", stack = "Shop" }`.
        cdk: Option<Spanned<CdkFile>>,
        /// Action: a Terraform or OpenTofu folder. Example: `terraform = { dir = "infra", variables = { memory = "{{params.memory_size}}" } }`.
        terraform: Option<Spanned<TerraformFile>>,
        /// An alias from `[images]` or an image reference; default: a small Alpine image. Example: `image = "deploy"`.
        image: Option<Text>,
        /// The shell that takes a `run` string. Default: `["sh", "-c"]`. Example: `["bash", "-euo", "pipefail", "-c"]`.
        shell: Option<Spanned<Vec<String>>>,
        /// Environment variables. Example: `env = { KEY = "{{params.api_key}}" }`.
        env: Option<Map<Spanned<Template>>>,
        /// Working directory, relative to this file. Example: `workdir = "infrastructure"`.
        workdir: Option<Spanned<Template>>,
        /// User (and group) in the container. Example: `user = "1000:1000"`.
        user: Option<String>,
        /// Docker network. Example: `network = "host"`.
        network: Option<String>,
        /// Limits of the container. Example: `limits = { cpus = 1.5, memory = "512MiB" }`.
        limits: Option<LimitsFile>,
        /// Credentials mounted into the step, within the target's ceiling. Example: `credentials = ["aws"]`.
        credentials: Option<Vec<Text>>,
        /// The step fails after this long. Example: `timeout = "20m"`.
        timeout: Option<Spanned<Period>>,
        /// Tries again after a failure. Example: `retry = { attempts = 2, delay = "30s" }`. Default: steps of deploy and cleanup that a cloud throttled are tried again, twice.
        retry: Option<RetryFile>,
        /// What depends on this step goes on even if it fails. Default: false.
        allow_failure: Option<bool>,
        /// Commands that run in order after a failed attempt, before the next. Example: `recover = [ { run = "./unlock.sh" } ]`.
        recover: Option<Vec<Spanned<RecoverFile>>>,
        /// Values taken from what the step wrote; later steps use them as `{{outputs.name}}`. Example: `outputs.endpoint = { line = -1 }`.
        outputs: Option<Map<Spanned<OutputFile>>>,
        /// What an interruption of the runner means for a step that cannot be found again. Default: `"rerun"`.
        on_interrupt: Option<OnInterruptWord>,
        /// Named limits taken while the step runs; a plan's `[locks]` says how many may hold one at once (else 1). Example: `locks = ["us_east_1"]`.
        locks: Option<Vec<Text>>,
    }
}

choice! {
    /// A command.
    pub(crate) enum RunFile: "a shell string or a list of words" {
        /// A shell command line; values in it are shell-quoted.
        String => Shell(Template),
        /// Words that meet no shell.
        Array => Argv(Vec<Spanned<Template>>),
    }
}

choice! {
    /// When a background step counts as ready.
    pub(crate) enum ReadyFile: "\"at_once\" or a table with `http`, `port` or `log`" {
        /// As soon as its program runs.
        String => Word(ReadyWord),
        /// When a condition holds.
        Table => When(Box<ReadyConditionFile>),
    }
}

words! {
    /// When a background step counts as ready.
    pub(crate) enum ReadyWord {
        /// As soon as its program runs.
        AtOnce = "at_once",
    }
}

shape! {
    /// What makes a background step ready: exactly one of `http`, `port` and `log`.
    pub(crate) struct ReadyConditionFile {
        /// A URL that answers. Example: `"http://127.0.0.1:8080/health"`.
        http: Option<Spanned<Template>>,
        /// With `http`: the status that counts. Default: 200.
        status: Option<Spanned<i64>>,
        /// A TCP port of this machine that takes connections. Example: `5432`.
        port: Option<Spanned<PortFile>>,
        /// A regular expression that matches something that the step has printed. Example: `"ready to accept connections"`.
        log: Option<Text>,
        /// The step fails when it is not ready after this long. Default: `"2m"`.
        timeout: Option<Spanned<Period>>,
    }
}

choice! {
    /// A TCP port.
    pub(crate) enum PortFile: "a port number, or a string with a placeholder" {
        /// From 1 to 65535.
        Integer => Number(i64),
        /// Such as of a parameter. Example: `"{{params.port}}"`.
        String => Value(Template),
    }
}

shape! {
    /// Waits until a URL answers with a status.
    pub(crate) struct WaitForFile {
        /// The URL that is asked about once per second. Example: `"{{outputs.endpoint}}/health"`.
        http: Spanned<Template>,
        /// The status that ends the wait. Default: 200.
        status: Option<Spanned<i64>>,
        /// Gives up after this long. Default: `"2m"`.
        timeout: Option<Spanned<Period>>,
    }
}

shape! {
    /// The local target: exactly one of `template` and `down`.
    pub(crate) struct LocalFile {
        /// Starts the functions of this SAM template; it runs until its cleanup. Example: `"template.yaml"`.
        template: Option<Text>,
        /// Values of the template's parameters, before those of the benchmark. Example: `{ DatabaseUrl = "{{outputs.database_url}}" }`.
        parameters: Option<Map<Spanned<Template>>>,
        /// Stand-ins of AWS services that the local target does not have: where calls go, by the service's name in signatures. Example: `{ rekognition = "{{outputs.rekognition_url}}" }`.
        services: Option<Map<Spanned<Template>>>,
        /// Stops it; only in cleanup steps. Example: `local = { down = true }`.
        down: Option<Spanned<bool>>,
    }
}

shape! {
    /// A SAM or CloudFormation template: exactly one of `template` and `down`.
    pub(crate) struct SamFile {
        /// Deploys this template; the cleanup removes it, without a step of its own. Example: `"template.yaml"`.
        template: Option<Text>,
        /// Values of the template's parameters, before those of the benchmark. Example: `{ MemorySize = "{{params.memory_size}}" }`.
        parameters: Option<Map<Spanned<Template>>>,
        /// On the local target: stand-ins of AWS services that it does not have. Example: `{ rekognition = "{{outputs.rekognition_url}}" }`.
        services: Option<Map<Spanned<Template>>>,
        /// Removes what the deploy step of the same name has deployed; only in cleanup steps. Example: `sam = { down = true }`.
        down: Option<Spanned<bool>>,
    }
}

shape! {
    /// A Bicep template: exactly one of `template` and `down`.
    pub(crate) struct BicepFile {
        /// Deploys this template into a resource group; the cleanup deletes the group, without a step of its own. Example: `"azure/main.bicep"`.
        template: Option<Text>,
        /// With `template`: the name of the resource group. It must differ by deployment. Example: `"sb-shop-{{params.deploy_id}}"`.
        group: Option<Spanned<Template>>,
        /// With `template`: where the group is made. Example: `"{{params.azure_location}}"`.
        location: Option<Spanned<Template>>,
        /// Values of the template's parameters, before those of the benchmark. Example: `{ maxSide = "{{params.max_side}}" }`.
        parameters: Option<Map<Spanned<Template>>>,
        /// Deletes the group of the deploy step of the same name; only in cleanup steps. Example: `bicep = { down = true }`.
        down: Option<Spanned<bool>>,
    }
}

shape! {
    /// An application of the AWS CDK: exactly one of `dir` and `down`.
    pub(crate) struct CdkFile {
        /// Synthesizes the application of this folder and deploys its stack; the cleanup removes it, without a step of its own. Example: `"infra"`.
        dir: Option<Text>,
        /// With `dir`: the command of the application. Default: what `cdk.json` says. Example: `"node app.js"`.
        app: Option<Text>,
        /// With `dir`: the stack. Default: the only one. Example: `"Shop"`.
        stack: Option<Text>,
        /// With `dir`: values of the CDK's context. Example: `{ memory = "{{params.memory_size}}" }`.
        context: Option<Map<Spanned<Template>>>,
        /// With `dir`: values of the template's parameters, before those of the benchmark. Example: `{ MemorySize = "{{params.memory_size}}" }`.
        parameters: Option<Map<Spanned<Template>>>,
        /// Removes the stack of the deploy step of the same name; only in cleanup steps. Example: `cdk = { down = true }`.
        down: Option<Spanned<bool>>,
    }
}

shape! {
    /// A Terraform folder: exactly one of `dir` and `down`.
    pub(crate) struct TerraformFile {
        /// Deploys this folder; the cleanup destroys it, without a step of its own. Example: `"infra"`.
        dir: Option<Text>,
        /// With `dir`: values of its variables, before those of the benchmark. Lists and maps are written as in Terraform. Example: `{ memory = "{{params.memory_size}}" }`.
        variables: Option<Map<Spanned<Template>>>,
        /// With `dir`: what deploys it. Default: `"terraform"`.
        program: Option<Spanned<ProgramWord>>,
        /// Destroys what the deploy step of the same name has deployed; only in cleanup steps. Example: `terraform = { down = true }`.
        down: Option<Spanned<bool>>,
    }
}

words! {
    /// A program that deploys Terraform folders.
    pub(crate) enum ProgramWord {
        /// Terraform.
        Terraform = "terraform",
        /// OpenTofu.
        Tofu = "tofu",
    }
}

shape! {
    /// Limits of a step's container.
    pub(crate) struct LimitsFile {
        /// Processors, fractions allowed. Example: `1.5`.
        cpus: Option<Spanned<f64>>,
        /// Memory. Example: `"512MiB"`.
        memory: Option<Spanned<Size>>,
    }
}

shape! {
    /// Tries again after a failure.
    pub(crate) struct RetryFile {
        /// Attempts in total, at least 1. Example: `2`.
        attempts: Spanned<i64>,
        /// Pause before the next attempt. Default: `"0s"`. Example: `"30s"`.
        delay: Option<Spanned<Period>>,
        /// By this factor each further pause is longer (1 to 100). Default: 1. Example: `2`.
        backoff: Option<Spanned<f64>>,
        /// The longest pause. Default: `"10m"`, or `delay` where that is longer.
        max_delay: Option<Spanned<Period>>,
        /// Failures after which the step is tried again. Default: all but `out_of_memory` and `no_command`. Example: `on = ["throttled", "timed_out"]`.
        on: Option<Spanned<OneOrMany<RetryWord>>>,
    }
}

words! {
    /// A kind of failure.
    pub(crate) enum RetryWord {
        /// The step's own work failed: its exit code, a check, a missing output.
        Failed = "failed",
        /// It did not end within its timeout.
        TimedOut = "timed_out",
        /// It ran out of memory.
        OutOfMemory = "out_of_memory",
        /// Its program, image or runtime could not be started.
        NotStarted = "not_started",
        /// A command was not found, or may not be executed (exit codes 127 and 126).
        NoCommand = "no_command",
        /// The Docker engine did not answer, or went away.
        EngineUnreachable = "engine_unreachable",
        /// A cloud refused it, because it was asked too much too fast.
        Throttled = "throttled",
    }
}

shape! {
    /// A command after a failed attempt; what it does not say, it takes from its step.
    pub(crate) struct RecoverFile {
        /// The command, as in a step.
        run: Spanned<RunFile>,
        /// An alias from `[images]` or an image reference.
        image: Option<Text>,
        /// The shell that takes a `run` string.
        shell: Option<Spanned<Vec<String>>>,
        /// Environment variables.
        env: Option<Map<Spanned<Template>>>,
        /// Working directory, relative to this file.
        workdir: Option<Spanned<Template>>,
        /// User (and group) in the container.
        user: Option<String>,
        /// Docker network.
        network: Option<String>,
        /// Limits of the container.
        limits: Option<LimitsFile>,
        /// Credentials mounted into the command, within the target's ceiling.
        credentials: Option<Vec<Text>>,
    }
}

shape! {
    /// A value taken from what a step wrote: exactly one of `json` (without `file`), `regex`, `line`, `stdout`, `file`.
    pub(crate) struct OutputFile {
        /// JSON pointer into standard output, or into `file`. Example: `"/Stacks/0/Outputs/0/OutputValue"`.
        json: Option<Text>,
        /// First capture group (or the whole match) of the first match in standard output. Example: `'https://\S+'`.
        regex: Option<Text>,
        /// Line of standard output, from 1; negative counts from the end. Example: `-1`.
        line: Option<Spanned<i64>>,
        /// All of standard output. Example: `{ stdout = true }`.
        stdout: Option<Spanned<bool>>,
        /// A file relative to this manifest, whole or with `json` a value in it. Example: `{ file = "outputs.json", json = "/url" }`.
        file: Option<Text>,
        /// Used when the value cannot be found or the step did not run; cleanup steps need it. Example: `default = ""`.
        default: Option<Scalar>,
        /// Never written to a journal, log, report or argument list. Default: false.
        secret: Option<bool>,
    }
}

words! {
    /// What an interruption of the runner means for a step that cannot be found again.
    pub(crate) enum OnInterruptWord {
        /// The step runs again as a new attempt.
        Rerun = "rerun",
        /// The step counts as failed.
        Fail = "fail",
    }
}
