//! What exporters of OpenTelemetry send (OTLP over HTTP), for daemons that receive it.
//!
//! A receiver's address ends in a secret path: functions in containers send as users of their own, so that the user of a
//! connection tells nothing. Requests are in protobuf or JSON, compressed by gzip or not.

use std::io::Read as _;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::http::{self, Answer};

const PROTOBUF: &str = "application/x-protobuf";

/// In which form a request came; its answer has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// What an exporter sent.
#[derive(Debug)]
pub struct Export {
    /// The message, not compressed. None: it is of metrics or logs.
    pub spans: Option<Bytes>,
    /// Of the message.
    pub encoding: Encoding,
}

/// Reads a request to `/TOKEN/v1/traces`, `/TOKEN/v1/metrics` or `/TOKEN/v1/logs`. Its body may have `longest` bytes, compressed
/// and not.
///
/// # Errors
/// The answer to a request that cannot be taken.
pub async fn receive(request: Request<Incoming>, token: &str, longest: usize) -> Result<Export, Answer> {
    if !http::is_from_here(request.headers()) {
        return Err(refusal(
            StatusCode::FORBIDDEN,
            "send to 127.0.0.1 or localhost, and not from a web page",
        ));
    }
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let (given, path) = path.split_once('/').unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
        let address = "send to the whole address that is in OTEL_EXPORTER_OTLP_ENDPOINT, with its path";
        return Err(refusal(StatusCode::FORBIDDEN, address));
    }
    if request.method() != Method::POST {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "spans are sent with POST /v1/traces"));
    }
    let has_spans = match path {
        "v1/traces" => true,
        "v1/metrics" | "v1/logs" => false,
        _ => return Err(refusal(StatusCode::NOT_FOUND, "spans are sent with POST /v1/traces")),
    };
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoding = match header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim() {
        "application/json" => Encoding::Json,
        PROTOBUF => Encoding::Protobuf,
        _ => {
            let message = "send application/x-protobuf or application/json";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    };
    let is_compressed = match header(CONTENT_ENCODING) {
        "gzip" => true,
        "" | "identity" => false,
        _ => {
            let message = "compress with gzip, or not at all";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    };
    let body = http::read_body(request.into_body(), longest)
        .await
        .map_err(|status| refusal(status, "the body cannot be read, or is too long"))?;
    if !has_spans {
        return Ok(Export { spans: None, encoding });
    }
    let spans = if is_compressed {
        unpack(&body, longest).map_err(|reason| refusal(StatusCode::BAD_REQUEST, &reason))?
    } else {
        body
    };
    Ok(Export { spans: Some(spans), encoding })
}

fn unpack(body: &[u8], longest: usize) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(body).take(longest as u64 + 1);
    decoder.read_to_end(&mut plain).map_err(|error| format!("not gzip: {error}"))?;
    if plain.len() > longest {
        return Err("the body is too long".to_owned());
    }
    Ok(plain.into())
}

/// An answer that takes nothing. Exporters send again what was answered by 429, 502, 503 or 504, and nothing else.
pub fn refusal(status: StatusCode, message: &str) -> Answer {
    http::json(status, &json!({ "message": message }))
}

/// The answer to what was taken, in its encoding. `rejected` is the number of spans that were not, and why.
pub fn accepted(encoding: Encoding, rejected: Option<(u64, &str)>) -> Answer {
    if encoding == Encoding::Json {
        let message = rejected.map_or_else(
            || json!({}),
            |(spans, reason)| json!({ "partialSuccess": { "rejectedSpans": spans.to_string(), "errorMessage": reason } }),
        );
        return http::json(StatusCode::OK, &message);
    }
    let message = rejected.map(|(spans, reason)| partial_success(spans, reason)).unwrap_or_default();
    let mut answer = http::bytes(StatusCode::OK, message.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    answer
}

/// `ExportTraceServiceResponse` with its one field, `partial_success`: 1 is the number of spans, 2 the reason.
fn partial_success(spans: u64, reason: &str) -> Vec<u8> {
    let mut inner = vec![1 << 3];
    varint(spans, &mut inner);
    inner.push((2 << 3) | 2);
    varint(reason.len() as u64, &mut inner);
    inner.extend(reason.as_bytes());
    let mut message = vec![(1 << 3) | 2];
    varint(inner.len() as u64, &mut message);
    message.extend(inner);
    message
}

fn varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_compressed_is_read_up_to_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&[b'x'; 1000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(unpack(&packed, 1000).unwrap(), [b'x'; 1000].as_slice());
        assert_eq!(unpack(&packed, 999).unwrap_err(), "the body is too long");
        assert!(unpack(b"plain", 999).unwrap_err().starts_with("not gzip"));
        assert!(unpack(&packed[..20], 999).unwrap_err().starts_with("not gzip"));
    }

    #[test]
    fn an_answer_in_protobuf_says_how_many_spans_were_not_taken() {
        assert_eq!(partial_success(300, "no"), b"\x0a\x07\x08\xac\x02\x12\x02no");
        assert_eq!(partial_success(1, ""), b"\x0a\x04\x08\x01\x12\x00");
    }
}
