//! The X-Ray daemon's UDP protocol: a header line, then one segment document per datagram.
//!
//! The daemon on AWS Lambda also takes spans of OpenTelemetry. AWS's distributions of its SDKs send them so: after the header
//! line, `T1S` (`T1U`: not sampled) and a message of OTLP in protobuf, as Base64.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::net::sockopt;
use serde_json::Value;
use tokio::net::UdpSocket;

use super::invoke::Runtime;
use super::otlp;
use sb_daemon::Lifetime;
use sb_daemon::otlp::Encoding;

/// The largest datagram.
const MAX_DATAGRAM: usize = 64 * 1024;
/// Bytes that may wait for us in the kernel, which gives as much of it as its limit allows.
const WAITING: usize = 16 * 1024 * 1024;

/// Takes datagrams until the runtime stops. What cannot be read is noted and dropped, as the daemon does.
pub(super) async fn receive(socket: UdpSocket, lifetime: Lifetime, runtime: Arc<Runtime>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    // A burst that finds no room is lost without a word. Only root may ask for more than the machine's limit.
    if sockopt::set_socket_recv_buffer_size_force(&socket, WAITING).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, WAITING);
    }
    loop {
        let length = tokio::select! {
            () = lifetime.stopped() => return,
            received = socket.recv(&mut buffer) => match received {
                Ok(length) => length,
                Err(_) => continue,
            },
        };
        if let Err(reason) = take(&runtime, &buffer[..length]) {
            runtime.journal.note(&format!("a datagram for the X-Ray daemon was dropped: {reason}"));
        }
    }
}

/// How spans of OpenTelemetry begin.
const SAMPLED: &[u8] = b"T1S";
const UNSAMPLED: &[u8] = b"T1U";

#[derive(Debug, PartialEq)]
enum Datagram {
    Document(Value),
    /// A message of OTLP in protobuf.
    Spans(Vec<u8>),
    /// Spans that nobody wants recorded.
    Unsampled,
}

fn take(runtime: &Runtime, datagram: &[u8]) -> Result<(), String> {
    match parse(datagram)? {
        Datagram::Document(document) => {
            runtime.recorder.receive(&document).map_err(|refused| refused.to_string())
        }
        Datagram::Unsampled => Ok(()),
        Datagram::Spans(message) => match otlp::take(runtime, message.into(), Encoding::Protobuf)? {
            None => Ok(()),
            Some((count, reason)) => Err(format!("{count} of its spans: {reason}")),
        },
    }
}

fn parse(datagram: &[u8]) -> Result<Datagram, String> {
    let newline = datagram.iter().position(|byte| *byte == b'\n').ok_or("no line end after the header")?;
    let header: Value = serde_json::from_slice(&datagram[..newline])
        .map_err(|error| format!("the header is not JSON: {error}"))?;
    if header.get("format") != Some(&"json".into()) || header.get("version") != Some(&1.into()) {
        return Err("the header must be {\"format\": \"json\", \"version\": 1}".to_owned());
    }
    let body = &datagram[newline + 1..];
    if let Some(spans) = body.strip_prefix(SAMPLED) {
        let message = STANDARD.decode(spans.trim_ascii_end());
        return message.map(Datagram::Spans).map_err(|error| format!("the spans are no Base64: {error}"));
    }
    if body.starts_with(UNSAMPLED) {
        return Ok(Datagram::Unsampled);
    }
    let document = serde_json::from_slice(body);
    document.map(Datagram::Document).map_err(|error| format!("the document is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_a_header_line_and_a_document() {
        let header = b"{\"format\": \"json\", \"version\": 1}\n";
        let after = |body: &[u8]| parse(&[header, body].concat());
        assert_eq!(after(b"{\"id\": \"x\"}"), Ok(Datagram::Document(serde_json::json!({ "id": "x" }))));
        assert_eq!(after(b"T1SCgE="), Ok(Datagram::Spans(vec![0x0a, 1])));
        assert_eq!(after(b"T1UCgE="), Ok(Datagram::Unsampled));
        assert!(after(b"T1S?").is_err_and(|reason| reason.contains("no Base64")));
        for bad in [
            &b"{\"id\": 1}"[..],
            b"{\"format\":\"xml\",\"version\":1}\n{}",
            b"{\"format\":\"json\",\"version\":1}\n{",
            b"",
        ] {
            assert!(parse(bad).is_err());
        }
    }
}
