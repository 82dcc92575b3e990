//! A CloudFormation for what moto does not do: operations that take time, fail, and end in every state; events in pages, late and
//! out of order; throttling. Beside it, an S3, a Logs and an index of tags that have nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How it answers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Every second request is refused as one too many.
    pub throttles: bool,
    /// Looks at the stack between one change and the next.
    pub looks_per_change: u32,
    /// So many first creations fail. The stacks list a bucket that they could not make, since its name was taken: `theirs`.
    pub failing_creations: u32,
    /// So many first deletions fail.
    pub failing_deletions: u32,
    /// Someone else deletes the stack while it is created.
    pub deleted_meanwhile: bool,
    /// Events are told by so many looks later than they happen.
    pub events_late: u32,
    /// So many executions of a state machine, which the stacks then have, wait; until they are stopped, no deletion succeeds.
    pub waiting_executions: u32,
}

#[derive(Default)]
pub(crate) struct Account {
    pub stacks: Vec<FakeStack>,
    pub sets: BTreeMap<String, FakeSet>,
    /// Operations that were begun: `create NAME`, `delete NAME` …
    pub begun: Vec<String>,
    /// Buckets, and what else has a path, that were asked for.
    pub paths: BTreeSet<String>,
    /// Executions that were stopped.
    pub stopped: BTreeSet<u32>,
    requests: u64,
    events: u64,
    clock: u64,
}

pub(crate) struct FakeSet {
    stack: String,
    tags: Vec<(String, String)>,
    is_executed: bool,
}

pub(crate) struct FakeStack {
    pub name: String,
    pub id: String,
    pub status: String,
    pub tags: Vec<(String, String)>,
    pub events: Vec<FakeEvent>,
    /// What follows: the next change is the first.
    coming: Vec<Change>,
    looks: u32,
}

#[derive(Clone)]
pub(crate) struct FakeEvent {
    id: u64,
    second: u64,
    resource: String,
    kind: String,
    status: String,
    reason: String,
    of_stack: bool,
    hidden_looks: u32,
}

enum Change {
    Resource(&'static str, &'static str, &'static str, &'static str),
    Stack(&'static str, &'static str),
}

use Change::{Resource, Stack};

pub(crate) struct Server {
    pub endpoint: String,
    pub account: Arc<Mutex<Account>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let account: Arc<Mutex<Account>> = Arc::default();
        let shared = account.clone();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let account = shared.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let account = account.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let target =
                            request.headers().get("x-amz-target").map(|it| it.to_str().unwrap().to_owned());
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        let (status, body) = account.lock().unwrap().answer(manners, &path, target, &body);
                        let answer = Response::builder().status(status);
                        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { endpoint, account, _runtime: runtime }
    }

    /// A stack that is there before.
    pub(crate) fn has(&self, name: &str, status: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.account.lock().unwrap().add(name, status, tags);
    }

    pub(crate) fn begun(&self, what: &str) -> usize {
        self.account.lock().unwrap().begun.iter().filter(|begun| begun.starts_with(what)).count()
    }

    /// Stacks that are not deleted.
    pub(crate) fn left(&self) -> Vec<String> {
        let account = self.account.lock().unwrap();
        let left = account.stacks.iter().filter(|stack| stack.status != "DELETE_COMPLETE");
        left.map(|stack| format!("{} {}", stack.name, stack.status)).collect()
    }
}

impl FakeStack {
    fn described(&self) -> String {
        let tags = self.tags.iter();
        let tags =
            tags.map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"));
        format!(
            "<member><StackName>{}</StackName><StackId>{}</StackId><StackStatus>{}</StackStatus>\
             <CreationTime>2026-01-01T00:00:00Z</CreationTime><Tags>{}</Tags><Outputs><member><OutputKey>Endpoint</OutputKey>\
             <OutputValue>https://x.execute-api.us-east-1.amazonaws.com/v1/</OutputValue></member></Outputs></member>",
            self.name,
            self.id,
            self.status,
            tags.collect::<String>()
        )
    }
}

fn refusal(code: &str, message: &str) -> (u16, String) {
    (
        400,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        ),
    )
}

fn result(action: &str, inner: &str) -> (u16, String) {
    (
        200,
        format!(
            "<{action}Response xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><{action}Result>{inner}</{action}Result></{action}Response>"
        ),
    )
}

impl Account {
    fn add(&mut self, name: &str, status: &str, tags: Vec<(String, String)>) {
        let id = format!("arn:aws:cloudformation:us-east-1:123456789012:stack/{name}/{}", self.stacks.len());
        self.stacks.push(FakeStack {
            name: name.to_owned(),
            id,
            status: status.to_owned(),
            tags,
            events: Vec::new(),
            coming: Vec::new(),
            looks: 0,
        });
    }

    /// By its name as long as it is there, and by its id always.
    fn find(&self, name: &str) -> Option<usize> {
        self.stacks
            .iter()
            .rposition(|stack| stack.id == name || stack.name == name && stack.status != "DELETE_COMPLETE")
    }

    fn answer(&mut self, manners: Manners, path: &str, target: Option<String>, body: &[u8]) -> (u16, String) {
        self.requests += 1;
        self.paths.insert(path.to_owned());
        if manners.throttles && self.requests % 2 == 1 {
            return match target {
                Some(_) => {
                    (400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}".to_owned())
                }
                None if path == "/" => refusal("Throttling", "Rate exceeded"),
                None => (
                    503,
                    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                        .to_owned(),
                ),
            };
        }
        if let Some(target) = target {
            let input = serde_json::from_slice(body).unwrap_or_default();
            return match target.as_str() {
                "AWSStepFunctions.ListExecutions" => self.executions(manners, &input),
                "AWSStepFunctions.StopExecution" => self.stop(&input),
                _ if target.contains("Tagging") => (200, "{\"ResourceTagMappingList\":[]}".to_owned()),
                _ => (200, "{\"logGroups\":[]}".to_owned()),
            };
        }
        let form: BTreeMap<String, String> = url_pairs(std::str::from_utf8(body).unwrap_or_default());
        let Some(action) = form.get("Action").filter(|_| path == "/") else {
            return (404, "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>".to_owned());
        };
        let value = |key: &str| form.get(key).cloned().unwrap_or_default();
        let name = value("StackName");
        match action.as_str() {
            "DescribeStacks" => self.describe(manners, &name),
            "DescribeStackEvents" => self.events(&name, &value("NextToken")),
            "ListStackResources" if manners.waiting_executions > 0 => result(
                "ListStackResources",
                "<StackResourceSummaries><member><LogicalResourceId>Workflow</LogicalResourceId>\
                 <PhysicalResourceId>arn:aws:states:us-east-1:123456789012:stateMachine:w</PhysicalResourceId>\
                 <ResourceType>AWS::StepFunctions::StateMachine</ResourceType></member></StackResourceSummaries>",
            ),
            "ListStackResources" if manners.failing_creations > 0 => result(
                "ListStackResources",
                "<StackResourceSummaries><member><LogicalResourceId>Files</LogicalResourceId>\
                 <PhysicalResourceId>theirs</PhysicalResourceId><ResourceType>AWS::S3::Bucket</ResourceType>\
                 <ResourceStatus>CREATE_FAILED</ResourceStatus></member></StackResourceSummaries>",
            ),
            "ListStackResources" => result("ListStackResources", "<StackResourceSummaries/>"),
            "CreateChangeSet" => self.make_set(&form),
            "DescribeChangeSet" => match self.sets.get(&value("ChangeSetName")) {
                Some(set) => {
                    let execution = if set.is_executed { "EXECUTE_COMPLETE" } else { "AVAILABLE" };
                    result(
                        "DescribeChangeSet",
                        &format!(
                            "<Status>CREATE_COMPLETE</Status><ExecutionStatus>{execution}</ExecutionStatus>"
                        ),
                    )
                }
                None => refusal("ChangeSetNotFound", "ChangeSet does not exist"),
            },
            "DeleteChangeSet" => {
                self.sets.remove(&value("ChangeSetName"));
                result("DeleteChangeSet", "")
            }
            "ExecuteChangeSet" => self.execute(manners, &value("ChangeSetName")),
            "DeleteStack" => self.delete(manners, &name),
            other => refusal("InvalidAction", other),
        }
    }

    fn make_set(&mut self, form: &BTreeMap<String, String>) -> (u16, String) {
        let (stack, set) = (form["StackName"].clone(), form["ChangeSetName"].clone());
        let member = |number: usize, key: &str| form.get(&format!("Tags.member.{number}.{key}")).cloned();
        let tags: Vec<(String, String)> =
            (1..).map_while(|number| Some((member(number, "Key")?, member(number, "Value")?))).collect();
        if self.find(&stack).is_some_and(|at| self.stacks[at].status != "REVIEW_IN_PROGRESS") {
            return refusal("ValidationError", "No updates are to be performed.");
        }
        if self.find(&stack).is_none() {
            self.add(&stack, "REVIEW_IN_PROGRESS", tags.clone());
        }
        self.sets.insert(set, FakeSet { stack, tags, is_executed: false });
        result("CreateChangeSet", "<Id>set</Id>")
    }

    fn execute(&mut self, manners: Manners, set: &str) -> (u16, String) {
        let Some(found) = self.sets.get_mut(set) else {
            return refusal("ChangeSetNotFound", "ChangeSet does not exist");
        };
        if found.is_executed {
            return refusal("InvalidChangeSetStatus", "it was executed");
        }
        found.is_executed = true;
        let (name, tags) = (found.stack.clone(), found.tags.clone());
        let at = self.find(&name).unwrap();
        let creations = self.begun.iter().filter(|begun| begun.starts_with("create")).count() as u32;
        self.begun.push(format!("create {name}"));
        let table = "AWS::DynamoDB::Table";
        let topic = "AWS::SNS::Topic";
        let stack = &mut self.stacks[at];
        stack.tags = tags;
        "CREATE_IN_PROGRESS".clone_into(&mut stack.status);
        stack.coming = if manners.deleted_meanwhile {
            vec![
                Resource("Table", table, "CREATE_IN_PROGRESS", ""),
                Stack("DELETE_IN_PROGRESS", "User Initiated"),
                Stack("DELETE_COMPLETE", ""),
            ]
        } else if creations < manners.failing_creations {
            vec![
                Resource("Table", table, "CREATE_IN_PROGRESS", ""),
                Resource("News", topic, "CREATE_IN_PROGRESS", ""),
                Resource(
                    "Table",
                    table,
                    "CREATE_FAILED",
                    "Subscriber limit exceeded for tables (Service: DynamoDb, Status Code: 400)",
                ),
                Resource("News", topic, "CREATE_FAILED", "Resource creation cancelled"),
                Stack("ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [News, Table]."),
                Resource("News", topic, "DELETE_COMPLETE", ""),
                Stack("ROLLBACK_COMPLETE", ""),
            ]
        } else {
            vec![
                Resource("Table", table, "CREATE_IN_PROGRESS", ""),
                Resource("News", topic, "CREATE_IN_PROGRESS", ""),
                Resource("News", topic, "CREATE_COMPLETE", ""),
                Resource("Table", table, "CREATE_COMPLETE", ""),
                Stack("CREATE_COMPLETE", ""),
            ]
        };
        self.happen(manners, at, &Stack("CREATE_IN_PROGRESS", "User Initiated"));
        result("ExecuteChangeSet", "")
    }

    fn delete(&mut self, manners: Manners, name: &str) -> (u16, String) {
        let Some(at) = self.find(name) else { return result("DeleteStack", "") };
        if self.stacks[at].status.starts_with("DELETE_") && self.stacks[at].status != "DELETE_FAILED" {
            return result("DeleteStack", "");
        }
        let deletions = self.begun.iter().filter(|begun| begun.starts_with("delete")).count() as u32;
        let is_planned = self.stacks[at].status == "REVIEW_IN_PROGRESS";
        self.begun.push(format!("{} {name}", if is_planned { "discard" } else { "delete" }));
        self.sets.clear();
        let topic = "AWS::SNS::Topic";
        let waiting = (1..=manners.waiting_executions).any(|number| !self.stopped.contains(&number));
        self.stacks[at].coming = if waiting {
            let machine = "AWS::StepFunctions::StateMachine";
            vec![
                Resource("Workflow", machine, "DELETE_IN_PROGRESS", ""),
                Resource("Workflow", machine, "DELETE_FAILED", "an execution waits"),
                Stack("DELETE_FAILED", "The following resource(s) failed to delete: [Workflow]."),
            ]
        } else if deletions < manners.failing_deletions {
            vec![
                Resource("News", topic, "DELETE_IN_PROGRESS", ""),
                Resource("News", topic, "DELETE_FAILED", "it is still used by the subscription of team B"),
                Stack("DELETE_FAILED", "The following resource(s) failed to delete: [News]."),
            ]
        } else {
            vec![
                Resource("News", topic, "DELETE_IN_PROGRESS", ""),
                Resource("News", topic, "DELETE_COMPLETE", ""),
                Stack("DELETE_COMPLETE", ""),
            ]
        };
        self.happen(manners, at, &Stack("DELETE_IN_PROGRESS", "User Initiated"));
        result("DeleteStack", "")
    }

    /// Two to a page. Between a page and the next, executions end.
    fn executions(&self, manners: Manners, input: &serde_json::Value) -> (u16, String) {
        const PAGE: usize = 2;
        let after: u32 = input["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let mut waiting =
            (after + 1..=manners.waiting_executions).filter(|number| !self.stopped.contains(number));
        let page: Vec<u32> = waiting.by_ref().take(PAGE).collect();
        let token = page.last().filter(|_| waiting.next().is_some()).map(ToString::to_string);
        let arns: Vec<_> =
            page.iter().map(|number| serde_json::json!({ "executionArn": number.to_string() })).collect();
        (200, serde_json::json!({ "executions": arns, "nextToken": token }).to_string())
    }

    fn stop(&mut self, input: &serde_json::Value) -> (u16, String) {
        let number: u32 = input["executionArn"].as_str().unwrap().parse().unwrap();
        self.stopped.insert(number);
        // One has ended since it was listed.
        match number {
            1 => (400, "{\"__type\":\"ExecutionDoesNotExist\"}".to_owned()),
            _ => (200, "{\"stopDate\":0}".to_owned()),
        }
    }

    fn happen(&mut self, manners: Manners, at: usize, change: &Change) {
        self.events += 1;
        self.clock += 1;
        let stack = &mut self.stacks[at];
        let (resource, kind, status, reason, of_stack) = match change {
            Resource(resource, kind, status, reason) => (*resource, *kind, *status, *reason, false),
            Stack(status, reason) => {
                (*status).clone_into(&mut stack.status);
                (stack.name.as_str(), "AWS::CloudFormation::Stack", *status, *reason, true)
            }
        };
        let event = FakeEvent {
            id: self.events,
            second: self.clock,
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            of_stack,
            hidden_looks: manners.events_late,
        };
        stack.events.push(event);
    }

    fn describe(&mut self, manners: Manners, name: &str) -> (u16, String) {
        if name.is_empty() {
            let there = self.stacks.iter().filter(|stack| stack.status != "DELETE_COMPLETE");
            let all: String = there.map(FakeStack::described).collect();
            return result("DescribeStacks", &format!("<Stacks>{all}</Stacks>"));
        }
        let Some(at) = self.find(name) else {
            return refusal("ValidationError", &format!("Stack with id {name} does not exist"));
        };
        let stack = &mut self.stacks[at];
        stack.events.iter_mut().for_each(|event| event.hidden_looks = event.hidden_looks.saturating_sub(1));
        stack.looks += 1;
        if !stack.coming.is_empty() && stack.looks.is_multiple_of(manners.looks_per_change + 1) {
            let change = stack.coming.remove(0);
            self.happen(manners, at, &change);
        }
        let all = self.stacks[at].described();
        result("DescribeStacks", &format!("<Stacks>{all}</Stacks>"))
    }

    /// Two to a page, neighbours exchanged.
    fn events(&mut self, name: &str, token: &str) -> (u16, String) {
        const PAGE: usize = 2;
        let Some(at) = self.find(name) else {
            return refusal("ValidationError", &format!("Stack [{name}] does not exist"));
        };
        let stack = &self.stacks[at];
        let mut newest: Vec<&FakeEvent> =
            stack.events.iter().rev().filter(|event| event.hidden_looks == 0).collect();
        newest.chunks_mut(PAGE).for_each(<[&FakeEvent]>::reverse);
        let start: usize = token.parse().unwrap_or(0);
        let members = newest.iter().skip(start).take(PAGE).map(|event| {
            let physical = if event.of_stack { stack.id.clone() } else { event.resource.clone() };
            format!(
                "<member><EventId>{}</EventId><StackId>{}</StackId><StackName>{}</StackName><LogicalResourceId>{}</LogicalResourceId>\
                 <PhysicalResourceId>{physical}</PhysicalResourceId><ResourceType>{}</ResourceType>\
                 <Timestamp>2026-01-01T00:{:02}:{:02}Z</Timestamp><ResourceStatus>{}</ResourceStatus>\
                 <ResourceStatusReason>{}</ResourceStatusReason></member>",
                event.id, stack.id, stack.name, event.resource, event.kind, event.second / 60, event.second % 60,
                event.status, event.reason
            )
        });
        let members: String = members.collect();
        let next = if newest.len() > start + PAGE {
            format!("<NextToken>{}</NextToken>", start + PAGE)
        } else {
            String::new()
        };
        result("DescribeStackEvents", &format!("<StackEvents>{members}</StackEvents>{next}"))
    }
}

fn url_pairs(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}
