//! The receiver of OpenTelemetry: functions send their spans here, and these become parts of the traces that the runtime records.
//!
//! On AWS a layer with a collector listens at `http://localhost:4318` in each function's environment, or X-Ray takes OTLP
//! itself. Here both are this one receiver, which functions find by the variables that OpenTelemetry's SDKs read.

use std::collections::BTreeMap;

use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode, Uri};
use sb_analysis::otlp_json_of_protobuf;
use sb_daemon::otlp::{self, Encoding, Export};

use super::exported;
use super::http::Answer;
use super::invoke::Runtime;

/// Of a request, compressed and not: more than the largest trace that is kept.
const LONGEST: usize = 4 * 1024 * 1024;

/// Base URL of the receiver: exporters add `/v1/traces`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The whole URL for spans, in place of the one above.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// OTLP over HTTP, by its port. That over gRPC has another one.
const PORT: u16 = 4318;

pub(super) async fn answer(runtime: &Runtime, token: &str, request: Request<Incoming>) -> Answer {
    let Export { spans, encoding } = match otlp::receive(request, token, LONGEST).await {
        Ok(export) => export,
        Err(refusal) => return refusal,
    };
    let Some(spans) = spans else { return otlp::accepted(encoding, None) };
    match take(runtime, spans, encoding) {
        Ok(None) => otlp::accepted(encoding, None),
        Ok(Some((count, reason))) => {
            runtime.journal.note(&format!("spans of functions that were not taken: {count}; {reason}"));
            otlp::accepted(encoding, Some((count, &reason)))
        }
        Err(reason) => {
            runtime.journal.note(&format!("an export of spans was refused: {reason}"));
            otlp::refusal(StatusCode::BAD_REQUEST, &reason)
        }
    }
}

/// Records the spans of a message. Returns how many could not be, and why the first of them.
///
/// # Errors
/// It is no message of spans.
pub(super) fn take(
    runtime: &Runtime,
    message: Bytes,
    encoding: Encoding,
) -> Result<Option<(u64, String)>, String> {
    let converted;
    let text = match encoding {
        Encoding::Json => std::str::from_utf8(&message).map_err(|error| format!("not JSON: {error}"))?,
        Encoding::Protobuf => {
            converted = otlp_json_of_protobuf(message).map_err(|error| error.to_string())?;
            &converted
        }
    };
    let mut rejected: Option<(u64, String)> = None;
    exported::each(text, |document| {
        let taken = document
            .and_then(|document| runtime.recorder.receive(&document).map_err(|refused| refused.to_string()));
        if let Err(reason) = taken {
            rejected.get_or_insert((0, reason)).0 += 1;
        }
    })?;
    Ok(rejected)
}

/// Leads a function to the receiver at `endpoint`: where it says nothing of OpenTelemetry, and where it names an address that
/// only exists on AWS.
pub(super) fn lead(environment: &mut BTreeMap<String, String>, endpoint: &str) {
    let is_of_aws = |environment: &BTreeMap<String, String>, name: &str| {
        environment.get(name).is_some_and(|address| is_of_aws(address))
    };
    if is_of_aws(environment, TRACES_ENDPOINT) {
        environment.insert(TRACES_ENDPOINT.to_owned(), format!("{endpoint}/v1/traces"));
    }
    if !environment.contains_key(ENDPOINT) || is_of_aws(environment, ENDPOINT) {
        environment.insert(ENDPOINT.to_owned(), endpoint.to_owned());
        environment
            .entry("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned())
            .or_insert_with(|| "http/protobuf".to_owned());
    }
}

/// Whether an address is that of a layer's collector, or X-Ray's own for OTLP (`https://xray.REGION.amazonaws.com/v1/traces`).
fn is_of_aws(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    match (uri.host(), uri.port_u16()) {
        (Some("localhost" | "127.0.0.1" | "[::1]"), port) => port == Some(PORT),
        (Some(host), _) => host.starts_with("xray.") && host.ends_with(".amazonaws.com"),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[(&str, &str)], expected: &[(&str, &str)]) {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut environment: BTreeMap<String, String> = owned(given);
        lead(&mut environment, "http://127.0.0.1:9/secret");
        assert_eq!(environment, owned(expected));
    }

    #[test]
    fn functions_find_the_receiver_in_place_of_what_only_aws_has() {
        let here = (ENDPOINT, "http://127.0.0.1:9/secret");
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        check(&[], &[here, protocol]);
        for layer in ["http://localhost:4318", "http://127.0.0.1:4318/"] {
            check(&[(ENDPOINT, layer)], &[here, protocol]);
        }
        let json = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
        check(&[json], &[here, json]);
        for address in ["http://localhost:4318/v1/traces", "https://xray.us-east-1.amazonaws.com/v1/traces"] {
            let here_whole = (TRACES_ENDPOINT, "http://127.0.0.1:9/secret/v1/traces");
            check(&[(TRACES_ENDPOINT, address)], &[here, protocol, here_whole]);
        }
        // Somebody else's collector is left alone.
        for own in
            ["http://localhost:4317", "http://collector:4318", "https://example.com/xray.amazonaws.com", ""]
        {
            check(&[(ENDPOINT, own)], &[(ENDPOINT, own)]);
        }
    }
}
