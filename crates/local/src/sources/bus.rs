//! Buses of EventBridge: what is put into one goes to the functions whose pattern it has.
//!
//! No service is needed for that: the runtime answers `PutEvents` itself, and keeps nothing.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::context::{TraceContext, new_request_id};
use super::super::instances::Function;
use super::{Onward, Sources, invoke};
use sb_sam::{DEFAULT_BUS, Pattern, bus_name};

/// What EventBridge takes at once.
const AT_ONCE: usize = 10;

/// An event of a function in the template.
pub(super) struct Rule {
    pub bus: String,
    pub pattern: Pattern,
    /// In place of the event.
    pub input: Option<Value>,
    pub function: Arc<Function>,
}

/// An event that a bus has taken.
#[derive(Debug, PartialEq)]
pub(crate) struct BusEvent {
    bus: String,
    event: Value,
    /// Of its `TraceHeader`.
    trace: Option<TraceContext>,
}

impl BusEvent {
    /// The trace that it names.
    pub(crate) fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }
}

impl Sources {
    /// What `PutEvents` answers, and the events that are to be delivered afterwards.
    ///
    /// Shapes: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>.
    ///
    /// # Errors
    /// Says why the whole call is refused.
    pub(crate) fn put_events(&self, input: &Value) -> Result<(Value, Vec<BusEvent>), String> {
        let entries = input["Entries"].as_array().filter(|entries| (1..=AT_ONCE).contains(&entries.len()));
        let entries = entries.ok_or_else(|| format!("`Entries` must be a list of 1 to {AT_ONCE} events"))?;
        let mut taken = Vec::new();
        let mut answers = Vec::new();
        let place = (self.runtime.region.as_str(), self.runtime.account.as_str());
        for entry in entries {
            match read(entry, place, &self.buses) {
                Ok(event) => {
                    answers.push(json!({ "EventId": event.event["id"] }));
                    taken.push(event);
                }
                Err((code, message)) => {
                    answers.push(json!({ "ErrorCode": code, "ErrorMessage": message }));
                }
            }
        }
        let failed = answers.len() - taken.len();
        Ok((json!({ "FailedEntryCount": failed, "Entries": answers }), taken))
    }

    /// Delivers what a bus has taken. `trace` is that of the call, for events that name none.
    pub(crate) fn events_put(&self, events: Vec<BusEvent>, trace: TraceContext) {
        let mut of_call = Onward::new(trace);
        for BusEvent { bus, event, trace } in events {
            let mut own = trace.map(Onward::new);
            for rule in self.rules.iter().filter(|rule| rule.bus == bus && rule.pattern.matches(&event)) {
                let onward = own.as_mut().unwrap_or(&mut of_call);
                invoke(&self.runtime, &rule.function, rule.input.as_ref().unwrap_or(&event), onward.next());
            }
        }
    }
}

/// An entry of `PutEvents` as an event; else the code of the error, and what it says.
fn read(
    entry: &Value,
    (region, account): (&str, &str),
    buses: &[String],
) -> Result<BusEvent, (&'static str, String)> {
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty());
    let needed = |key: &'static str| {
        let missing = || format!("Parameter {key} is not valid. Reason: {key} is a required argument.");
        text(key).ok_or_else(|| ("InvalidArgument", missing()))
    };
    let (source, kind) = (needed("Source")?, needed("DetailType")?);
    let detail = serde_json::from_str::<Value>(needed("Detail")?).ok().filter(Value::is_object);
    let detail = detail.ok_or_else(|| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
    let bus = bus_name(text("EventBusName").unwrap_or(DEFAULT_BUS)).to_owned();
    if bus != DEFAULT_BUS && !buses.contains(&bus) {
        return Err(("InvalidArgument", format!("Event bus {bus} does not exist.")));
    }
    let given = entry["Time"].as_f64().and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    let time = given.unwrap_or_else(Timestamp::now);
    let event = json!({
        "version": "0",
        "id": new_request_id(),
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": region,
        "resources": entry["Resources"].as_array().cloned().unwrap_or_default(),
        "detail": detail,
    });
    let header = text("TraceHeader").filter(|header| header.contains("Root="));
    Ok(BusEvent { bus, event, trace: header.map(|header| TraceContext::from_header(Some(header))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bus: &str, detail: &str) -> Value {
        json!({ "Source": "shop", "DetailType": "sold", "Detail": detail, "EventBusName": bus, "Time": 1_700_000_000.5,
                "TraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1" })
    }

    fn check(entry: &Value) -> Result<BusEvent, (&'static str, String)> {
        read(entry, ("us-east-1", "000000000000"), &["market".to_owned()])
    }

    #[test]
    fn an_entry_becomes_an_event() {
        let arn = "arn:aws:events:us-east-1:000000000000:event-bus/market";
        let taken = check(&entry(arn, r#"{"price": 5}"#)).unwrap();
        assert_eq!(taken.bus, "market");
        assert_eq!(taken.trace.unwrap().parent.as_deref(), Some("53995c3f42cd8ad8"));
        let event = taken.event;
        assert_eq!((&event["source"], &event["detail-type"]), (&json!("shop"), &json!("sold")));
        assert_eq!((&event["detail"], &event["resources"]), (&json!({ "price": 5 }), &json!([])));
        assert_eq!(event["time"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn an_entry_that_eventbridge_refuses_is_refused_by_its_code() {
        for (bus, detail, code, message) in [
            ("market", "[]", "MalformedDetail", "Detail is malformed."),
            ("market", "{", "MalformedDetail", "Detail is malformed."),
            ("market", "", "InvalidArgument", "Detail is a required argument"),
            ("other", "{}", "InvalidArgument", "Event bus other does not exist"),
        ] {
            let (found, said) = check(&entry(bus, detail)).unwrap_err();
            assert!(found == code && said.contains(message), "{found}: {said}");
        }
        for key in ["Source", "DetailType"] {
            let mut entry = entry("market", "{}");
            entry[key] = json!("");
            assert_eq!(check(&entry).unwrap_err().0, "InvalidArgument");
        }
    }
}
