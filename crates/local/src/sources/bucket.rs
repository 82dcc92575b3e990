//! Notifications of buckets: what a call to S3 changed, and which functions hear of it.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use serde_json::json;

use super::super::clock::wall_micros;
use super::super::context::{TraceContext, new_request_id};
use super::super::instances::Function;
use super::super::invoke_api::percent_decode;
use super::super::service_client::Object;
use super::{Onward, Sources, invoke, timestamp};
use sb_workload::template::percent_encoded;

/// Who hears of what in which bucket.
pub(super) struct Notification {
    /// Name of the configuration.
    pub id: String,
    pub function: Arc<Function>,
    pub bucket: String,
    /// `s3:ObjectCreated:*` and the like.
    pub events: Vec<String>,
    pub prefix: String,
    pub suffix: String,
}

/// What a call changes if it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `ObjectCreated:Put`, `ObjectRemoved:Delete` …
    Object { event: &'static str, bucket: String, key: String, size: Option<u64> },
    /// Many objects are deleted; the answer says which.
    Objects { bucket: String },
}

/// Sub-resources of an object: a call with one of these changes something about it, and not the object.
const PARTS: [&str; 9] =
    ["acl", "tagging", "retention", "legal-hold", "torrent", "uploads", "partNumber", "select", "restore"];

/// What a call to S3, in path style, is about to change.
pub(crate) fn changes(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Change> {
    let (bucket, key) = uri.path().trim_start_matches('/').split_once('/').unwrap_or((&uri.path()[1..], ""));
    let (bucket, key) = (percent_decode(bucket), percent_decode(key));
    let query: Vec<&str> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .collect();
    let has = |name: &str| query.contains(&name);
    if method == Method::POST && key.is_empty() && has("delete") {
        return Some(Change::Objects { bucket });
    }
    if key.is_empty() || PARTS.iter().any(|part| has(part)) {
        return None;
    }
    let number = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
    };
    let (event, size) = match *method {
        Method::PUT if headers.contains_key("x-amz-copy-source") => ("ObjectCreated:Copy", None),
        // Of a body in signed chunks the length counts the signatures, too.
        Method::PUT => {
            ("ObjectCreated:Put", number("x-amz-decoded-content-length").or_else(|| number("content-length")))
        }
        Method::POST if has("uploadId") => ("ObjectCreated:CompleteMultipartUpload", None),
        Method::DELETE if !has("uploadId") => ("ObjectRemoved:Delete", None),
        _ => return None,
    };
    Some(Change::Object { event, bucket, key, size })
}

impl Change {
    pub(crate) fn bucket(&self) -> &str {
        match self {
            Self::Object { bucket, .. } | Self::Objects { bucket } => bucket,
        }
    }
}

impl Sources {
    /// Tells of a change that a call made: `headers` and `body` are those of its answer.
    pub(crate) async fn object_changed(
        &self,
        change: Change,
        headers: &HeaderMap,
        body: &Bytes,
        trace: TraceContext,
    ) {
        let mut onward = Onward::new(trace);
        match change {
            Change::Objects { bucket } => {
                for key in deleted(&String::from_utf8_lossy(body)) {
                    self.notify("ObjectRemoved:Delete", &bucket, &key, (None, None), &mut onward);
                }
            }
            Change::Object { mut event, bucket, key, size } => {
                let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
                if event == "ObjectRemoved:Delete" && header("x-amz-delete-marker") == Some("true") {
                    event = "ObjectRemoved:DeleteMarkerCreated";
                }
                let object = match (event.starts_with("ObjectCreated"), size) {
                    (false, _) => None,
                    (true, Some(_)) => Some(Object::of(headers, size)),
                    (true, None) => self.head(&bucket, &key).await,
                };
                let version = header("x-amz-version-id").filter(|version| *version != "null");
                self.notify(event, &bucket, &key, (object, version), &mut onward);
            }
        }
    }

    async fn head(&self, bucket: &str, key: &str) -> Option<Object> {
        let client = self.runtime.services.as_ref()?;
        let answer =
            client.head_object(&format!("/{}/{}", percent_encoded(bucket), percent_encoded(key))).await;
        answer
            .inspect_err(|error| {
                self.runtime.journal.note(&format!("a notification of `{bucket}` has no size: {error}"));
            })
            .ok()
    }

    /// `object` and its version, as far as there is one.
    fn notify(
        &self,
        event: &str,
        bucket: &str,
        key: &str,
        (object, version): (Option<Object>, Option<&str>),
        onward: &mut Onward,
    ) {
        let wanted = |notification: &&Notification| {
            notification.bucket == bucket
                && key.starts_with(&notification.prefix)
                && key.ends_with(&notification.suffix)
                && notification.events.iter().any(|pattern| covers(pattern, event))
        };
        let encoded = percent_encoded(key).replace("%20", "+").replace("%2F", "/");
        let mut described = json!({ "key": encoded, "sequencer": format!("{:018X}", wall_micros()) });
        if let Some(object) = object {
            described["size"] = json!(object.size);
            described["eTag"] = json!(object.etag);
        }
        if let Some(version) = version {
            described["versionId"] = json!(version);
        }
        for notification in self.buckets.iter().filter(wanted) {
            let record = json!({
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": self.runtime.region,
                "eventTime": timestamp(),
                "eventName": event,
                "userIdentity": { "principalId": "AWS:local" },
                "requestParameters": { "sourceIPAddress": "127.0.0.1" },
                "responseElements": { "x-amz-request-id": new_request_id(), "x-amz-id-2": "local" },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": notification.id,
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": { "principalId": "local" },
                        "arn": format!("arn:aws:s3:::{bucket}"),
                    },
                    "object": described,
                },
            });
            invoke(&self.runtime, &notification.function, &json!({ "Records": [record] }), onward.next());
        }
    }
}

/// Whether `s3:ObjectCreated:*` means `ObjectCreated:Put`.
fn covers(pattern: &str, event: &str) -> bool {
    let pattern = pattern.strip_prefix("s3:").unwrap_or(pattern);
    pattern.strip_suffix('*').map_or(pattern == event, |start| event.starts_with(start))
}

/// The keys in an answer of `DeleteObjects`.
fn deleted(answer: &str) -> Vec<String> {
    let parts = answer.split("<Deleted>").skip(1);
    let keys = parts.filter_map(|part| part.split_once("<Key>")?.1.split_once("</Key>"));
    keys.map(|(key, _)| unescape(key)).collect()
}

fn unescape(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        method: Method,
        uri: &str,
        headers: &[(&'static str, &str)],
        expected: Option<(&str, &str, Option<u64>)>,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (hyper::header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let expected =
            expected.map(|(event, key, size)| (event.to_owned(), "b".to_owned(), key.to_owned(), size));
        let found = changes(&method, &uri.parse().unwrap(), &headers).map(|change| match change {
            Change::Object { event, bucket, key, size } => (event.to_owned(), bucket, key, size),
            Change::Objects { bucket } => ("many".to_owned(), bucket, String::new(), None),
        });
        assert_eq!(found, expected, "{method} {uri}");
    }

    #[test]
    fn calls_that_change_objects_are_known() {
        let length: &[(&str, &str)] = &[("content-length", "7")];
        check(
            Method::PUT,
            "/b/a%20b/c?x-id=PutObject",
            length,
            Some(("ObjectCreated:Put", "a b/c", Some(7))),
        );
        let chunked: &[(&str, &str)] = &[("content-length", "90"), ("x-amz-decoded-content-length", "7")];
        check(Method::PUT, "/b/k", chunked, Some(("ObjectCreated:Put", "k", Some(7))));
        check(Method::PUT, "/b/k", &[("x-amz-copy-source", "/b/x")], Some(("ObjectCreated:Copy", "k", None)));
        check(
            Method::POST,
            "/b/k?uploadId=1",
            &[],
            Some(("ObjectCreated:CompleteMultipartUpload", "k", None)),
        );
        check(Method::DELETE, "/b/k", &[], Some(("ObjectRemoved:Delete", "k", None)));
        check(Method::POST, "/b?delete", &[], Some(("many", "", None)));
        for (method, uri) in [
            (Method::PUT, "/b"),
            (Method::PUT, "/b/"),
            (Method::GET, "/b/k"),
            (Method::PUT, "/b/k?tagging"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=1"),
            (Method::POST, "/b/k?uploads"),
            (Method::DELETE, "/b/k?uploadId=1"),
        ] {
            check(method, uri, &[], None);
        }
    }

    #[test]
    fn a_pattern_covers_events() {
        assert!(
            covers("s3:ObjectCreated:*", "ObjectCreated:Put")
                && covers("s3:ObjectCreated:Put", "ObjectCreated:Put")
        );
        assert!(
            !covers("s3:ObjectCreated:Copy", "ObjectCreated:Put")
                && !covers("s3:ObjectCreated:*", "ObjectRemoved:Delete")
        );
    }

    #[test]
    fn keys_of_deleted_objects_are_read() {
        let answer = "<DeleteResult><Deleted><Key>a&amp;b</Key></Deleted><Error><Key>no</Key></Error><Deleted><Key>c</Key></Deleted></DeleteResult>";
        assert_eq!(deleted(answer), ["a&b", "c"]);
    }
}
