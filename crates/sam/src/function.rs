//! The properties of a function.

use std::collections::BTreeMap;
use std::time::Duration;

use super::intrinsics::Scope;
use super::tree::{Entry, Fault, Node, Value};
use super::{Function, Reader, Resource, entries, problem};

/// Properties of a function that are left out without harm.
pub(super) const HARMLESS_PROPERTIES: [&str; 16] = [
    "Policies",
    "Role",
    "PermissionsBoundary",
    "Architectures",
    "LoggingConfig",
    "VpcConfig",
    "EphemeralStorage",
    "SnapStart",
    "RuntimeManagementConfig",
    "CodeSigningConfigArn",
    "KmsKeyArn",
    "ProvisionedConcurrencyConfig",
    "AutoPublishAlias",
    "DeploymentPreference",
    "RolePath",
    "RecursiveLoop",
];

/// Variables that Lambda sets, and lets nobody else
/// [set](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime).
const RESERVED_VARIABLES: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

impl Reader<'_> {
    /// Takes the variables of an `Environment` over.
    pub(super) fn environment(
        &mut self,
        function: &Resource<'_>,
        node: &Node,
        scope: &Scope<'_>,
        environment: &mut BTreeMap<String, String>,
    ) {
        for variable in entries(node.get("Variables")) {
            let name = &variable.key;
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.len() > 1
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if RESERVED_VARIABLES.contains(&name.as_str()) {
                let message =
                    format!("variable `{name}` is set by Lambda, which refuses another value: rename it");
                self.error(Some(function.id), variable.line, message);
            } else if !is_name {
                let message = format!(
                    "Lambda refuses a variable called `{name}`: at least two letters, digits and `_`, a letter first"
                );
                self.error(Some(function.id), variable.line, message);
            }
            match scope.text(&variable.node) {
                Ok(value) => environment.extend(value.map(|value| (name.clone(), value))),
                Err(fault) => self.problems.push(problem(Some(function.id), fault)),
            }
        }
    }
}

/// Takes one property over into the function.
pub(super) fn set_property(function: &mut Function, entry: &Entry, scope: &Scope<'_>) -> Result<(), Fault> {
    let text = || Ok::<_, Fault>(scope.text(&entry.node)?.unwrap_or_default());
    match entry.key.as_str() {
        // The name is evaluated beforehand, since other resources refer to it; here only its faults are found.
        // Everything is traced, whatever `Tracing` says.
        "FunctionName" | "Tracing" => {
            text()?;
        }
        "Description" | "Tags" => {}
        "Handler" => function.handler = text()?,
        "Runtime" => function.runtime = text()?,
        "CodeUri" => {
            if scope.resolve(&entry.node)?.is_some_and(|node| node.as_text().is_none()) {
                return Err(Fault::new(
                    entry.line,
                    "CodeUri must be a local folder, not an object in a bucket",
                ));
            }
            let code = text()?;
            if code.starts_with("s3://") {
                return Err(Fault::new(
                    entry.line,
                    "CodeUri must be a local folder, not an object in a bucket",
                ));
            }
            function.code = code;
        }
        "Timeout" => function.timeout = Duration::from_secs(number(&text()?, 1..=900, entry)?),
        "MemorySize" => function.memory_mib = number(&text()?, 128..=10_240, entry)?,
        "ReservedConcurrentExecutions" => {
            function.reserved_concurrency = Some(number(&text()?, 0..=1_000, entry)? as u32);
        }
        "PackageType" if text()? == "Zip" => {}
        "PackageType" => {
            return Err(Fault::unsupported(
                entry.line,
                "the function is a container image, which the local target does not run: give it `CodeUri`, `Handler` and \
                 `Runtime`, or deploy to a cloud target",
            ));
        }
        "EventInvokeConfig" => set_event_invoke(function, &entry.node, scope)?,
        "DeadLetterQueue" => {
            let target = entry
                .node
                .get("TargetArn")
                .ok_or_else(|| Fault::new(entry.line, "DeadLetterQueue has no `TargetArn`"))?;
            function.dead_letter = scope.text(target)?;
        }
        other => {
            return Err(Fault::unsupported(
                entry.line,
                format!(
                    "property `{other}` is not supported by the local target: remove it, or deploy to a cloud target"
                ),
            ));
        }
    }
    Ok(())
}

fn set_event_invoke(function: &mut Function, node: &Node, scope: &Scope<'_>) -> Result<(), Fault> {
    for entry in node.entries() {
        let text = || Ok::<_, Fault>(scope.text(&entry.node)?.unwrap_or_default());
        match entry.key.as_str() {
            "MaximumRetryAttempts" => function.retries = number(&text()?, 0..=2, entry)? as u32,
            "MaximumEventAgeInSeconds" => {
                function.max_event_age = Duration::from_secs(number(&text()?, 60..=21_600, entry)?);
            }
            "DestinationConfig" => {
                for destination in entry.node.entries() {
                    let kind = destination.node.get("Type").and_then(Node::as_text).unwrap_or("SQS");
                    if destination.key != "OnFailure" || !matches!(kind, "SQS" | "SNS") {
                        let message = format!(
                            "destination `{}` of type `{kind}` is not supported by the local target: OnFailure to SQS or SNS is (kept in dead-letters.jsonl)",
                            destination.key
                        );
                        return Err(Fault::unsupported(destination.line, message));
                    }
                    // Without a destination SAM makes a queue of its own.
                    function.on_failure = match destination.node.get("Destination") {
                        Some(target) => scope.text(target)?,
                        None => Some(format!("{}OnFailure", function.logical_id)),
                    };
                }
            }
            other => {
                return Err(Fault::new(entry.line, format!("`{other}` is not a key of EventInvokeConfig")));
            }
        }
    }
    Ok(())
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>, entry: &Entry) -> Result<u64, Fault> {
    let value = text.parse::<u64>().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| {
        Fault::new(
            entry.line,
            format!(
                "{} is `{text}`: it must be a whole number from {} to {}",
                entry.key,
                range.start(),
                range.end()
            ),
        )
    })
}

/// SAM's rule for Globals: a function's own value wins; environment variables and tags are joined.
pub(super) fn merge(global: &[Entry], own: &[Entry]) -> Vec<Entry> {
    let mut merged = global.to_vec();
    for entry in own {
        match merged.iter_mut().find(|other| other.key == entry.key) {
            None => merged.push(entry.clone()),
            Some(existing) => match (&mut existing.node.value, &entry.node.value) {
                (Value::Map(inherited), Value::Map(added)) => {
                    *inherited = merge(inherited, added);
                    existing.line = entry.line;
                }
                _ => *existing = entry.clone(),
            },
        }
    }
    merged
}
