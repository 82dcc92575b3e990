//! From an HTTP request to the event that API Gateway hands to a function, and back.
//!
//! Shapes: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//! (payload formats 1.0 and 2.0); the REST API's proxy event is format 1.0 without `version`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::http::{self, Answer};
use super::invoke_api::percent_decode;
use super::routes::RouteMatch;
use sb_sam::Format;

/// A request as it came in.
pub(super) struct HttpRequest {
    pub method: Method,
    /// As sent, with the stage if there was one.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub source_ip: String,
    pub host: String,
    pub request_id: String,
    pub account: String,
    pub time: jiff::Timestamp,
}

pub(super) fn event(request: &HttpRequest, found: &RouteMatch<'_>) -> Value {
    match found.route.format {
        Format::Rest => event_v1(request, found, true),
        Format::HttpV1 => event_v1(request, found, false),
        Format::HttpV2 => event_v2(request, found),
    }
}

fn event_v1(request: &HttpRequest, found: &RouteMatch<'_>, rest: bool) -> Value {
    let (body, encoded) = body_text(request, !rest);
    let header = |name: &HeaderName| if rest { title_case(name.as_str()) } else { name.as_str().to_owned() };
    let mut last = Map::new();
    let mut every = Map::new();
    for name in request.headers.keys() {
        let values: Vec<Value> = header_values(&request.headers, name).map(Value::from).collect();
        last.insert(header(name), values.last().cloned().unwrap_or_default());
        every.insert(header(name), Value::Array(values));
    }
    let mut query_last = Map::new();
    let mut query_every: Map<String, Value> = Map::new();
    for (key, value) in query_pairs(&request.query) {
        query_last.insert(key.clone(), json!(value));
        if let Value::Array(values) = query_every.entry(key).or_insert_with(|| json!([])) {
            values.push(json!(value));
        }
    }
    let route = found.route;
    let mut event = json!({
        "resource": route.path,
        "path": found.path,
        "httpMethod": request.method.as_str(),
        "headers": last,
        "multiValueHeaders": every,
        "queryStringParameters": or_null(query_last),
        "multiValueQueryStringParameters": or_null(query_every),
        "pathParameters": or_null(found.parameters.iter().map(|(key, value)| (key.clone(), json!(value))).collect()),
        "stageVariables": null,
        "requestContext": {
            "accountId": request.account,
            "apiId": route.api,
            "domainName": request.host,
            "domainPrefix": route.api,
            "extendedRequestId": request.request_id,
            "httpMethod": request.method.as_str(),
            "identity": { "sourceIp": request.source_ip, "userAgent": user_agent(request) },
            "path": request.path,
            "protocol": "HTTP/1.1",
            "requestId": request.request_id,
            "requestTime": request_time(request),
            "requestTimeEpoch": request.time.as_millisecond(),
            "resourceId": "local",
            "resourcePath": route.path,
            "stage": route.stage,
        },
        "body": body,
        "isBase64Encoded": encoded,
    });
    if !rest && let Some(event) = event.as_object_mut() {
        event.insert("version".to_owned(), json!("1.0"));
    }
    event
}

fn event_v2(request: &HttpRequest, found: &RouteMatch<'_>) -> Value {
    let (body, encoded) = body_text(request, true);
    let mut headers = Map::new();
    for name in request.headers.keys().filter(|name| name.as_str() != "cookie") {
        headers.insert(
            name.as_str().to_owned(),
            json!(header_values(&request.headers, name).collect::<Vec<_>>().join(",")),
        );
    }
    let cookies: Vec<String> = header_values(&request.headers, &hyper::header::COOKIE)
        .flat_map(|line| line.split("; ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut query: Map<String, Value> = Map::new();
    for (key, value) in query_pairs(&request.query) {
        let joined = match query.get(&key).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value,
        };
        query.insert(key, json!(joined));
    }
    let route = found.route;
    let route_key = if route.path == "$default" {
        route.path.clone()
    } else {
        format!("{} {}", route.method, route.path)
    };
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": request.account,
            "apiId": route.api,
            "domainName": request.host,
            "domainPrefix": route.api,
            "http": {
                "method": request.method.as_str(),
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": user_agent(request),
            },
            "requestId": request.request_id,
            "routeKey": route_key,
            "stage": route.stage,
            "time": request_time(request),
            "timeEpoch": request.time.as_millisecond(),
        },
        "isBase64Encoded": encoded,
    });
    let parameters: Map<String, Value> =
        found.parameters.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let optional = [
        ("cookies", (!cookies.is_empty()).then(|| json!(cookies))),
        ("queryStringParameters", (!query.is_empty()).then_some(Value::Object(query))),
        ("pathParameters", (!parameters.is_empty()).then_some(Value::Object(parameters))),
        ("body", (!body.is_null()).then_some(body)),
    ];
    if let Some(event) = event.as_object_mut() {
        event.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    event
}

/// The HTTP answer that a function's result stands for.
///
/// # Errors
/// It is malformed, which API Gateway answers with 502 and without a reason: what is wrong with it, without its content.
pub(super) fn answer(format: Format, payload: &Bytes) -> Result<Answer, String> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| "the result is no JSON".to_owned())?;
    let described = value.get("statusCode").is_some();
    if !described && format == Format::HttpV2 {
        // Format 2.0 takes anything else as a JSON body.
        let body = match value {
            Value::String(text) => Bytes::from(text),
            _ => payload.clone(),
        };
        let mut answer = http::bytes(StatusCode::OK, body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(answer);
    }
    let status = match value.get("statusCode") {
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
        None if value.is_object() => return Err("the result is an object without `statusCode`".to_owned()),
        None => return Err(format!("the result is {}, and no object with a `statusCode`", kind(&value))),
    };
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or("`statusCode` is no number from 100 to 999")?;
    let body = match value.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if value.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            Bytes::from(STANDARD.decode(text).map_err(|_| "`body` is no Base64, as `isBase64Encoded` says")?)
        }
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(other) if format == Format::Rest => {
            return Err(format!("`body` is {}, and must be a text, such as one of JSON", kind(other)));
        }
        Some(other) => Bytes::from(other.to_string()),
    };
    let mut answer = http::bytes(status, body);
    let headers = answer.headers_mut();
    let unfit = |name: &str| format!("the header `{name}` has a name or value that HTTP does not allow");
    for (name, value) in object(&value, "headers") {
        set_header(headers, name, value, true).ok_or_else(|| unfit(name))?;
    }
    for (key, values) in object(&value, "multiValueHeaders") {
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| unfit(key))?;
        headers.remove(&name);
        let values = values.as_array().ok_or_else(|| {
            format!("`{key}` in `multiValueHeaders` is {}, and must be an array", kind(values))
        })?;
        for value in values {
            set_header(headers, name.as_str(), value, false).ok_or_else(|| unfit(key))?;
        }
    }
    for cookie in value.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        set_header(headers, "set-cookie", cookie, false).ok_or_else(|| unfit("set-cookie"))?;
    }
    // The server sets these itself; a function's idea of them would break the connection.
    for name in ["content-length", "transfer-encoding", "connection"] {
        headers.remove(name);
    }
    if !headers.contains_key(CONTENT_TYPE) {
        let default = if format == Format::HttpV2 { "text/plain; charset=utf-8" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(default));
    }
    Ok(answer)
}

/// What a value is, in words that both JavaScript and Python know.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`, as of a function that returns nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn set_header(headers: &mut HeaderMap, name: &str, value: &Value, replace: bool) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let value = HeaderValue::from_str(&text).ok()?;
    if replace {
        headers.insert(name, value);
    } else {
        headers.append(name, value);
    }
    Some(())
}

fn object<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// A body that is text goes as it is, anything else as Base64. An HTTP API goes by what the request says of it.
fn body_text(request: &HttpRequest, http_api: bool) -> (Value, bool) {
    let body = &request.body;
    if body.is_empty() {
        return (Value::Null, false);
    }
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match std::str::from_utf8(body) {
        Ok(text) if !http_api || kind.is_none_or(is_text) => (json!(text), false),
        _ => (json!(STANDARD.encode(body)), true),
    }
}

/// What an HTTP API takes for text.
fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || ["/json", "+json", "/xml", "+xml", "/javascript"].iter().any(|end| kind.ends_with(end))
}

fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn header_values(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn user_agent(request: &HttpRequest) -> Value {
    header_values(&request.headers, &hyper::header::USER_AGENT).next().map_or(Value::Null, Value::from)
}

fn request_time(request: &HttpRequest) -> String {
    request.time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

fn or_null(map: Map<String, Value>) -> Value {
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

/// REST APIs hand names on as clients usually write them: `content-type` as `Content-Type`.
fn title_case(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;
    use sb_sam::Route;

    fn request(method: Method, path: &str, query: &str, body: &'static [u8]) -> HttpRequest {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/plain"));
        headers.append("x-many", HeaderValue::from_static("one"));
        headers.append("x-many", HeaderValue::from_static("two"));
        headers.append("cookie", HeaderValue::from_static("a=1; b=2"));
        HttpRequest {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Bytes::from_static(body),
            source_ip: "127.0.0.1".to_owned(),
            host: "localhost".to_owned(),
            request_id: "id".to_owned(),
            account: "000000000000".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn shape(format: Format, body: &'static [u8]) -> Value {
        let routes = [Route {
            integration: None,
            function: "F".to_owned(),
            format,
            method: "POST".to_owned(),
            path: "/items/{id}".to_owned(),
            api: "Api".to_owned(),
            stage: "Prod".to_owned(),
        }];
        let request = request(Method::POST, "/Prod/items/7", "a=1&a=2&b=x%20y+z", body);
        event(&request, &routes::find_route(&routes, "POST", "/Prod/items/7").unwrap())
    }

    #[test]
    fn a_rest_event_has_version_1_shape_and_capital_headers() {
        let event = shape(Format::Rest, b"hi");
        assert_eq!(event["resource"], "/items/{id}");
        assert_eq!(event["path"], "/items/7");
        assert_eq!(event["requestContext"]["path"], "/Prod/items/7");
        assert_eq!(event["headers"]["Content-Type"], "text/plain");
        assert_eq!(event["multiValueHeaders"]["X-Many"], json!(["one", "two"]));
        assert_eq!(event["queryStringParameters"], json!({ "a": "2", "b": "x y z" }));
        assert_eq!(event["multiValueQueryStringParameters"]["a"], json!(["1", "2"]));
        assert_eq!(event["pathParameters"], json!({ "id": "7" }));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("hi"), &json!(false)));
        assert_eq!(event["requestContext"]["requestTime"], "01/Jan/1970:00:00:00 +0000");
        assert_eq!(event.get("version"), None);
    }

    #[test]
    fn an_http_event_has_version_2_shape() {
        let event = shape(Format::HttpV2, b"\xff\x00");
        assert_eq!((&event["version"], &event["routeKey"]), (&json!("2.0"), &json!("POST /items/{id}")));
        assert_eq!(
            (&event["rawPath"], &event["rawQueryString"]),
            (&json!("/Prod/items/7"), &json!("a=1&a=2&b=x%20y+z"))
        );
        assert_eq!(event["headers"], json!({ "content-type": "text/plain", "x-many": "one,two" }));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["queryStringParameters"], json!({ "a": "1,2", "b": "x y z" }));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
        assert_eq!(shape(Format::HttpV1, b"")["version"], "1.0");
    }

    #[test]
    fn an_http_api_takes_for_text_what_says_so() {
        for text in
            ["text/plain", "Application/JSON; charset=utf-8", "application/problem+json", "image/svg+xml"]
        {
            assert!(is_text(text), "{text}");
        }
        for other in ["application/x-www-form-urlencoded", "application/octet-stream", "image/png", ""] {
            assert!(!is_text(other), "{other}");
        }
    }

    /// The status, a header and the body of the answer; or none.
    #[track_caller]
    fn check(format: Format, payload: &str, header: &str, expected: Option<(u16, &str, &str)>) {
        let answer = answer(format, &Bytes::from(payload.to_owned()));
        let got = answer.ok().map(|answer| {
            let values: Vec<_> =
                answer.headers().get_all(header).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
            let status = answer.status().as_u16();
            let body = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes()
            });
            (status, values.join("|"), String::from_utf8(body.to_vec()).unwrap())
        });
        assert_eq!(got, expected.map(|(status, header, body)| (status, header.to_owned(), body.to_owned())));
    }

    #[test]
    fn a_function_result_becomes_an_http_answer() {
        check(
            Format::Rest,
            r#"{"statusCode": 201, "headers": {"X-A": "b"}, "body": "ok"}"#,
            "x-a",
            Some((201, "b", "ok")),
        );
        check(
            Format::Rest,
            r#"{"statusCode": "200", "body": "aGk=", "isBase64Encoded": true}"#,
            "content-type",
            Some((200, "application/json", "hi")),
        );
        check(
            Format::Rest,
            r#"{"statusCode": 200, "headers": {"X-A": "0"}, "multiValueHeaders": {"x-a": ["1", "2"]}}"#,
            "x-a",
            Some((200, "1|2", "")),
        );
        check(
            Format::HttpV2,
            r#"{"statusCode": 200, "cookies": ["a=1", "b=2"]}"#,
            "set-cookie",
            Some((200, "a=1|b=2", "")),
        );
        check(Format::HttpV2, r#"{"a": 1}"#, "content-type", Some((200, "application/json", r#"{"a": 1}"#)));
        check(Format::HttpV2, r#""text""#, "content-type", Some((200, "application/json", "text")));
    }

    #[test]
    fn a_malformed_result_is_no_answer() {
        for payload in [
            r#"{"a": 1}"#,
            "null",
            r#"{"statusCode": 99}"#,
            r#"{"statusCode": 200, "body": {"a": 1}}"#,
            r#"{"statusCode": 200, "headers": {"a b": "c"}}"#,
        ] {
            check(Format::Rest, payload, "x", None);
        }
        check(Format::HttpV2, "{", "x", None);
    }

    #[test]
    fn a_malformed_result_is_described_without_its_content() {
        let check = |format, payload: &str, expected: &str| {
            let why = answer(format, &Bytes::from(payload.to_owned())).err().unwrap();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{payload}: {why}");
        };
        check(Format::Rest, "null", "the result is `null`, as of a function that returns nothing");
        check(Format::Rest, "\"hunter2\"", "the result is a text, and no object");
        check(Format::Rest, r#"{"body": "hunter2"}"#, "an object without `statusCode`");
        check(Format::HttpV2, r#"{"statusCode": "hunter2"}"#, "`statusCode` is no number");
        check(Format::Rest, r#"{"statusCode": 99}"#, "`statusCode` is no number from 100");
        check(
            Format::Rest,
            r#"{"statusCode": 200, "body": {"a": "hunter2"}}"#,
            "`body` is an object, and must be",
        );
        let encoded = r#"{"statusCode": 200, "body": "hunter2!", "isBase64Encoded": true}"#;
        check(Format::Rest, encoded, "`body` is no Base64");
        check(Format::Rest, r#"{"statusCode": 200, "headers": {"x": "hunter2\n"}}"#, "the header `x` has");
        check(
            Format::Rest,
            r#"{"statusCode": 200, "multiValueHeaders": {"x": "hunter2"}}"#,
            "must be an array",
        );
    }
}
