//! Azure Application Insights: traces, fetched by their operation ids with queries over requests, dependencies and
//! traces.
//!
//! An operation id is the trace id of W3C's `traceparent`, which the load sends: [`operation_id`] of an invocation's. Many
//! ids go into one query, whose rows come in pages. Each trace is written as one line in the form that the analysis
//! reads: `{"attrs": {…}, "tables": [{"columns": …, "rows": …}]}`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use super::collect::{
    Failure, FetchError, FetchProgress, Fetched, HttpsClient, Service, collect, https_client,
};
use super::retrieval::Retrieval;

/// Where Azure answers queries.
pub const ENDPOINT: &str = "https://api.applicationinsights.io";

const INSIGHTS: Service = Service {
    name: "Application Insights",
    check: "the application's id, and its API key or token",
    unknown: "Application Insights has no row of it: it was not sampled, or is not there yet",
    ids_per_request: 50,
    absent_for: None,
};

/// Rows of one page. Azure's own limits are 500,000 rows and 64 MB.
const ROWS: usize = 20_000;
/// Pages are not made smaller than this where Azure finds them too large.
const FEWEST_ROWS: usize = 100;
/// The most bytes of an answer.
const LONGEST: usize = 128 << 20;
/// A query without an answer by then has failed; Azure itself gives up after 100 s.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

const COLUMNS: &str = "itemType, id, operation_Id, operation_ParentId, name, timestamp, duration, success, resultCode, \
                       type, target, url, cloud_RoleName, sdkVersion, customDimensions, itemId";

/// Which application, and how to prove that it may be read.
#[derive(Clone)]
pub struct InsightsConfig {
    pub endpoint: String,
    /// The application's id (not its instrumentation key).
    pub application: String,
    pub credential: Credential,
}

/// Never shown.
#[derive(Clone)]
pub enum Credential {
    ApiKey(String),
    /// Of Entra, for the resource `https://api.applicationinsights.io`.
    Token(String),
}

/// The operation id of a trace id such as `1-5759e988-bd862e3fe1be46a994272793`.
pub fn operation_id(trace_id: &str) -> String {
    trace_id.strip_prefix("1-").unwrap_or(trace_id).replace('-', "")
}

/// Fetches traces and writes them to `out`, one per line, sorted by operation id, all or nothing, with a report beside
/// them; as [`super::aws::fetch_traces`] does.
///
/// # Errors
/// As there.
pub async fn fetch_traces(
    config: &InsightsConfig,
    trace_ids: &[String],
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let refused =
        |reason: String| FetchError::Refused { service: INSIGHTS.name, reason, check: INSIGHTS.check };
    let asker = Asker { config, client: https_client().map_err(refused)? };
    // Also proves that the configuration makes a request.
    asker.request("").map_err(refused)?;
    let ids: Vec<String> = trace_ids.iter().map(|id| operation_id(id)).collect();
    collect(&INSIGHTS, ("app_insights", &ids), deadline, out, |ids| asker.traces(ids), progress).await
}

struct Asker<'c> {
    config: &'c InsightsConfig,
    client: HttpsClient<Full<Bytes>>,
}

/// A page of rows.
struct QueryPage {
    columns: Vec<Value>,
    rows: Vec<Value>,
}

/// What an answer comes to.
enum QueryAnswer {
    Page(QueryPage),
    /// More than Azure gives at once.
    TooLarge(String),
}

impl Asker<'_> {
    fn request(&self, query: &str) -> Result<Request<Full<Bytes>>, String> {
        let endpoint = self.config.endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/v1/apps/{}/query", self.config.application);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(header::CONTENT_TYPE, "application/json");
        let request = match &self.config.credential {
            Credential::ApiKey(key) => request.header("x-api-key", key),
            Credential::Token(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        };
        let body = Bytes::from(json!({ "query": query }).to_string());
        request.body(Full::new(body)).map_err(|error| format!("`{url}` or the credential: {error}"))
    }

    async fn traces(&self, ids: Vec<String>) -> Result<Vec<Fetched>, Failure> {
        let mut size = ROWS;
        let mut by_operation: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut from = 0;
        let columns = loop {
            match self.page(&query(&ids, from, size)).await? {
                QueryAnswer::TooLarge(_) if size > FEWEST_ROWS => size = (size / 4).max(FEWEST_ROWS),
                QueryAnswer::TooLarge(reason) => return Err(Failure::Busy(reason)),
                QueryAnswer::Page(page) => {
                    let count = page.rows.len();
                    let operation = place_of(&page.columns, "operation_Id");
                    for row in page.rows {
                        let id = operation.and_then(|place| row.get(place)?.as_str()).unwrap_or_default();
                        by_operation.entry(id.to_owned()).or_default().push(row);
                    }
                    from += count;
                    if count < size {
                        break page.columns;
                    }
                }
            }
        };
        let fetched = by_operation.into_iter().map(|(id, rows)| {
            let defect = defect(&id, &columns, &rows);
            let text = json!({
                "attrs": { "rootTraceId": id, "traceId": id },
                "tables": [{ "name": "PrimaryResult", "columns": columns, "rows": rows }],
            });
            Fetched { id, text: text.to_string(), defect }
        });
        Ok(fetched.collect())
    }

    async fn page(&self, query: &str) -> Result<QueryAnswer, Failure> {
        let request = self.request(query).map_err(Failure::Refused)?;
        let answer = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| Failure::Silence(root_cause(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| Failure::Silence(error.to_string()))?.to_bytes();
            Ok((head, body))
        };
        let late = |_| Failure::Silence("no answer in time".to_owned());
        let (head, body) = tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(late)??;
        read_answer(&Response::from_parts(head, ()), &body)
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The rows of some operations, without the first `from`.
fn query(ids: &[String], from: usize, size: usize) -> String {
    // Ids are hexadecimal, or else were never sent by a load: quotes in them end no string.
    let quoted: Vec<String> =
        ids.iter().map(|id| format!("\"{}\"", id.replace(['"', '\\', '\n', '\r'], ""))).collect();
    let to = from + size;
    format!(
        "union requests, dependencies, traces | where operation_Id in ({}) | project {COLUMNS} \
         | order by operation_Id asc, timestamp asc, itemId asc | extend sb_row = row_number() \
         | where sb_row > {from} and sb_row <= {to} | project-away sb_row",
        quoted.join(", ")
    )
}

fn place_of(columns: &[Value], name: &str) -> Option<usize> {
    columns.iter().position(|column| column["name"] == name)
}

/// Errors come with their own status, or within an answer of status 200, then beside what was found so far.
fn read_answer(head: &Response<()>, body: &[u8]) -> Result<QueryAnswer, Failure> {
    let status = head.status();
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let error = value.as_ref().and_then(|value| value.get("error")).map(error_text);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait =
            head.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(Failure::Throttled(
            error.unwrap_or_else(|| status.to_string()),
            wait.map(Duration::from_secs),
        ));
    }
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        return Err(Failure::Busy(error.unwrap_or_else(|| status.to_string())));
    }
    if !status.is_success() {
        return Err(Failure::Refused(format!("{status}: {}", error.unwrap_or_default())));
    }
    if let Some(error) = error {
        let lower = error.to_ascii_lowercase();
        let is_too_large = ["too_large", "too large", "truncat", "exceeded the allowed"]
            .iter()
            .any(|sign| lower.contains(sign));
        return if is_too_large { Ok(QueryAnswer::TooLarge(error)) } else { Err(Failure::Busy(error)) };
    }
    let table = value.as_ref().and_then(|value| value["tables"].as_array()?.first());
    let list = |name: &str| table.and_then(|table| table[name].as_array().cloned());
    match (list("columns"), list("rows")) {
        (Some(columns), Some(rows)) => Ok(QueryAnswer::Page(QueryPage { columns, rows })),
        _ => Err(Failure::Busy("the answer is no table".to_owned())),
    }
}

/// Code and message, of the innermost error too: that one tells the cause.
fn error_text(error: &Value) -> String {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let parts = ["code", "message"].iter().filter_map(|key| error[*key].as_str());
        texts.push(parts.collect::<Vec<_>>().join(": "));
        next = error.get("innererror").or_else(|| error["details"].get(0));
    }
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() { error.to_string() } else { texts.join("; ") }
}

/// Why a trace is not complete: rows come one by one, and more than one whose parent is not there yet means that some are
/// missing. (The parent of the first one is the load's own.)
fn defect(operation: &str, columns: &[Value], rows: &[Value]) -> Option<String> {
    let text = |row: &Value, name: &str| {
        let place = place_of(columns, name)?;
        row.get(place)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let is = |row: &Value, kind: &str| text(row, "itemType").as_deref() == Some(kind);
    let spans = || rows.iter().filter(|row| is(row, "request") || is(row, "dependency"));
    if !spans().any(|row| is(row, "request")) {
        return Some("no request is there yet".to_owned());
    }
    let ids: HashSet<String> = spans().filter_map(|row| text(row, "id")).collect();
    let orphans = spans().filter(|row| {
        text(row, "operation_ParentId").is_none_or(|parent| parent == operation || !ids.contains(&parent))
    });
    (orphans.count() > 1).then(|| "a parent is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        let head = Response::builder().status(status).header("retry-after", "7").body(()).unwrap();
        let found = match read_answer(&head, body.as_bytes()) {
            Ok(QueryAnswer::Page(page)) => format!("{} rows", page.rows.len()),
            Ok(QueryAnswer::TooLarge(reason)) => format!("too large: {reason}"),
            Err(Failure::Refused(reason)) => format!("refused: {reason}"),
            Err(Failure::Busy(reason)) => format!("busy: {reason}"),
            Err(Failure::Throttled(_, wait)) => format!("throttled: {wait:?}"),
            Err(Failure::Silence(reason)) => format!("silence: {reason}"),
        };
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn errors_are_told_apart_whatever_their_status() {
        check(200, r#"{"tables":[{"columns":[],"rows":[[],[]]}]}"#, "2 rows");
        check(429, "", "throttled: Some(7s)");
        check(503, "<html>", "busy: 503");
        check(
            403,
            r#"{"error":{"code":"InsufficientAccessError","message":"no access"}}"#,
            "refused: 403 Forbidden: InsufficientAccessError: no access",
        );
        check(
            400,
            r#"{"error":{"code":"BadArgumentError","innererror":{"message":"no such column"}}}"#,
            "refused: 400 Bad Request: BadArgumentError; no such column",
        );
        let partial = |inner: &str| {
            format!(
                r#"{{"tables":[{{"columns":[],"rows":[[]]}}],"error":{{"code":"PartialError","details":[{{"innererror":{{"code":"{inner}"}}}}]}}}}"#
            )
        };
        check(200, &partial("E_QUERY_RESULT_SET_TOO_LARGE"), "too large: PartialError; E_QUERY");
        check(200, &partial("-2133196797"), "busy: PartialError");
        check(200, "{}", "busy: the answer is no table");
    }

    #[test]
    fn an_operation_id_is_the_trace_id_of_w3c() {
        assert_eq!(operation_id("1-5759e988-bd862e3fe1be46a994272793"), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(operation_id("5759e988bd862e3fe1be46a994272793"), "5759e988bd862e3fe1be46a994272793");
    }

    #[test]
    fn ids_cannot_leave_the_query() {
        let query = query(&["ab\") | drop".to_owned()], 0, 10);
        assert_eq!(query.matches('"').count(), 2, "{query}");
    }
}
