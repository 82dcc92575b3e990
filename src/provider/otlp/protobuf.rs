//! OTLP's ExportTraceServiceRequest from its binary form to its JSON form: the fields by their numbers in
//! opentelemetry/proto/trace/v1/trace.proto. Ids become hexadecimal, as OTLP/JSON has them; unknown fields are passed
//! over, so that later versions can be read.

use serde_json::{Map, Value, json};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ExportTraceServiceRequest in protobuf: {0}")]
pub(super) struct Malformed(&'static str);

const CUT_OFF: Malformed = Malformed("it is cut off");
/// Values may hold values; nobody nests them deeper.
const DEEPEST: usize = 32;

/// A field's number and what it holds.
enum Field<'b> {
    Number(u64),
    Fixed(u64),
    Bytes(&'b [u8]),
}

struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(CUT_OFF)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'b>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Field::Fixed(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_OFF)?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                let mut bytes = [0; 8];
                bytes[..4].copy_from_slice(self.take(4)?);
                Field::Fixed(u64::from_le_bytes(bytes))
            }
            _ => return Err(Malformed("a field of an unknown type")),
        };
        Ok(Some((key >> 3, field)))
    }
}

/// Reads a message into an object; `read` says what becomes of a field.
fn message(
    bytes: &[u8],
    mut read: impl FnMut(&mut Map<String, Value>, u64, Field<'_>) -> Result<(), Malformed>,
) -> Result<Value, Malformed> {
    let mut object = Map::new();
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        read(&mut object, number, field)?;
    }
    Ok(Value::Object(object))
}

fn add(object: &mut Map<String, Value>, list: &str, value: Value) {
    if let Value::Array(values) = object.entry(list).or_insert_with(|| json!([])) {
        values.push(value);
    }
}

fn set(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn to_json(bytes: &[u8]) -> Result<Value, Malformed> {
    let mut request = message(bytes, |object, number, field| {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            add(object, "resourceSpans", resource_spans(bytes)?);
        }
        Ok(())
    })?;
    if request["resourceSpans"].is_null() {
        request["resourceSpans"] = json!([]);
    }
    Ok(request)
}

fn resource_spans(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "resource", attributes_of(bytes, 1)?),
            (2, Field::Bytes(bytes)) => add(object, "scopeSpans", scope_spans(bytes)?),
            (3, Field::Bytes(bytes)) => set(object, "schemaUrl", text(bytes)),
            _ => {}
        }
        Ok(())
    })
}

fn scope_spans(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "scope", scope(bytes)?),
            (2, Field::Bytes(bytes)) => add(object, "spans", span(bytes)?),
            (3, Field::Bytes(bytes)) => set(object, "schemaUrl", text(bytes)),
            _ => {}
        }
        Ok(())
    })
}

fn scope(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "name", text(bytes)),
            (2, Field::Bytes(bytes)) => set(object, "version", text(bytes)),
            (3, Field::Bytes(bytes)) => add(object, "attributes", key_value(bytes, 0)?),
            _ => {}
        }
        Ok(())
    })
}

/// A message of which only the attributes count.
fn attributes_of(bytes: &[u8], field_of_attributes: u64) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        if let Field::Bytes(bytes) = field
            && number == field_of_attributes
        {
            add(object, "attributes", key_value(bytes, 0)?);
        }
        Ok(())
    })
}

fn span(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "traceId", hex::encode(bytes)),
            (2, Field::Bytes(bytes)) => set(object, "spanId", hex::encode(bytes)),
            (3, Field::Bytes(bytes)) => set(object, "traceState", text(bytes)),
            (4, Field::Bytes(bytes)) => set(object, "parentSpanId", hex::encode(bytes)),
            (5, Field::Bytes(bytes)) => set(object, "name", text(bytes)),
            (6, Field::Number(kind)) => set(object, "kind", kind),
            (7, Field::Fixed(time)) => set(object, "startTimeUnixNano", time.to_string()),
            (8, Field::Fixed(time)) => set(object, "endTimeUnixNano", time.to_string()),
            (9, Field::Bytes(bytes)) => add(object, "attributes", key_value(bytes, 0)?),
            (11, Field::Bytes(bytes)) => add(object, "events", event(bytes)?),
            (13, Field::Bytes(bytes)) => add(object, "links", link(bytes)?),
            (15, Field::Bytes(bytes)) => set(object, "status", status(bytes)?),
            _ => {}
        }
        Ok(())
    })
}

fn event(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Fixed(time)) => set(object, "timeUnixNano", time.to_string()),
            (2, Field::Bytes(bytes)) => set(object, "name", text(bytes)),
            (3, Field::Bytes(bytes)) => add(object, "attributes", key_value(bytes, 0)?),
            _ => {}
        }
        Ok(())
    })
}

fn link(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "traceId", hex::encode(bytes)),
            (2, Field::Bytes(bytes)) => set(object, "spanId", hex::encode(bytes)),
            (4, Field::Bytes(bytes)) => add(object, "attributes", key_value(bytes, 0)?),
            _ => {}
        }
        Ok(())
    })
}

fn status(bytes: &[u8]) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (2, Field::Bytes(bytes)) => set(object, "message", text(bytes)),
            (3, Field::Number(code)) => set(object, "code", code),
            _ => {}
        }
        Ok(())
    })
}

fn key_value(bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "key", text(bytes)),
            (2, Field::Bytes(bytes)) => set(object, "value", any_value(bytes, depth)?),
            _ => {}
        }
        Ok(())
    })
}

fn any_value(bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed("values are nested too deep"));
    }
    let list = |bytes: &[u8], read: fn(&[u8], usize) -> Result<Value, Malformed>| {
        let mut list = message(bytes, |object, number, field| {
            if let (1, Field::Bytes(bytes)) = (number, field) {
                add(object, "values", read(bytes, depth + 1)?);
            }
            Ok(())
        })?;
        if list["values"].is_null() {
            list["values"] = json!([]);
        }
        Ok(list)
    };
    message(bytes, |object, number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => set(object, "stringValue", text(bytes)),
            (2, Field::Number(number)) => set(object, "boolValue", number != 0),
            (3, Field::Number(number)) => set(object, "intValue", number.cast_signed().to_string()),
            (4, Field::Fixed(bits)) => set(object, "doubleValue", f64::from_bits(bits)),
            (5, Field::Bytes(bytes)) => set(object, "arrayValue", list(bytes, any_value)?),
            (6, Field::Bytes(bytes)) => set(object, "kvlistValue", list(bytes, key_value)?),
            (7, Field::Bytes(bytes)) => set(object, "bytesValue", hex::encode(bytes)),
            _ => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
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

    #[test]
    fn a_request_becomes_its_json_form() {
        let found = to_json(&export()).unwrap();
        assert_eq!(
            found,
            json!({ "resourceSpans": [{
                "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
                "scopeSpans": [{ "spans": [{
                    "traceId": "ab".repeat(16), "spanId": "12".repeat(8), "name": "GET /x", "kind": 2,
                    "startTimeUnixNano": "1650000000000000001", "endTimeUnixNano": "1650000000000000002",
                    "attributes": [{ "key": "http.route", "value": { "stringValue": "/x" } },
                                   { "key": "n", "value": { "intValue": "300" } }],
                    "links": [{ "traceId": "cd".repeat(16), "spanId": "ef".repeat(8) }],
                    "status": { "code": 2 },
                }] }],
            }] })
        );
        assert_eq!(to_json(b"").unwrap(), json!({ "resourceSpans": [] }));
    }

    #[test]
    fn what_is_cut_off_is_refused_and_nothing_panics() {
        let whole = export();
        for length in 1..whole.len() {
            assert!(to_json(&whole[..length]).is_err(), "{length}");
        }
        for place in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = byte;
                let _ = to_json(&bytes);
            }
        }
        // Lists within lists within lists.
        let mut nested = bytes(1, b"x");
        while nested.len() < 120 {
            nested = bytes(5, &bytes(1, &nested));
        }
        assert!(any_value(&nested, 0).is_ok());
        assert_eq!(any_value(&nested, DEEPEST), Err(Malformed("values are nested too deep")));
    }
}
