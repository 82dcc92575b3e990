//! Reads traces from Azure Application Insights: results of a query over requests, dependencies and traces, one JSON
//! object per trace.
//!
//! | row | origin |
//! |---|---|
//! | request of API Management (`sdkVersion` or `cloud_RoleName`) | `Azure::ApiManagement` |
//! | request that runs an orchestration (`durabletask.type`) | `Azure::DurableFunctions::Orchestration` |
//! | other request | `Azure::Functions::Function` |
//! | dependency by HTTP | `Azure::Invocation` with a request beneath it, else `Azure::Http` |
//! | dependency by `type`, or by the name of a `…_trigger` | `Azure::Storage::Queue`, `Database::SQL` and so on |
//! | other dependency | `Azure::Dependency` |
//! | dependency of type `InProc`, `Internal` or none | none: a part of its parent |
//!
//! A timestamp is the start. A dependency named `…_trigger` is the exception: it is recorded by hand after the call,
//! so its timestamp is the end. A `trace` row whose custom dimensions mention ColdStart makes the request of its
//! operation one that started cold: when the container started is not recorded.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::invalid::{Invalid, Rejected};
use crate::read::caller::forget_unknown_caller;
use crate::read::time::{nanoseconds_of_milliseconds, parse_nanoseconds, seconds_of_nanoseconds};
use crate::span::{AZURE_FUNCTION, Flags, Parent, Recorded, Span};

const INVOCATION: &str = "Azure::Invocation";

/// Origins of dependencies, by a part of their type or, where it is a trigger's, of their name; in lower case. The first
/// that fits counts.
const SERVICES: [(&str, &str); 22] = [
    ("cosmos", "Azure::CosmosDB"),
    ("documentdb", "Azure::CosmosDB"),
    ("database", "Azure::CosmosDB"),
    ("eventgrid", "Azure::EventGrid"),
    ("event grid", "Azure::EventGrid"),
    ("eventhub", "Azure::EventHubs"),
    ("event hub", "Azure::EventHubs"),
    ("stream", "Azure::EventHubs"),
    ("servicebus", "Azure::ServiceBus"),
    ("service bus", "Azure::ServiceBus"),
    ("message", "Azure::ServiceBus"),
    ("event", "Azure::EventGrid"),
    ("queue", "Azure::Storage::Queue"),
    ("azure table", "Azure::Storage::Table"),
    ("blob", "Azure::Storage::Blob"),
    ("storage", "Azure::Storage::Blob"),
    ("sql", "Database::SQL"),
    ("oracle", "Database::SQL"),
    ("postgres", "Database::SQL"),
    ("http", HTTP),
    ("fetch", HTTP),
    ("ajax", HTTP),
];

/// A call by HTTP whose receiver is not in the trace.
const HTTP: &str = "Azure::Http";

/// One row of a result, by the names of its columns.
#[derive(Clone, Copy)]
pub(crate) struct QueryRow<'v> {
    columns: &'v HashMap<&'v str, usize>,
    values: &'v [Value],
    /// The type of rows that do not say theirs.
    item_type: &'static str,
}

impl<'v> QueryRow<'v> {
    pub(crate) fn value(self, column: &str) -> Option<&'v Value> {
        self.columns.get(column).and_then(|&place| self.values.get(place)).filter(|value| !value.is_null())
    }

    /// Empty where there is none.
    pub(crate) fn text(self, column: &str) -> Cow<'v, str> {
        match self.value(column) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
            None => Cow::Borrowed(""),
        }
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn timestamp(self) -> Result<i128, Invalid> {
        let text = self.text("timestamp");
        parse_nanoseconds(&text).ok_or_else(|| self.defect("timestamp", &text))
    }

    /// Nanoseconds; milliseconds in the file. A row without one has no length.
    pub(crate) fn duration(self) -> Result<i128, Invalid> {
        let text = self.text("duration");
        if text.is_empty() {
            return Ok(0);
        }
        let milliseconds: Option<f64> = text.parse().ok();
        milliseconds
            .filter(|number| (0.0..1e13).contains(number))
            .map(nanoseconds_of_milliseconds)
            .ok_or_else(|| self.defect("duration", &text))
    }

    pub(crate) fn mentions_cold_start(self) -> bool {
        self.item_type() == "trace" && self.text("customDimensions").contains("ColdStart")
    }

    /// `request`, `dependency`, `trace` and others; by the table's name where there is no such column.
    pub(crate) fn item_type(self) -> Cow<'v, str> {
        match self.text("itemType") {
            none if none.is_empty() => Cow::Borrowed(self.item_type),
            item_type => match &*item_type {
                "AppRequests" => Cow::Borrowed("request"),
                "AppDependencies" => Cow::Borrowed("dependency"),
                "AppTraces" => Cow::Borrowed("trace"),
                _ => item_type,
            },
        }
    }

    fn defect(self, column: &str, text: &str) -> Invalid {
        malformed(format!("the row `{}` has `{text}` as its {column}", self.text("name")))
    }

    /// A value of the custom dimensions, which are an object, or a string that holds one.
    fn dimension(self, key: &str) -> Option<String> {
        let value = self.value("customDimensions")?;
        let parsed;
        let object = match value {
            Value::String(text) => {
                parsed = serde_json::from_str::<Value>(text).ok()?;
                &parsed
            }
            other => other,
        };
        match object.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// What a query gave for one trace.
pub(crate) struct QueryResult {
    value: Value,
}

impl QueryResult {
    pub(crate) fn parse(text: &str) -> Result<Self, Rejected> {
        let rejected = |detail| Rejected { id: None, reason: malformed(detail) };
        let mut value: Value = serde_json::from_str(text).map_err(|error| rejected(error.to_string()))?;
        // Rows as the Azure CLI prints them: objects, in a list or one by one.
        if value.is_array() || value.get("tables").is_none() && value.get("operation_Id").is_some() {
            value = table_of(&value);
        }
        if let Some(error) = value.get("error") {
            return Err(rejected(format!("the query failed: {error}")));
        }
        let result = Self { value };
        let id = result.root_id().map(str::to_owned);
        if result.value.get("tables").is_none_or(|tables| !tables.is_array()) {
            return Err(Rejected { id, reason: malformed("there is no list `tables`".to_owned()) });
        }
        Ok(result)
    }

    /// The operation that the invoker sent.
    pub(crate) fn root_id(&self) -> Option<&str> {
        self.attribute("rootTraceId")
    }

    /// The operation of the receiver.
    pub(crate) fn receiver_id(&self) -> Option<&str> {
        self.attribute("traceId")
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.value.get("attrs")?.get(name)?.as_str()
    }

    /// Calls `look` with the rows of all tables.
    pub(crate) fn with_rows<T>(
        &self,
        look: impl FnOnce(&[QueryRow<'_>]) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        let mut tables = Vec::new();
        for table in self.value["tables"].as_array().into_iter().flatten() {
            let columns =
                table["columns"].as_array().ok_or_else(|| malformed("a table has no columns".into()))?;
            let columns: HashMap<&str, usize> = columns
                .iter()
                .enumerate()
                .filter_map(|(place, column)| Some((column["name"].as_str()?, place)))
                .collect();
            let columns = with_usual_names(columns);
            let rows = table["rows"].as_array().ok_or_else(|| malformed("a table has no rows".into()))?;
            let item_type = match table["name"].as_str() {
                Some("requests" | "AppRequests") => "request",
                Some("dependencies" | "AppDependencies") => "dependency",
                Some("traces" | "AppTraces") => "trace",
                _ => "",
            };
            tables.push((columns, rows, item_type));
        }
        let mut found = Vec::new();
        for (columns, rows, item_type) in &tables {
            for row in *rows {
                let values = row.as_array().ok_or_else(|| malformed("a row is not a list".into()))?;
                found.push(QueryRow { columns, values, item_type });
            }
        }
        look(&found)
    }
}

/// Names of Log Analytics count as those of Application Insights.
fn with_usual_names(mut columns: HashMap<&str, usize>) -> HashMap<&str, usize> {
    if columns.contains_key("TimeGenerated") {
        // What is `type` for Application Insights is the name of the table there.
        if let Some(place) = columns.remove("Type") {
            columns.insert("itemType", place);
        }
        for (name, usual) in LOG_ANALYTICS {
            if let Some(&place) = columns.get(name) {
                columns.entry(usual).or_insert(place);
            }
        }
        if let Some(&place) = columns.get("Url") {
            columns.entry("url").or_insert(place);
        }
    }
    columns
}

/// A table with rows that are lists, from rows that are objects.
fn table_of(rows: &Value) -> Value {
    let rows: Vec<&Value> = rows.as_array().map_or_else(|| vec![rows], |rows| rows.iter().collect());
    let names: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.as_object())
        .flat_map(|row| row.keys())
        .map(String::as_str)
        .collect();
    let columns: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    let rows: Vec<Value> =
        rows.iter().map(|row| names.iter().map(|&name| row[name].clone()).collect()).collect();
    json!({ "tables": [{ "columns": columns, "rows": rows }] })
}

/// The names of columns in Log Analytics, and those of Application Insights for the same.
const LOG_ANALYTICS: [(&str, &str); 12] = [
    ("TimeGenerated", "timestamp"),
    ("Id", "id"),
    ("Name", "name"),
    ("DependencyType", "type"),
    ("OperationId", "operation_Id"),
    ("ParentId", "operation_ParentId"),
    ("DurationMs", "duration"),
    ("Success", "success"),
    ("ResultCode", "resultCode"),
    ("AppRoleName", "cloud_RoleName"),
    ("Properties", "customDimensions"),
    ("SDKVersion", "sdkVersion"),
];

/// Reads one trace: `{"tables": [{"columns": [{"name": …}], "rows": [[…]]}], "attrs": {"rootTraceId": …, "traceId": …}}`;
/// `attrs` may be absent.
pub(crate) fn read(text: &str) -> Result<Recorded<'static>, Rejected> {
    let result = QueryResult::parse(text)?;
    let root_id = result.root_id().map(str::to_owned);
    result
        .with_rows(|rows| spans(rows, root_id.as_deref()))
        .map_err(|reason| Rejected { id: root_id.clone(), reason })
}

/// A span and what it takes to connect it.
struct RowSpan {
    span: Span<'static>,
    operation: String,
    role: String,
    is_request: bool,
}

fn spans(rows: &[QueryRow<'_>], root_id: Option<&str>) -> Result<Recorded<'static>, Invalid> {
    let mut items = Vec::new();
    for &row in rows {
        let is_request = row.item_type() == "request";
        if is_request || row.item_type() == "dependency" {
            items.push(item(row, is_request)?);
        }
    }
    let first = items.iter().min_by(|left, right| left.span.start.total_cmp(&right.span.start));
    let id = root_id
        .map(str::to_owned)
        .or_else(|| first.map(|item| item.operation.clone()))
        .ok_or_else(|| malformed("there is no row of itemType `request` or `dependency`".to_owned()))?;
    connect(&mut items, &id);
    mark_cold_starts(rows, &mut items);
    mark_waiting(&mut items);
    let called: HashSet<String> = items.iter().filter(|item| item.is_request).filter_map(parent_id).collect();
    for item in &mut items {
        if !item.is_request && item.span.origin.as_deref() == Some(HTTP) && called.contains(&*item.span.id) {
            item.span.origin = Some(Cow::Borrowed(INVOCATION));
        }
    }
    let mut spans: Vec<Span<'static>> = items.into_iter().map(|item| item.span).collect();
    forget_unknown_caller(&mut spans);
    for span in &mut spans {
        if span.parent != Parent::None {
            span.url = None;
        }
    }
    Ok(Recorded::measured(Cow::Owned(id), spans))
}

fn item(row: QueryRow<'_>, is_request: bool) -> Result<RowSpan, Invalid> {
    let name = row.text("name").into_owned();
    let (timestamp, duration) = (row.timestamp()?, row.duration()?);
    let is_trigger = !is_request && name.ends_with("_trigger");
    let start = if is_trigger { timestamp - duration } else { timestamp };
    let operation = row.text("operation_Id").into_owned();
    let id = match row.text("id") {
        // Without an id nothing can be beneath it.
        id if id.is_empty() => format!("{name} at {timestamp}"),
        id => id.into_owned(),
    };
    let parent = match row.text("operation_ParentId") {
        parent if parent.is_empty() || *parent == *operation || *parent == *id => Parent::None,
        parent => Parent::Id(Cow::Owned(parent.into_owned())),
    };
    let success = row.text("success");
    let flags = if success.eq_ignore_ascii_case("false") || success == "0" {
        Flags::of_failure(row.text("resultCode").parse().ok())
    } else {
        Flags::default()
    };
    let url = row.text("url");
    let span = Span {
        id: Cow::Owned(id),
        origin: if is_request { Some(request_origin(row)) } else { dependency_origin(row, &name) }
            .map(Cow::Borrowed),
        name: Cow::Owned(name),
        url: (is_request && !url.is_empty()).then(|| Cow::Owned(url.into_owned())),
        start: seconds_of_nanoseconds(start),
        end: seconds_of_nanoseconds(start + duration),
        flags,
        parent,
    };
    Ok(RowSpan { span, operation, role: row.text("cloud_RoleName").into_owned(), is_request })
}

fn request_origin(row: QueryRow<'_>) -> &'static str {
    let is_orchestration = row.dimension("durabletask.type").is_some_and(|kind| kind == "orchestration");
    if row.text("sdkVersion").starts_with("apim") || row.text("cloud_RoleName").contains(".azure-api.net") {
        "Azure::ApiManagement"
    } else if is_orchestration || row.text("name").starts_with("orchestration:") {
        "Azure::DurableFunctions::Orchestration"
    } else {
        AZURE_FUNCTION
    }
}

/// `None` for work within the process.
fn dependency_origin(row: QueryRow<'_>, name: &str) -> Option<&'static str> {
    let kind = match name.strip_suffix("_trigger") {
        Some(trigger) => trigger.to_ascii_lowercase(),
        None => row.text("type").to_ascii_lowercase(),
    };
    if kind.is_empty() || kind.starts_with("inproc") || kind == "internal" {
        return None;
    }
    let service = SERVICES.iter().find(|(part, _)| kind.contains(part));
    Some(service.map_or("Azure::Dependency", |(_, origin)| origin))
}

fn parent_id(item: &RowSpan) -> Option<String> {
    match &item.span.parent {
        Parent::Id(id) => Some(id.to_string()),
        Parent::None | Parent::Enclosing(_) => None,
    }
}

/// Hangs what another operation started with onto the call that triggered it, where the trigger does not carry the
/// context on.
fn connect(items: &mut [RowSpan], root_operation: &str) {
    let mut triggers = items.iter().filter(|item| {
        item.operation == root_operation && !item.is_request && item.span.name.ends_with("_trigger")
    });
    let (Some(trigger), None) = (triggers.next(), triggers.next()) else { return };
    let trigger = trigger.span.id.clone();
    let ids: HashSet<String> = items.iter().map(|item| item.span.id.to_string()).collect();
    for item in items.iter_mut().filter(|item| item.operation != root_operation) {
        if parent_id(item).is_none_or(|parent| !ids.contains(&parent)) {
            item.span.parent = Parent::Id(trigger.clone());
        }
    }
}

/// Origins of what hands messages and events on to functions: nobody waits for these.
const TRIGGERS: [&str; 6] = [
    "Azure::Storage::Queue",
    "Azure::Storage::Blob",
    "Azure::CosmosDB",
    "Azure::EventGrid",
    "Azure::EventHubs",
    "Azure::ServiceBus",
];

/// Who waits for whom: nobody for the receiver of a message. A request has another clock than its caller.
fn mark_waiting(items: &mut [RowSpan]) {
    let callers: HashMap<String, bool> = items
        .iter()
        .filter(|item| !item.is_request)
        .map(|item| {
            let is_trigger = item.span.origin.as_deref().is_some_and(|origin| TRIGGERS.contains(&origin));
            (item.span.id.to_string(), is_trigger)
        })
        .collect();
    for item in items.iter_mut().filter(|item| item.is_request) {
        let caller = parent_id(item).and_then(|parent| callers.get(&parent));
        item.span.flags.from_queue = caller == Some(&true);
        item.span.flags.from_afar = caller == Some(&false);
    }
}

/// The request that a row of a cold start belongs to: its parent; else, of its operation, the first one of the same
/// role, else the first one.
fn mark_cold_starts(rows: &[QueryRow<'_>], items: &mut [RowSpan]) {
    for row in rows.iter().filter(|row| row.mentions_cold_start()) {
        if row.dimension("ColdStart").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
            continue;
        }
        let (parent, operation) = (row.text("operation_ParentId"), row.text("operation_Id"));
        let role = row.text("cloud_RoleName");
        let found = items
            .iter_mut()
            .filter(|item| item.is_request && item.span.origin.as_deref() == Some(AZURE_FUNCTION))
            .filter(|item| item.span.id == parent || item.operation == operation)
            .min_by(|left, right| {
                let order = |item: &RowSpan| (item.span.id != parent, item.role != role);
                order(left).cmp(&order(right)).then(left.span.start.total_cmp(&right.span.start))
            });
        if let Some(item) = found {
            item.span.flags.cold_start = true;
        }
    }
}

fn malformed(detail: String) -> Invalid {
    Invalid::Malformed { detail }
}
