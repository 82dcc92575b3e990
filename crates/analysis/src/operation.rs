//! Operations: what the spans of many traces have in common.

use std::borrow::Cow;
use std::fmt;

use crate::span::Span;

/// What a span does, and for which service: spans of equal operations are compared across traces.
///
/// Ids in names are replaced ([`Operation::stable_name`]), so that `/orders/4711` and `/orders/4712` are one operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// The span's name, ids replaced.
    pub name: String,
    /// The span's origin, such as `AWS::S3`; empty for a part of a service.
    pub service: String,
}

impl Operation {
    /// The operation of a span.
    pub fn of(span: &Span<'_>) -> Self {
        Self {
            name: Self::stable_name(&span.name).into_owned(),
            service: span.origin.as_deref().unwrap_or_default().to_owned(),
        }
    }

    /// A name without what differs from request to request. A word is a run of letters and digits.
    ///
    /// | word | becomes |
    /// |---|---|
    /// | a UUID | `{id}` |
    /// | a number of three digits or more, or one that is a whole part of a path (`/orders/7`) | `{n}` |
    /// | 8 or more hexadecimal digits, among them one of 0 to 9 | `{id}` |
    /// | 12 or more letters and digits, among them three digits, and either no small letter or 16 in all | `{id}` |
    ///
    /// Everything else stays: `S3`, `step 2`, `exp3`.
    pub fn stable_name(name: &str) -> Cow<'_, str> {
        let bytes = name.as_bytes();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        let mut stable = String::new();
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if !is_word(bytes[at]) {
                at += 1;
                continue;
            }
            let length = bytes[at..].iter().take_while(|&&byte| is_word(byte)).count();
            let (length, replacement) = if uuid_at(&bytes[at..]) {
                (UUID, Some("{id}"))
            } else {
                let is_part = (at == 0 || bytes[at - 1] == b'/')
                    && bytes.get(at + length).is_none_or(|&next| next == b'/' || next == b'?')
                    && (at > 0 || bytes.contains(&b'/'));
                (length, replaced(&bytes[at..at + length], is_part))
            };
            if let Some(replacement) = replacement {
                stable.push_str(&name[kept..at]);
                stable.push_str(replacement);
                kept = at + length;
            }
            at += length;
        }
        if kept == 0 {
            return Cow::Borrowed(name);
        }
        stable.push_str(&name[kept..]);
        Cow::Owned(stable)
    }

    /// The service without its provider: `S3` for `AWS::S3`, `Lambda::Function` for `AWS::Lambda::Function`.
    pub fn short_service(&self) -> &str {
        let known = ["AWS::", "Azure::", "OTel::"];
        known.iter().find_map(|provider| self.service.strip_prefix(provider)).unwrap_or(&self.service)
    }

    /// The service as it was recorded, and the name: no other operation has it. A part of a service has its name alone.
    pub fn full_name(&self) -> String {
        if self.service.is_empty() { self.name.clone() } else { format!("{} {}", self.service, self.name) }
    }
}

/// `resize (Lambda::Function)`; the service is left out where it is the name.
impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.short_service();
        if service.is_empty() || service == self.name {
            out.write_str(&self.name)
        } else {
            write!(out, "{} ({service})", self.name)
        }
    }
}

const UUID: usize = 36;

fn uuid_at(bytes: &[u8]) -> bool {
    bytes.len() >= UUID
        && bytes.get(UUID).is_none_or(|next| !next.is_ascii_alphanumeric())
        && bytes[..UUID].iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn replaced(word: &[u8], is_part: bool) -> Option<&'static str> {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == word.len() {
        return (digits >= 3 || is_part).then_some("{n}");
    }
    let is_hex = word.len() >= 8 && digits >= 1 && word.iter().all(u8::is_ascii_hexdigit);
    let is_loud = word.len() >= 16 || !word.iter().any(u8::is_ascii_lowercase);
    let is_random = word.len() >= 12 && digits >= 3 && word.is_ascii() && is_loud;
    (is_hex || is_random).then_some("{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_replaced_and_names_stay() {
        for (name, stable) in [
            ("S3", "S3"),
            ("step 2", "step 2"),
            ("exp3", "exp3"),
            ("Attempt #1", "Attempt #1"),
            ("7", "7"),
            ("facade", "facade"),
            ("deadbeef", "deadbeef"),
            ("DynamoDB", "DynamoDB"),
            ("Größe 12", "Größe 12"),
            ("GET /orders/7", "GET /orders/{n}"),
            ("GET /orders/7/items/12?page=3", "GET /orders/{n}/items/{n}?page=3"),
            ("/users/4711", "/users/{n}"),
            ("order 123", "order {n}"),
            ("get 550e8400-e29b-41d4-a716-446655440000.jpg", "get {id}.jpg"),
            ("object 5759e988bd862e3f", "object {id}"),
            ("shop-Receive-1XK9C2Z04PQLM", "shop-Receive-{id}"),
            ("a1b2c3d4e5f6g7h8i9", "{id}"),
        ] {
            assert_eq!(Operation::stable_name(name), stable, "{name}");
        }
    }

    #[test]
    fn an_operation_is_shown_with_its_service() {
        let show = |name: &str, service: &str| {
            Operation { name: name.to_owned(), service: service.to_owned() }.to_string()
        };
        assert_eq!(show("S3", "AWS::S3"), "S3");
        assert_eq!(show("resize", "AWS::Lambda::Function"), "resize (Lambda::Function)");
        assert_eq!(show("hash", ""), "hash");
        assert_eq!(show("cart", "Mine::Worker"), "cart (Mine::Worker)");
    }
}
