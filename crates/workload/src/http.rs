//! What HTTP allows in a request. Whoever checks a request before it can be sent, and whoever sends it, ask the same rules.

use core::net::Ipv6Addr;
use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Uri};

use crate::TraceHeader;

/// The headers that carry the trace id: X-Ray's, and that of W3C Trace Context.
pub const TRACE_HEADERS: [&str; 2] = ["x-amzn-trace-id", "traceparent"];

/// Registered methods (<https://www.iana.org/assignments/http-methods>) that a request with a URL can have, and `PURGE`,
/// which caches know. `CONNECT` is for proxies.
pub const METHODS: [&str; 40] = [
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PURGE",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "NOTIFY",
];

/// The parts of a URL that a request is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// Without the brackets of IPv6.
    pub host: String,
    /// The usual one of the scheme where it has none.
    pub port: u16,
    /// As the `Host` header has it: as browsers do it, the port only where it is not the usual one.
    pub authority: String,
    /// Path and query; begins with `/`.
    pub path: String,
}

/// Why nothing can be sent to a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlFault {
    /// What is wrong, and what to write instead; after `the URL cannot be requested:`.
    pub reason: String,
    /// The wrong part, as the URL has it. Empty: something is missing, or all of it is wrong.
    pub part: String,
}

impl UrlFault {
    fn new(part: &str, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), part: part.to_owned() }
    }
}

/// Reads a URL that is complete.
///
/// # Errors
/// Why nothing can be sent to it, and what to write instead.
pub fn url(text: &str) -> Result<HttpUrl, UrlFault> {
    const START: &str = "it must begin with `http://` or `https://` and a host";
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let given = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if let Some(bad) = text.chars().find(|c| *c == ' ' || c.is_control()) {
        let reason = match bad {
            ' ' if given.contains(' ') => "a host cannot hold a space: remove it".to_owned(),
            ' ' => "it holds a space: write `%20`".to_owned(),
            '\n' | '\r' => {
                "it holds a line break: write it on one line, or `%0A` for one that is meant".to_owned()
            }
            '\0' => "it holds a NUL byte: remove it".to_owned(),
            other => format!("it holds the control character U+{:04X}: remove it", u32::from(other)),
        };
        return Err(UrlFault::new(&bad.to_string(), reason));
    }
    let tls = scheme.eq_ignore_ascii_case("https");
    if !tls && !scheme.eq_ignore_ascii_case("http") {
        return Err(UrlFault::new("", START));
    }
    check_authority(given)?;
    let ascii = in_ascii(text)?;
    let uri: Uri = ascii.parse().map_err(|error| refused(text, &error))?;
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(UrlFault::new("", START));
    };
    let usual = if tls { 443 } else { 80 };
    let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
        "" | ":" => usual,
        given => {
            let given = &given[1..];
            let no_port = || format!("`{given}` is not a port: use a number from 1 to 65535");
            let port = given.parse().ok().filter(|port| *port > 0);
            port.ok_or_else(|| UrlFault::new(given, no_port()))?
        }
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = authority.host();
    Ok(HttpUrl {
        tls,
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        authority: if port == usual { host.to_owned() } else { format!("{host}:{port}") },
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
    })
}

/// Checks what stands between `://` and the path, in words that the parser of URLs does not have.
fn check_authority(given: &str) -> Result<(), UrlFault> {
    if given.contains('@') {
        let reason = "a user or password in it would not be sent; use an `Authorization` header";
        return Err(UrlFault::new(given, reason));
    }
    if let Some(address) = given.strip_prefix('[') {
        let Some((address, port)) = address.split_once(']') else {
            return Err(UrlFault::new(given, "the `[` has no `]`: close the address of IPv6"));
        };
        if address.parse::<Ipv6Addr>().is_err() {
            let reason = format!("`{address}` is no address of IPv6, and brackets are for these");
            return Err(UrlFault::new(address, reason));
        }
        if !port.is_empty() && !port.starts_with(':') {
            let reason = format!("`{port}` follows the address: a port begins with `:`");
            return Err(UrlFault::new(port, reason));
        }
        return Ok(());
    }
    let (host, port) = given.split_once(':').unwrap_or((given, ""));
    if host.is_empty() && given.parse::<Ipv6Addr>().is_err() {
        return Err(UrlFault::new(given, "it has no host after `://`"));
    }
    if port.contains(':') {
        let reason = if given.parse::<Ipv6Addr>().is_ok() {
            format!("an address of IPv6 stands in brackets: write `[{given}]`")
        } else {
            format!("`{given}` has more than one `:`: a host, one `:` and a port go together")
        };
        return Err(UrlFault::new(given, reason));
    }
    if let Some(bad) = host.chars().find(|c| c.is_ascii() && !is_allowed(&format!("http://a{c}a/"))) {
        let reason = format!("`{host}` is not the name of a host: it holds `{bad}`");
        return Err(UrlFault::new(host, reason));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlFault::new(port, format!("`{port}` is not a port: use a number from 1 to 65535")));
    }
    Ok(())
}

fn is_allowed(url: &str) -> bool {
    url.parse::<Uri>().is_ok()
}

/// What the parser of URLs has refused behind the host: a letter, or the length.
fn refused(text: &str, error: &http::uri::InvalidUri) -> UrlFault {
    if text.len() >= usize::from(u16::MAX) {
        return UrlFault::new("", error.to_string());
    }
    let host = text.find("://").map_or(0, |at| at + 3);
    let path = text[host..].find(['/', '?', '#']).map_or(text.len(), |at| host + at);
    let letters: Vec<(usize, char)> = text[path..].char_indices().collect();
    // Whatever follows a wrong letter is refused with it.
    let right = letters.partition_point(|(at, letter)| {
        is_allowed(&format!("http://a{}", &text[path..path + at + letter.len_utf8()]))
    });
    match letters.get(right).filter(|(_, letter)| letter.is_ascii()) {
        Some((_, bad)) => {
            let reason = format!("it holds `{bad}`: write `%{:02X}`", u32::from(*bad));
            UrlFault::new(&bad.to_string(), reason)
        }
        None => UrlFault::new("", error.to_string()),
    }
}

/// Whether a URL begins with this scheme, in letters of any case.
pub fn begins(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// The URL with a host of ASCII letters, as names are looked up and certificates have them: `bücher.example` is
/// `xn--bcher-kva.example`.
fn in_ascii(text: &str) -> Result<Cow<'_, str>, UrlFault> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(Cow::Borrowed(text)) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    let (host, port) = authority.split_at(authority.rfind(':').unwrap_or(authority.len()));
    let ascii = idna::domain_to_ascii_strict(host)
        .map_err(|_| UrlFault::new(host, format!("`{host}` is not the name of a host")))?;
    Ok(Cow::Owned(format!("{scheme}://{ascii}{port}{path}")))
}

/// Why a request cannot have this header, by its name alone.
pub fn refused_header(name: &str, trace_header: TraceHeader) -> Option<&'static str> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return Some("is not a valid header name") };
    let [xray, traceparent] = TRACE_HEADERS.map(|header| name == header);
    let carries_trace = match trace_header {
        TraceHeader::Xray => xray,
        TraceHeader::Traceparent => traceparent,
        TraceHeader::Both => xray || traceparent,
        TraceHeader::None => false,
    };
    let framing = name == http::header::CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING;
    (carries_trace || framing).then_some("is set by sb for every invocation; remove it from the request")
}

/// Why a header cannot have this value.
pub fn refused_header_value(name: &str, value: &str) -> Option<&'static str> {
    if HeaderValue::from_bytes(value.as_bytes()).is_err() {
        return Some("has control characters (such as a line end) in its value; remove them");
    }
    let is_host = name.eq_ignore_ascii_case("host");
    (is_host && (value.contains('@') || value.parse::<http::uri::Authority>().is_err()))
        .then_some("is not `host` or `host:port`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused_with_a_way_out() {
        #[track_caller]
        fn check(text: &str, expected: Result<(&str, u16, &str, &str), &str>) {
            let found = url(text);
            match (&found, expected) {
                (Ok(url), Ok(expected)) => {
                    assert_eq!((&*url.host, url.port, &*url.authority, &*url.path), expected, "{text}");
                }
                (Err(fault), Err(words)) => {
                    assert!(fault.reason.contains(words), "{text}: {}", fault.reason);
                    assert!(text.contains(&fault.part), "{text}: {}", fault.part);
                }
                _ => panic!("{text}: {found:?}"),
            }
        }
        check("http://a.b", Ok(("a.b", 80, "a.b", "/")));
        check("https://[::1]:8443/a?b=c", Ok(("::1", 8443, "[::1]:8443", "/a?b=c")));
        check("http://a:80?b", Ok(("a", 80, "a", "/?b")));
        check("HTTP://a/", Ok(("a", 80, "a", "/")));
        check("HttpS://a/", Ok(("a", 443, "a", "/")));
        check(
            "http://Bücher.example:8080/ü?ü",
            Ok(("xn--bcher-kva.example", 8080, "xn--bcher-kva.example:8080", "/ü?ü")),
        );
        check("http://münchen.de", Ok(("xn--mnchen-3ya.de", 80, "xn--mnchen-3ya.de", "/")));
        check("http://-ü/", Err("is not the name of a host"));
        check("http://a/b c", Err("`%20`"));
        check("http://a/b\r\nx-evil: 1", Err("line break"));
        check("http://a/\0", Err("NUL"));
        check("http://127.0.0.1:70000/ok", Err("`70000` is not a port"));
        check("http://127.0.0.1:0/ok", Err("`0` is not a port"));
        check("http://me:pw@a/", Err("`Authorization`"));
        check("http:///path", Err("no host after `://`"));
        check("http://:80/path", Err("no host after `://`"));
        check("http://", Err("no host after `://`"));
        check("http://a b/", Err("a host cannot hold a space"));
        check("http://a{b}/", Err("`a{b}` is not the name of a host: it holds `{`"));
        check("http://a%2Fb/", Err("`a%2Fb` is not the name of a host: it holds `%`"));
        check("http://a_b.c-d:1/", Ok(("a_b.c-d", 1, "a_b.c-d:1", "/")));
        check("http://a:%7B1/", Err("`%7B1` is not a port"));
        check("http://a:b:80/", Err("`a:b:80` has more than one `:`"));
        check("http://::1/", Err("write `[::1]`"));
        check("http://[::1/", Err("the `[` has no `]`"));
        check("http://[a]/", Err("`a` is no address of IPv6"));
        check("http://[::1]80/", Err("a port begins with `:`"));
        check("http://a/x<y", Err("it holds `<`: write `%3C`"));
        check("http://a/\\?y=<", Err("it holds `"));
        check("http://a/x?y=\\ü<", Err("it holds `<`: write `%3C`"));
        check(&format!("http://a/{}", "x".repeat(70_000)), Err("too long"));
        check("ftp://a/", Err("must begin with `http://`"));
        check("/only/a/path", Err("must begin with `http://`"));
    }

    #[test]
    fn headers_that_frame_the_message_are_not_for_requests() {
        for name in ["Content-Length", "transfer-encoding", "X-Amzn-Trace-Id", "traceparent"] {
            assert!(refused_header(name, TraceHeader::Both).is_some(), "{name}");
        }
        assert_eq!(refused_header("X-Amzn-Trace-Id", TraceHeader::None), None);
        assert_eq!(refused_header_value("Host", "example.org:8080"), None);
        assert!(refused_header_value("host", "example.org/path").is_some());
        assert!(refused_header_value("x-a", "a\r\nb: c").is_some());
    }
}
