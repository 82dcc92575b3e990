//! The X-Ray daemon's UDP protocol: a header line, then one segment document per datagram.

use std::sync::Arc;

use rustix::net::sockopt;
use serde_json::Value;
use tokio::net::UdpSocket;

use super::invoke::Runtime;
use sb_daemon::Lifetime;

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

fn take(runtime: &Runtime, datagram: &[u8]) -> Result<(), String> {
    let document = parse(datagram)?;
    runtime.recorder.receive(&document).map_err(|refused| refused.to_string())
}

fn parse(datagram: &[u8]) -> Result<Value, String> {
    let newline = datagram.iter().position(|byte| *byte == b'\n').ok_or("no line end after the header")?;
    let header: Value = serde_json::from_slice(&datagram[..newline])
        .map_err(|error| format!("the header is not JSON: {error}"))?;
    if header.get("format") != Some(&"json".into()) || header.get("version") != Some(&1.into()) {
        return Err("the header must be {\"format\": \"json\", \"version\": 1}".to_owned());
    }
    serde_json::from_slice(&datagram[newline + 1..])
        .map_err(|error| format!("the document is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_a_header_line_and_a_document() {
        let document = parse(b"{\"format\": \"json\", \"version\": 1}\n{\"id\": \"x\"}").unwrap();
        assert_eq!(document["id"], "x");
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
