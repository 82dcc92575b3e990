//! Trace contexts: the `X-Amzn-Trace-Id` header and the ids in it.

use std::fmt;

use super::clock::wall_micros;

/// Which trace a request belongs to, and which of its spans caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    /// `1-5759e988-bd862e3fe1be46a994272793`
    pub root: String,
    /// 16 hex digits.
    pub parent: Option<String>,
    /// Whether anything is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a header as AWS does: an absent or malformed root starts a new trace, and a request that says
    /// nothing of sampling is recorded.
    pub(crate) fn from_header(header: Option<&str>) -> Self {
        let mut context = Self { root: String::new(), parent: None, sampled: true };
        for part in header.unwrap_or_default().split(';') {
            match part.trim().split_once('=') {
                Some(("Root", root)) if is_trace_id(root) => root.clone_into(&mut context.root),
                Some(("Parent", parent)) if is_hex(parent, 16) => context.parent = Some(parent.to_owned()),
                Some(("Sampled", sampled)) => context.sampled = sampled != "0",
                _ => {}
            }
        }
        if context.root.is_empty() {
            context.parent = None;
            context.root = new_trace_id();
        }
        context
    }

    /// The same trace, caused by another span.
    pub(crate) fn under(&self, parent: &str) -> Self {
        Self { parent: Some(parent.to_owned()), ..self.clone() }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Root={}", self.root)?;
        if let Some(parent) = &self.parent {
            write!(out, ";Parent={parent}")?;
        }
        write!(out, ";Sampled={}", u8::from(self.sampled))
    }
}

/// A fresh segment id: 16 hex digits.
pub(super) fn new_segment_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A fresh request id: a random UUID (version 4).
pub(super) fn new_request_id() -> String {
    uuid(rand::random())
}

/// A version 4 UUID of these bits.
pub(super) fn uuid(bits: u128) -> String {
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

fn new_trace_id() -> String {
    let seconds = wall_micros() / 1_000_000;
    trace_id((u128::from(seconds.cast_unsigned()) << 96) | (rand::random::<u128>() >> 32))
}

/// The trace id whose 32 hex digits are this number: `1-5759e988-bd862e3fe1be46a994272793`.
pub(super) fn trace_id(number: u128) -> String {
    format!("1-{:08x}-{:024x}", number >> 96, number & ((1 << 96) - 1))
}

/// The number that a trace id's 32 hex digits make, if it is one.
pub(super) fn trace_number(id: &str) -> Option<u128> {
    let (seconds, random) = id.strip_prefix("1-").filter(|_| is_trace_id(id))?.split_once('-')?;
    Some((u128::from_str_radix(seconds, 16).ok()? << 96) | u128::from_str_radix(random, 16).ok()?)
}

fn is_trace_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let ok = parts.next() == Some("1")
        && parts.next().is_some_and(|part| is_hex(part, 8))
        && parts.next().is_some_and(|part| is_hex(part, 24));
    ok && parts.next().is_none()
}

pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn a_header_gives_root_parent_and_sampling() {
        let context = TraceContext::from_header(Some(&format!(
            "Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=x"
        )));
        assert_eq!(context.to_string(), format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0"));
        assert_eq!(
            TraceContext::from_header(Some(&format!("Root={ROOT}"))).to_string(),
            format!("Root={ROOT};Sampled=1")
        );
    }

    #[test]
    fn a_malformed_root_starts_a_new_trace_without_a_parent() {
        for header in [None, Some(""), Some("Root=1-5759e988-xyz;Parent=53995c3f42cd8ad8"), Some("garbage")] {
            let context = TraceContext::from_header(header);
            assert!(is_trace_id(&context.root), "{context}");
            assert_eq!(context.parent, None);
        }
    }

    #[test]
    fn a_trace_id_is_a_number() {
        let number = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793;
        assert_eq!((trace_number(ROOT), trace_id(number).as_str()), (Some(number), ROOT));
        for other in
            ["", "1-5759e988", "2-5759e988-bd862e3fe1be46a994272793", "1-+759e988-bd862e3fe1be46a994272793"]
        {
            assert_eq!(trace_number(other), None);
        }
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        let id = new_request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
}
