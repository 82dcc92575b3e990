//! Segments of services that record none: X-Ray infers them from the subsegments of their callers, with the same times.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// What an inferred segment takes over.
const COPIED: [&str; 8] = ["name", "start_time", "end_time", "http", "aws", "error", "throttle", "fault"];

/// Adds a segment for every call of a service that is over, unless the service recorded the call itself.
pub(super) fn add(documents: &mut Vec<Value>, trace: &str) {
    let recorded: HashSet<(String, String)> = documents
        .iter()
        .filter_map(|segment| {
            let text = |key: &str| segment.get(key).and_then(Value::as_str);
            Some((text("parent_id")?.to_owned(), service(text("origin")?)))
        })
        .collect();
    let mut inferred = Vec::new();
    for document in documents.iter() {
        walk(document, &mut |call| {
            let Some((id, origin)) = call_of_a_service(call) else { return };
            if !recorded.contains(&(id.to_owned(), service(&origin))) {
                inferred.push(segment(call, id, &origin, trace));
            }
        });
    }
    documents.append(&mut inferred);
}

fn walk(span: &Value, visit: &mut impl FnMut(&Value)) {
    visit(span);
    for child in span.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        walk(child, visit);
    }
}

/// Id of the subsegment and origin of what it called.
fn call_of_a_service(span: &Value) -> Option<(&str, String)> {
    let text = |key: &str| span.get(key).and_then(Value::as_str);
    let id = text("id").filter(|_| span.get("end_time").is_some())?;
    let has = |key: &str| span.get("aws").is_some_and(|aws| aws.get(key).is_some());
    let name = text("name")?;
    let origin = match (text("namespace")?, name.to_ascii_lowercase().as_str()) {
        ("remote", _) if span.get("sql").is_some() => "Database::SQL".to_owned(),
        ("aws", "s3") if has("bucket_name") => "AWS::S3::Bucket".to_owned(),
        ("aws", "s3") => "AWS::S3".to_owned(),
        ("aws", "dynamodb") => "AWS::DynamoDB::Table".to_owned(),
        ("aws", "sqs") => "AWS::SQS::Queue".to_owned(),
        ("aws", "sns") => "AWS::SNS".to_owned(),
        ("aws", "kinesis") => "AWS::Kinesis".to_owned(),
        ("aws", "events" | "eventbridge") => "AWS::Events".to_owned(),
        ("aws", "sfn") => "AWS::stepfunctions".to_owned(),
        ("aws", _) => format!("AWS::{name}"),
        _ => return None,
    };
    Some((id, origin))
}

/// `s3` of `AWS::S3::Bucket`.
fn service(origin: &str) -> String {
    origin.split("::").nth(1).unwrap_or(origin).to_ascii_lowercase()
}

fn segment(call: &Value, id: &str, origin: &str, trace: &str) -> Value {
    let mut segment = Map::new();
    // The same whenever the trace is looked at.
    let number =
        u64::from_str_radix(id, 16).unwrap_or_default().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d;
    segment.insert("id".to_owned(), json!(format!("{number:016x}")));
    for key in COPIED {
        if let Some(value) = call.get(key) {
            segment.insert(key.to_owned(), value.clone());
        }
    }
    segment.insert("trace_id".to_owned(), json!(trace));
    segment.insert("parent_id".to_owned(), json!(id));
    segment.insert("inferred".to_owned(), json!(true));
    segment.insert("origin".to_owned(), json!(origin));
    Value::Object(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(calls: Value) -> Value {
        json!({ "id": "aaaaaaaaaaaaaaaa", "name": "f", "origin": "AWS::Lambda::Function", "start_time": 1.0, "end_time": 3.0,
                "subsegments": [{ "id": "bbbbbbbbbbbbbbbb", "name": "Invocation", "start_time": 1.0, "end_time": 3.0, "subsegments": calls }] })
    }

    fn call(name: &str, namespace: &str) -> Value {
        json!({ "id": "cccccccccccccccc", "name": name, "namespace": namespace, "start_time": 1.5, "end_time": 2.0,
                "aws": { "operation": "X", "bucket_name": "b" } })
    }

    #[track_caller]
    fn check(mut documents: Vec<Value>, expected: &[&str]) {
        let before = documents.len();
        add(&mut documents, "1-5759e988-bd862e3fe1be46a994272793");
        let origins: Vec<&str> =
            documents[before..].iter().map(|segment| segment["origin"].as_str().unwrap()).collect();
        assert_eq!(origins, expected);
    }

    #[test]
    fn a_call_of_a_service_has_a_segment() {
        for (name, namespace, origin) in [
            ("s3", "aws", "AWS::S3::Bucket"),
            ("DynamoDB", "aws", "AWS::DynamoDB::Table"),
            ("EventBridge", "aws", "AWS::Events"),
            ("rekognition", "aws", "AWS::rekognition"),
        ] {
            check(vec![function(json!([call(name, namespace)]))], &[origin]);
        }
        let mut sql = call("db@host", "remote");
        sql["sql"] = json!({ "database_type": "PostgreSQL" });
        check(vec![function(json!([sql]))], &["Database::SQL"]);
        // Neither the function's own parts nor a call that goes on.
        check(vec![function(json!([call("step", "local"), call("example.com", "remote")]))], &[]);
        let mut unfinished = call("s3", "aws");
        unfinished.as_object_mut().unwrap().remove("end_time");
        check(vec![function(json!([unfinished]))], &[]);
    }

    #[test]
    fn what_a_service_recorded_itself_is_not_inferred() {
        let below = |origin: &str| json!({ "id": "dddddddddddddddd", "parent_id": "cccccccccccccccc", "origin": origin, "start_time": 1.6, "end_time": 1.9 });
        check(vec![function(json!([call("Lambda", "aws")])), below("AWS::Lambda")], &[]);
        check(
            vec![function(json!([call("STEPFUNCTIONS", "aws")])), below("AWS::StepFunctions::StateMachine")],
            &[],
        );
        // A function that a bucket's notification invoked is not the bucket.
        check(vec![function(json!([call("S3", "aws")])), below("AWS::Lambda")], &["AWS::S3::Bucket"]);
    }

    #[test]
    fn an_inferred_segment_is_the_call_seen_from_the_other_side() {
        let mut documents = vec![function(json!([call("S3", "aws")]))];
        add(&mut documents, "1-5759e988-bd862e3fe1be46a994272793");
        let segment = &documents[1];
        assert_eq!(
            (&segment["start_time"], &segment["end_time"], &segment["parent_id"], &segment["inferred"]),
            (&json!(1.5), &json!(2.0), &json!("cccccccccccccccc"), &json!(true))
        );
        let again = {
            let mut again = vec![documents[0].clone()];
            add(&mut again, "1-5759e988-bd862e3fe1be46a994272793");
            again
        };
        assert_eq!(again, documents);
    }
}
