//! OTLP's ExportTraceServiceRequest from its binary form to its JSON form: the messages of
//! opentelemetry/proto/trace/v1/trace.proto, as far as they are kept.
//!
//! What the declarations here do not name is passed over, so that later versions can be read. Every field is optional, so
//! that the JSON has what was sent and nothing else, in the order of the fields' numbers. Ids are hexadecimal, as OTLP's
//! JSON has them. Texts are declared as bytes: one that is no UTF-8 must not cost a whole request.

use bytes::Bytes;
use prost::Message;
use serde::{Serialize, Serializer};

/// Why a request has no form in JSON.
#[derive(Debug, thiserror::Error)]
pub enum MalformedExport {
    /// A field is of another type, or the request ends within one.
    #[error("not an ExportTraceServiceRequest in protobuf: {0}")]
    Message(#[from] prost::DecodeError),
    /// A value lies more than 32 values deep.
    #[error("not an ExportTraceServiceRequest in protobuf: values are nested too deep")]
    TooDeep,
    /// What it holds would take more than 128 MiB of memory.
    #[error("too many spans, attributes or values in one request: send smaller batches")]
    TooMany,
}

/// Bytes of memory that the messages of one request may take: an empty one is two bytes on the wire, and hundreds here.
const MOST_MEMORY: usize = 128 << 20;

/// A message that holds others.
#[derive(Clone, Copy)]
enum Holder {
    Export,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Value,
    Array,
    List,
}

impl Holder {
    /// What a field holds, and what one of it takes in memory. None: no message.
    fn field(self, number: u32) -> Option<(Self, usize)> {
        Some(match (self, number) {
            (Self::Export, 1) => (Self::ResourceSpans, size_of::<ResourceSpans>()),
            (Self::ResourceSpans, 1) => (Self::Resource, size_of::<Resource>()),
            (Self::ResourceSpans, 2) => (Self::ScopeSpans, size_of::<ScopeSpans>()),
            (Self::ScopeSpans, 1) => (Self::Scope, size_of::<InstrumentationScope>()),
            (Self::ScopeSpans, 2) => (Self::Span, size_of::<Span>()),
            (Self::Span, 11) => (Self::Event, size_of::<Event>()),
            (Self::Span, 13) => (Self::Link, size_of::<Link>()),
            (Self::Resource | Self::List, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Span, 9) => (Self::Pair, size_of::<KeyValue>()),
            (Self::Pair, 2) | (Self::Array, 1) => (Self::Value, size_of::<AnyValue>()),
            (Self::Value, 5) => (Self::Array, size_of::<ArrayValue>()),
            (Self::Value, 6) => (Self::List, size_of::<KeyValueList>()),
            _ => return None,
        })
    }

    /// Whether the messages in `bytes` fit into `memory`, which they are taken from. What is malformed is the decoder's to tell.
    fn fits(self, mut bytes: &[u8], memory: &mut usize, levels: usize) -> bool {
        use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
        while !bytes.is_empty() {
            let Ok((number, kind)) = decode_key(&mut bytes) else { return true };
            let inner = self.field(number).filter(|_| kind == WireType::LengthDelimited && levels > 0);
            let Some((holder, size)) = inner else {
                if skip_field(kind, number, &mut bytes, DecodeContext::default()).is_err() {
                    return true;
                }
                continue;
            };
            let length = decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok());
            let Some((message, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
                return true;
            };
            bytes = rest;
            // A list that grows has room for as many again.
            let Some(left) = memory.checked_sub(2 * size) else { return false };
            *memory = left;
            if !holder.fits(message, memory, levels - 1) {
                return false;
            }
        }
        true
    }
}

/// Values may hold values; nobody nests them deeper, and readers of JSON would not follow.
const DEEPEST: usize = 32;

/// A request in protobuf as JSON, on one line.
///
/// # Errors
/// It is malformed, nested too deep, or would take too much memory.
pub fn to_json(request: Bytes) -> Result<String, MalformedExport> {
    // The decoder itself goes a hundred levels deep.
    if !Holder::Export.fits(&request, &mut MOST_MEMORY.clone(), 100) {
        return Err(MalformedExport::TooMany);
    }
    let export = Export::decode(request)?;
    let spans = export.resource_spans.iter().flat_map(|all| {
        let of_resource = all.resource.iter().flat_map(|resource| &resource.attributes);
        of_resource.chain(all.scope_spans.iter().flat_map(|all| {
            let of_scope = all.scope.iter().flat_map(|scope| &scope.attributes);
            of_scope.chain(all.spans.iter().flat_map(|span| {
                let of_events = span.events.iter().flat_map(|event| &event.attributes);
                let of_links = span.links.iter().flat_map(|link| &link.attributes);
                span.attributes.iter().chain(of_events).chain(of_links)
            }))
        }))
    });
    if spans.filter_map(|attribute| attribute.value.as_ref()).any(|value| !value.is_within(DEEPEST)) {
        return Err(MalformedExport::TooDeep);
    }
    // Nothing in a request lacks a form in JSON.
    Ok(serde_json::to_string(&export).unwrap_or_default())
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scope_spans: Vec<ScopeSpans>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    schema_url: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<Span>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    schema_url: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstrumentationScope {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    name: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    version: Option<Bytes>,
    #[prost(message, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    trace_id: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    span_id: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    trace_state: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    parent_span_id: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    name: Option<Bytes>,
    #[prost(uint64, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<u64>,
    #[prost(fixed64, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "digits")]
    start_time_unix_nano: Option<u64>,
    #[prost(fixed64, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "digits")]
    end_time_unix_nano: Option<u64>,
    #[prost(message, repeated, tag = "9")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event>,
    #[prost(message, repeated, tag = "13")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[prost(fixed64, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "digits")]
    time_unix_nano: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    name: Option<Bytes>,
    #[prost(message, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    trace_id: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    span_id: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    message: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u64>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyValue {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    key: Option<Bytes>,
    #[prost(message, optional, boxed, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<AnyValue>>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    string_value: Option<Bytes>,
    #[prost(bool, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bool_value: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "digits")]
    int_value: Option<i64>,
    #[prost(double, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    double_value: Option<f64>,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    array_value: Option<ArrayValue>,
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kvlist_value: Option<KeyValueList>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hexadecimal")]
    bytes_value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

impl AnyValue {
    /// Whether values lie in this one at most so many levels deep.
    fn is_within(&self, levels: usize) -> bool {
        let array = self.array_value.iter().flat_map(|array| &array.values);
        let list = self.kvlist_value.iter().flat_map(|list| &list.values);
        let mut within = array.chain(list.filter_map(|pair| pair.value.as_deref()));
        within.all(|value| levels > 0 && value.is_within(levels - 1))
    }
}

fn text<S: Serializer>(bytes: &Option<Bytes>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()))
}

fn hexadecimal<S: Serializer>(bytes: &Option<Bytes>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&hex::encode(bytes.as_deref().unwrap_or_default()))
}

/// Numbers of 64 bits are texts, as in all JSON of protobuf.
fn digits<S: Serializer, N: Copy + Default + ToString>(
    number: &Option<N>,
    out: S,
) -> Result<S::Ok, S::Error> {
    out.serialize_str(&number.unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    #[test]
    fn messages_that_would_fill_memory_are_refused_before_they_are_held() {
        let spans = [2 << 3 | 2, 0].repeat(1_000_000);
        let long = |number: u8, content: &[u8]| {
            let mut out = vec![number << 3 | 2];
            prost::encoding::encode_varint(content.len() as u64, &mut out);
            [out, content.to_vec()].concat()
        };
        let error = to_json(long(1, &long(2, &spans)).into()).unwrap_err();
        assert!(matches!(error, MalformedExport::TooMany), "{error}");
        let pairs = long(2, &[9 << 3 | 2, 0].repeat(5_000_000));
        assert!(matches!(to_json(long(1, &long(2, &pairs)).into()).unwrap_err(), MalformedExport::TooMany));
        let few = long(1, &long(2, &[2 << 3 | 2, 0].repeat(1000)));
        assert_eq!(to_json(few.into()).unwrap().matches("{}").count(), 1000);
    }

    fn export() -> Vec<u8> {
        let value = [bytes(1, b"http.route"), bytes(2, &bytes(1, b"/x"))].concat();
        let count = [bytes(1, b"n"), bytes(2, &[3 << 3, 0xac, 2])].concat();
        let link = [bytes(1, &[0xcd; 16]), bytes(2, &[0xef; 8])].concat();
        let time = |number: u8, time: u64| [&[number << 3 | 1][..], &time.to_le_bytes()].concat();
        let span = [
            bytes(1, &[0xab; 16]),
            bytes(2, &[0x12; 8]),
            bytes(5, b"GET /x"),
            vec![6 << 3, 2],
            time(7, 1_650_000_000_000_000_001),
            time(8, 1_650_000_000_000_000_002),
            bytes(9, &value),
            bytes(9, &count),
            // A field of a later version: flags.
            vec![0x85, 1, 1, 0, 0, 0],
            bytes(13, &link),
            bytes(15, &[3 << 3, 2]),
        ]
        .concat();
        let resource = bytes(1, &[bytes(1, b"service.name"), bytes(2, &bytes(1, b"shop"))].concat());
        bytes_long(1, &[bytes(1, &resource), bytes_long(2, &bytes_long(2, &span))].concat())
    }

    /// As [`bytes`], of any length.
    fn bytes_long(number: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let prefix = [number << 3 | 2, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        [&prefix, content].concat()
    }

    /// A request with one span, which holds this.
    fn with_span(span: &[u8]) -> Vec<u8> {
        bytes_long(1, &bytes_long(2, &bytes_long(2, span)))
    }

    #[track_caller]
    fn check(request: Vec<u8>, expected: &str) {
        assert_eq!(to_json(request.into()).unwrap(), expected);
    }

    #[track_caller]
    fn refused(request: Vec<u8>, expected: &str) {
        let error = to_json(request.into()).unwrap_err().to_string();
        assert!(error.starts_with("not an ExportTraceServiceRequest in protobuf: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_request_becomes_its_json_form() {
        check(
            export(),
            concat!(
                r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"#,
                r#""scopeSpans":[{"spans":[{"traceId":"abababababababababababababababab","spanId":"1212121212121212","#,
                r#""name":"GET /x","kind":2,"startTimeUnixNano":"1650000000000000001","endTimeUnixNano":"1650000000000000002","#,
                r#""attributes":[{"key":"http.route","value":{"stringValue":"/x"}},{"key":"n","value":{"intValue":"300"}}],"#,
                r#""links":[{"traceId":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","spanId":"efefefefefefefef"}],"#,
                r#""status":{"code":2}}]}]}]}"#
            ),
        );
        check(Vec::new(), r#"{"resourceSpans":[]}"#);
    }

    #[test]
    fn values_of_all_kinds_have_their_form() {
        let attribute = |value: &[u8]| with_span(&bytes(9, &[bytes(1, b"k"), bytes(2, value)].concat()));
        let check = |value: &[u8], expected: &str| {
            check(
                attribute(value),
                &format!(
                    r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"key":"k","value":{expected}}}]}}]}}]}}]}}"#
                ),
            );
        };
        check(b"", "{}");
        check(&bytes(1, b""), r#"{"stringValue":""}"#);
        // Not UTF-8.
        check(&bytes(1, b"a\xff"), "{\"stringValue\":\"a\u{fffd}\"}");
        check(&[2 << 3, 0], r#"{"boolValue":false}"#);
        check(&[3 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], r#"{"intValue":"-1"}"#);
        check(&[&[4 << 3 | 1][..], &1.5_f64.to_le_bytes()].concat(), r#"{"doubleValue":1.5}"#);
        check(&[&[4 << 3 | 1][..], &f64::NAN.to_le_bytes()].concat(), r#"{"doubleValue":null}"#);
        check(&bytes(5, b""), r#"{"arrayValue":{"values":[]}}"#);
        check(&bytes(5, &bytes(1, &bytes(1, b"x"))), r#"{"arrayValue":{"values":[{"stringValue":"x"}]}}"#);
        check(&bytes(6, &bytes(1, &bytes(1, b"x"))), r#"{"kvlistValue":{"values":[{"key":"x"}]}}"#);
        check(&bytes(7, &[1, 0xab]), r#"{"bytesValue":"01ab"}"#);
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        // Field 100, by all four types.
        let unknown = [
            &[0xa0, 6, 7][..],
            &[0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xa2, 6, 2, b'h', b'i'],
            &[0xa5, 6, 1, 2, 3, 4],
        ]
        .concat();
        let span = [unknown.clone(), bytes(5, b"x"), unknown.clone()].concat();
        let resource = bytes(1, &bytes(1, &unknown));
        check(
            [with_span(&span), unknown, resource].concat(),
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]},{"resource":{}}]}"#,
        );
    }

    #[test]
    fn fields_of_another_type_are_refused() {
        // The name as a number, a time as a number without fixed length, the kind as a text.
        refused(with_span(&[5 << 3, 1]), "Span.name: ");
        refused(with_span(&[7 << 3, 1]), "Span.start_time_unix_nano: ");
        refused(with_span(&bytes(6, b"x")), "Span.kind: ");
        refused(vec![1 << 3, 1], "resource_spans");
        refused(b"{}".to_vec(), "");
    }

    #[test]
    fn what_is_cut_off_is_refused_and_nothing_panics() {
        let whole = export();
        for length in 1..whole.len() {
            refused(whole[..length].to_vec(), "");
        }
        for place in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = byte;
                let _ = to_json(bytes.into());
            }
        }
    }

    #[test]
    fn values_within_values_have_an_end() {
        let nested = |levels: usize| {
            let mut value = bytes(1, b"x");
            for _ in 0..levels {
                value = bytes_long(5, &bytes_long(1, &value));
            }
            with_span(&bytes_long(9, &bytes_long(2, &value)))
        };
        let deepest = to_json(nested(DEEPEST).into()).unwrap();
        serde_json::from_str::<serde_json::Value>(&deepest).unwrap();
        refused(nested(DEEPEST + 1), "values are nested too deep");
        // So deep that it is not even decoded.
        refused(nested(1_000), "recursion limit");
    }
}
