//! The HTTP gateway in front of the functions: API Gateway's part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::context::{TraceContext, new_request_id, new_segment_id};
use super::http::{self, Answer};
use super::instances::Caller;
use super::integrations;
use super::invoke::{self, Call, Runtime};
use super::invoke_api::{TRACE_HEADER, stamp, text};
use super::proxy::{self, HttpRequest};
use super::routes::{self, RouteMatch};
use super::segment::{Flags, Head, Segment, Subsegment, fields};
use sb_sam::{Format, Route};

/// API Gateway's limit for an integration.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(29);
/// API Gateway's limit for a request's body, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;

pub(super) struct Gateway {
    pub runtime: Arc<Runtime>,
    pub routes: Vec<Route>,
    /// Where the gateway listens.
    pub address: SocketAddr,
}

pub(super) async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Answer {
    let runtime = &gateway.runtime;
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    if !path.starts_with('/') {
        return message(StatusCode::BAD_REQUEST, "Bad Request");
    }
    let Some(found) = routes::find_route(&gateway.routes, method.as_str(), &path) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let trace = TraceContext::from_header(text(request.headers(), TRACE_HEADER.as_str()));
    let request_id = new_request_id();
    let stage = Head {
        id: new_segment_id(),
        name: format!("{}/{}", found.route.api, found.route.stage),
        parent: trace.parent.clone(),
        origin: "AWS::ApiGateway::Stage",
        start: runtime.now(),
    };
    runtime.open(&trace, &stage);

    let host =
        text(request.headers(), HOST.as_str()).map_or_else(|| gateway.address.to_string(), str::to_owned);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (parts, body) = request.into_parts();
    let agent = text(&parts.headers, "user-agent").unwrap_or_default().to_owned();
    let mut subsegments = Vec::new();
    let mut answer = match http::read_body(body, MAX_BODY).await {
        Err(status) => message(status, status.canonical_reason().unwrap_or("Bad Request")),
        Ok(body) => {
            let mut headers = parts.headers;
            if let Ok(value) =
                HeaderValue::from_str(&TraceContext { parent: None, ..trace.clone() }.to_string())
            {
                headers.insert(TRACE_HEADER, value);
            }
            headers.entry("x-forwarded-for").or_insert(HeaderValue::from_static("127.0.0.1"));
            headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
            let incoming = HttpRequest {
                method: method.clone(),
                path: path.clone(),
                query: query.clone(),
                headers,
                body,
                source_ip: "127.0.0.1".to_owned(),
                host: host.clone(),
                request_id: request_id.clone(),
                account: runtime.account.clone(),
                time: jiff::Timestamp::now(),
            };
            let (answer, subsegment) = behind(runtime, &found, &incoming, &trace).await;
            subsegments.extend(subsegment);
            answer
        }
    };
    let status = answer.status().as_u16();
    let url = if query.is_empty() {
        format!("http://{host}{path}")
    } else {
        format!("http://{host}{path}?{query}")
    };
    let fields = fields(json!({
        "http": {
            "request": {
                "url": url,
                "method": method.as_str(),
                "user_agent": agent,
                "client_ip": "127.0.0.1",
                "x_forwarded_for": true,
            },
            "response": { "status": status, "content_length": 0 },
        },
        "aws": { "api_gateway": {
            "account_id": runtime.account,
            "rest_api_id": found.route.api,
            "stage": found.route.stage,
            "request_id": request_id,
        } },
        "annotations": { "aws:api_id": found.route.api, "aws:api_stage": found.route.stage },
        "resource_arn": format!("arn:aws:apigateway:{}::/restapis/{}/stages/{}", runtime.region, found.route.api, found.route.stage),
    }));
    stamp(&mut answer, &request_id, &trace);
    let segment =
        Segment { head: stage, end: runtime.now(), flags: Flags::of_status(status), fields, subsegments };
    runtime.close(&trace, &segment);
    answer
}

/// Has the request answered by what is behind the route: the answer, and the part of the gateway's segment for it.
async fn behind(
    runtime: &Arc<Runtime>,
    found: &RouteMatch<'_>,
    incoming: &HttpRequest,
    trace: &TraceContext,
) -> (Answer, Option<Subsegment>) {
    let (id, start) = (new_segment_id(), runtime.now());
    let inner = trace.under(&id);
    let part = |name: &str, flags: Flags, fields: Map<String, Value>| {
        let (name, namespace) = (name.to_owned(), Some("aws"));
        Some(Subsegment { id: id.clone(), name, namespace, start, end: runtime.now(), flags, fields })
    };
    if let Some(settings) = &found.route.integration {
        let answering = integrations::answer(runtime, settings, found, incoming, &inner);
        let answer = tokio::time::timeout(INTEGRATION_TIMEOUT, answering)
            .await
            .unwrap_or_else(|_| message(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"));
        let status = answer.status().as_u16();
        let action = settings["action"].as_str().unwrap_or_default();
        let fields = fields(json!({
            "http": {
                "request": {
                    "url": format!("https://states.{}.amazonaws.com/?Action={action}", runtime.region),
                    "method": "POST",
                },
                "response": { "status": status },
            },
            "aws": { "region": runtime.region },
        }));
        return (answer, part("STEPFUNCTIONS", Flags::of_status(status), fields));
    }
    let Some(function) =
        runtime.functions.values().find(|function| function.spec.logical_id == found.route.function)
    else {
        return (message(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"), None);
    };
    let call = Call {
        function: function.clone(),
        // Lambda gives the invocation an id of its own.
        request_id: new_request_id(),
        payload: Bytes::from(proxy::event(incoming, found).to_string()),
        client_context: None,
        trace: inner,
    };
    let (answer, flags) = integrate(runtime, call, found.route).await;
    let fields = lambda_fields(runtime, &function.spec.name, &function.spec.arn, answer.status());
    (answer, part("Lambda", flags, fields))
}

/// Runs the function, and turns its outcome into what the client gets.
async fn integrate(runtime: &Arc<Runtime>, call: Call, route: &Route) -> (Answer, Flags) {
    // On a task of its own: the function goes on when the gateway gives up on it.
    let (caller, format) = (runtime.clone(), route.format);
    let function = call.function.clone();
    // A REST API and an HTTP API have words of their own.
    let failed = || match format {
        Format::Rest => message(StatusCode::BAD_GATEWAY, "Internal server error"),
        _ => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    };
    let running = tokio::spawn(async move { caller.call(call, Caller::Gateway).await });
    match tokio::time::timeout(INTEGRATION_TIMEOUT, running).await {
        Err(_) => match format {
            Format::Rest => {
                (message(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"), Flags::FAULT)
            }
            _ => (message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"), Flags::FAULT),
        },
        Ok(Err(_)) => (message(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"), Flags::FAULT),
        Ok(Ok(invoke::Answer::Throttled)) => {
            (message(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), Flags::of_status(429))
        }
        Ok(Ok(invoke::Answer::Failed(_))) => (failed(), Flags::FAULT),
        Ok(Ok(invoke::Answer::Payload(payload))) => match proxy::answer(format, &payload) {
            Ok(answer) => (answer, Flags::default()),
            Err(why) => {
                function.write_log(&format!(
                    "malformed proxy response: {why}; API Gateway cannot answer with it"
                ));
                (failed(), Flags::default())
            }
        },
    }
}

fn lambda_fields(runtime: &Runtime, name: &str, arn: &str, status: StatusCode) -> Map<String, Value> {
    let throttled = status == StatusCode::TOO_MANY_REQUESTS;
    fields(json!({
        "http": {
            "request": {
                "url": format!("https://lambda.{}.amazonaws.com/2015-03-31/functions/{arn}/invocations", runtime.region),
                "method": "POST",
            },
            "response": { "status": if throttled { 429 } else { 200 } },
        },
        "aws": {
            "function_name": name,
            "region": runtime.region,
            "operation": "Invoke",
            "resource_names": [name],
        },
    }))
}

fn message(status: StatusCode, text: &str) -> Answer {
    http::json(status, &json!({ "message": text }))
}
