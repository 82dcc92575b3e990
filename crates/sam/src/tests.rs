use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn place() -> Place {
    Place {
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        stack: "shop".to_owned(),
        api_base: "http://127.0.0.1:8000".to_owned(),
        aws_base: "http://127.0.0.1:9000".to_owned(),
    }
}

fn read(source: &str) -> Result<Application, Vec<Problem>> {
    read_with(source, &BTreeMap::new())
}

fn read_with(source: &str, parameters: &BTreeMap<String, String>) -> Result<Application, Vec<Problem>> {
    Template::parse(source).map_err(|problem| vec![problem])?.application(parameters, &place())
}

const SHOP: &str = r#"
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: { Type: String, Default: hello }
  Size: { Type: Number, Default: 256 }
Mappings:
  Sizes:
    small: { memory: 512 }
Conditions:
  Loud: !Equals [!Ref Greeting, HELLO]
Globals:
  Function:
    Runtime: python3.11
    Timeout: 20
    Environment: { Variables: { SHARED: "1", LEVEL: info } }
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: { StageName: v1 }
  Front:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: src/
      Handler: handler.front
      MemorySize: !Ref Size
      Policies: [AWSLambdaBasicExecutionRole]
      Environment:
        Variables:
          LEVEL: debug
          NEXT: !Ref Back
          NEXT_ARN: !GetAtt Back.Arn
          TEXT: !Sub "${Greeting}-${AWS::Region}-${!literal}"
          LIST: !Join [",", [a, !If [Loud, LOUD, quiet], !Select [1, !Split ["/", "x/y"]]]]
          MAPPED: !FindInMap [Sizes, small, memory]
      Events:
        Get: { Type: HttpApi, Properties: { ApiId: !Ref Api, Path: "/items/{id}", Method: get } }
        Old: { Type: Api, Properties: { Path: "/old/{proxy+}", Method: ANY } }
  Back:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-backend"
      Handler: handler.back
      Timeout: 5
      ReservedConcurrentExecutions: 2
      EventInvokeConfig:
        MaximumRetryAttempts: 1
        DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt Failed.Arn } }
  Failed: { Type: AWS::SQS::Queue }
  Only: { Type: AWS::S3::Bucket, Condition: Loud }
Outputs:
  Url: { Value: !Sub "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/v1/items" }
  Function: { Value: !GetAtt Front.Arn }
  Hidden: { Condition: Loud, Value: x }
"#;

#[test]
fn a_template_is_evaluated_with_intrinsics_globals_and_conditions() {
    let shop = read(SHOP).unwrap();
    let [front, back] = shop.functions.as_slice() else { panic!("{shop:?}") };
    assert_eq!((front.name.as_str(), back.name.as_str()), ("shop-Front", "shop-backend"));
    assert_eq!((front.timeout.as_secs(), back.timeout.as_secs()), (20, 5));
    assert_eq!((front.memory_mib, back.memory_mib), (256, 128));
    assert_eq!((front.code.as_str(), front.runtime.as_str()), ("src/", "python3.11"));
    let environment: Vec<(&str, &str)> =
        front.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        environment,
        [
            ("LEVEL", "debug"),
            ("LIST", "a,quiet,y"),
            ("MAPPED", "512"),
            ("NEXT", "shop-backend"),
            ("NEXT_ARN", "arn:aws:lambda:us-east-1:000000000000:function:shop-backend"),
            ("SHARED", "1"),
            ("TEXT", "hello-us-east-1-${literal}"),
        ]
    );
    assert_eq!((back.retries, back.reserved_concurrency), (1, Some(2)));
    assert_eq!(back.on_failure.as_deref(), Some("arn:aws:sqs:us-east-1:000000000000:shop-Failed"));
    let routes: Vec<_> = shop
        .routes
        .iter()
        .map(|route| (route.format, route.method.as_str(), route.path.as_str(), route.stage.as_str()))
        .collect();
    assert_eq!(
        routes,
        [(Format::HttpV2, "GET", "/items/{id}", "v1"), (Format::Rest, "ANY", "/old/{proxy+}", "Prod")]
    );
    assert_eq!(
        shop.outputs,
        [
            ("Url".to_owned(), "http://127.0.0.1:8000/v1/items".to_owned()),
            ("Function".to_owned(), "arn:aws:lambda:us-east-1:000000000000:function:shop-Front".to_owned())
        ]
    );
    let warnings: Vec<_> = shop.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["line 27: resource `Front`: property `Policies` is left out by the local target"]);
}

#[test]
fn public_urls_of_apis_are_those_of_the_gateway_whatever_stands_before_them() {
    let outputs = |value: &str| {
        let template = format!(
            "Resources:\n  Api: {{Type: 'AWS::Serverless::HttpApi'}}\n  F: {{Type: 'AWS::Serverless::Function', Properties: {{Runtime: python3.12, Handler: a.b, CodeUri: .}}}}\nOutputs: {{Url: {{Value: !Sub \"{value}\"}}}}"
        );
        read(&template).unwrap().outputs.remove(0).1
    };
    const API: &str = "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/v1";
    assert_eq!(outputs(&format!("Гhttps://{}", &API[8..])), "Гhttp://127.0.0.1:8000/v1");
    assert_eq!(outputs(&format!("{API} {API}")), "http://127.0.0.1:8000/v1 http://127.0.0.1:8000/v1");
    assert_eq!(outputs(&format!("x.execute-api.y, {API}")), "x.execute-api.y, http://127.0.0.1:8000/v1");
}

#[test]
fn parameters_override_defaults() {
    let overrides = BTreeMap::from([("Size".to_owned(), "1024".to_owned())]);
    let shop = read_with(SHOP, &overrides).unwrap();
    assert_eq!(shop.functions[0].memory_mib, 1024);
    // As manifests write names; the exact name goes first.
    let given = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let snake = SHOP
        .replace("Size:", "MemorySize:")
        .replace("!Ref Size", "!Ref MemorySize")
        .replace("MemoryMemorySize", "MemorySize");
    let overrides = BTreeMap::from([given("memory_size", "2048")]);
    assert_eq!(read_with(&snake, &overrides).unwrap().functions[0].memory_mib, 2048);
    let overrides = BTreeMap::from([given("MemorySize", "512"), given("memory_size", "2048")]);
    assert_eq!(read_with(&snake, &overrides).unwrap().functions[0].memory_mib, 512);
}

#[test]
fn json_templates_are_read_too() {
    let json = r#"{
        "Resources": {
            "F": { "Type": "AWS::Serverless::Function",
                   "Properties": { "Handler": "a.b", "Runtime": "python3.12",
                                   "Environment": { "Variables": { "ME": { "Fn::Sub": "${AWS::StackName}!" } } } } }
        },
        "Outputs": { "Name": { "Value": { "Ref": "F" } } }
    }"#;
    let read = read(json).unwrap();
    assert_eq!(read.functions[0].environment["ME"], "shop!");
    assert_eq!(read.outputs, [("Name".to_owned(), "shop-F".to_owned())]);
}

#[test]
fn output_names_keep_their_order_and_ignore_tags() {
    let names = |source: &str| Template::parse(source).map(|template| template.output_names());
    assert_eq!(names(SHOP).unwrap(), ["Url", "Function", "Hidden"]);
    assert!(names("Resources: {}").unwrap().is_empty());
    assert!(names("a: [").unwrap_err().to_string().starts_with("line 1"));
}

/// `tail` is put after a function `F` on lines 2 to 4; the first error must read as given.
#[track_caller]
fn check_error(tail: &str, expected: &str) {
    let source = format!(
        "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {{ Handler: a.b, Runtime: python3.11 }}\n{tail}"
    );
    let problems = read(&source).unwrap_err();
    let first = problems.iter().find(|problem| problem.severity != Severity::Warning).unwrap();
    assert!(first.to_string().starts_with(expected), "{first}");
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    check_error(
        "  S:\n    Type: AWS::MSK::Cluster\n",
        "line 5: resource `S`: AWS::MSK::Cluster is not supported",
    );
    check_error(
        "  B:\n    Type: AWS::S3::Bucket\n    Properties:\n      NotificationConfiguration: {}\n",
        "line 8: resource `B`: property `NotificationConfiguration` is not supported",
    );
    check_error(
        "  T: { Type: AWS::DynamoDB::Table }\n",
        "line 5: resource `T`: a table needs `AttributeDefinitions`",
    );
    check_error(
        "  T:\n    Type: AWS::DynamoDB::Table\n    Properties:\n      ProvisionedThroughput: { ReadCapacityUnits: many }\n",
        "line 8: resource `T`: `ReadCapacityUnits` must be a whole number",
    );
    check_error(
        "  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n      Colour: red\n",
        "line 8: resource `Q`: property `Colour` is not supported",
    );
    check_error(
        "  S:\n    Type: AWS::SNS::Subscription\n    Properties: { TopicArn: x, Protocol: email, Endpoint: y }\n",
        "line 5: resource `S`: subscriptions with protocol `email` are not supported",
    );
    check_error(
        "  S:\n    Type: AWS::SNS::Subscription\n    Properties: { TopicArn: x, Protocol: sqs, Endpoint: y }\n",
        "line 5: `x` is no queue, topic, bucket, table or stream of this template",
    );
    check_error(
        "  G:\n    Type: AWS::Serverless::Function\n    Properties:\n      Runtime: python3.11\n",
        "line 5: resource `G`: `Handler` is missing",
    );
    for (runtime, handler, example) in [
        ("python3.12", "app", "app.handler"),
        ("python3.12", "src/app", "src/app.handler"),
        ("python3.12", "app.", "app.handler"),
        ("nodejs22.x", "index", "index.handler"),
        ("nodejs22.x", ".main", "app.main"),
    ] {
        let expected = format!(
            "line 8: resource `G`: `Handler` is `{handler}`, which is no MODULE.FUNCTION: write the module and the function, such as `{example}`"
        );
        check_error(
            &format!(
                "  G:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: {handler}\n      Runtime: {runtime}\n"
            ),
            &expected,
        );
    }
    let function = |properties: &str| {
        format!(
            "  G:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Runtime: python3.11\n{properties}"
        )
    };
    check_error(
        &function("      Layers: [x]\n"),
        "line 10: resource `G`: property `Layers` is not supported",
    );
    check_error(
        &function("      FunctionName: ../x\n"),
        "line 5: resource `G`: function name `../x`: only letters",
    );
    check_error(&function("      Timeout: 901\n"), "line 10: resource `G`: Timeout is `901`: it must be");
    check_error(
        &function("      Events:\n        Up: { Type: MSK }\n"),
        "line 11: resource `G`: event `Up` of type `MSK`",
    );
    let event = |text: &str| function(&format!("      Events:\n        E: {{ {text} }}\n"));
    for (text, expected) in [
        ("Type: SQS", "the event needs `Queue`"),
        (
            "Type: SQS, Properties: { Queue: q, BatchSize: 0 }",
            "BatchSize is `0`: it must be a whole number from 1 to 10000",
        ),
        ("Type: SQS, Properties: { Queue: q, BatchSize: 11 }", "a BatchSize above 10 needs"),
        (
            "Type: SQS, Properties: { Queue: q, ScalingConfig: { MaximumConcurrency: 1 } }",
            "MaximumConcurrency is `1`",
        ),
        (
            "Type: SQS, Properties: { Queue: q, KmsKeyArn: k }",
            "property `KmsKeyArn` of event `E` is not supported",
        ),
        (
            "Type: SQS, Properties: { Queue: q, FilterCriteria: { Filters: [{ Pattern: '{' }] } }",
            "FilterCriteria: `{`: EOF while parsing",
        ),
        (
            "Type: SQS, Properties: { Queue: q, FilterCriteria: { Filters: [{ Pattern: '{\"body\": 5}' }] } }",
            "FilterCriteria: `body` must be a list",
        ),
        (
            "Type: SNS, Properties: { Topic: t, FilterPolicy: { a: [{ cidr: x }] } }",
            "FilterPolicy: `cidr` is no operator",
        ),
        (
            "Type: SNS, Properties: { Topic: t, FilterPolicyScope: Body, FilterPolicy: { a: [b] } }",
            "FilterPolicy: FilterPolicyScope is MessageAttributes",
        ),
        ("Type: S3, Properties: { Bucket: b }", "the event needs `Events`"),
        (
            "Type: S3, Properties: { Bucket: b, Events: 's3:ReducedRedundancyLostObject' }",
            "the local target has no S3 event `s3:Reduced",
        ),
        (
            "Type: Schedule, Properties: { Schedule: cron(0 * * * *) }",
            "`cron(0 * * * *)`: a cron expression has six",
        ),
        (
            "Type: ScheduleV2, Properties: { ScheduleExpression: at(2027-01-01T00:00:00) }",
            "`at(2027-01-01T00:00:00)`: the local target has schedules such as",
        ),
        ("Type: Schedule, Properties: { Schedule: rate(0 minutes) }", "`rate(0 minutes)`: a rate is"),
    ] {
        check_error(&event(text), &format!("line 11: resource `G`: {expected}"));
    }
    check_error(
        &event("Type: SNS, Properties: { Topic: t }"),
        "line 11: `t` is no queue, topic, bucket, table or stream of this template",
    );
    check_error(
        &function("      Environment:\n        Variables:\n          WORD: !Ref Nobody\n"),
        "line 12: resource `G`: `Nobody` is neither",
    );
    check_error(
        &function("      Environment:\n        Variables:\n          WORD: !ImportValue y\n"),
        "line 12: resource `G`: `Fn::ImportValue` is not supported",
    );
    check_error("Parameters:\n  P: { Type: String }\n", "line 6: parameter `P` has no value");
    check_error("Resource: {}\n", "line 5: unknown section `Resource`");
    check_error("  F: {}\n", "line 5: `F` was set on line 2 already");
}

#[test]
fn queues_topics_and_what_invokes_functions_are_read() {
    let shop = read(
        r#"
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.11
      Environment: { Variables: { URL: !Ref Q, TOPIC: !Ref T, NAME: !GetAtt Q.QueueName } }
      Events:
        Jobs:
          Type: SQS
          Properties:
            Queue: !GetAtt Q.Arn
            BatchSize: 20
            MaximumBatchingWindowInSeconds: 2
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: 3 }
        Off: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn, Enabled: false } }
        News: { Type: SNS, Properties: { Topic: !Ref T } }
        Files:
          Type: S3
          Properties: { Bucket: !Ref B, Events: ["s3:ObjectCreated:*"], Filter: { S3Key: { Rules: [{ Name: suffix, Value: .png }] } } }
        Often: { Type: Schedule, Properties: { Schedule: rate(2 hours) } }
  Q:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 120
      RedrivePolicy: { deadLetterTargetArn: !GetAtt D.Arn, maxReceiveCount: 3 }
  D: { Type: AWS::SQS::Queue, Properties: { QueueName: dead } }
  T: { Type: AWS::SNS::Topic, Properties: { TracingConfig: Active } }
  S: { Type: AWS::SNS::Subscription, Properties: { TopicArn: !Ref T, Protocol: sqs, Endpoint: !GetAtt Q.Arn, RawMessageDelivery: true } }
  B: { Type: AWS::S3::Bucket }
"#,
    )
    .unwrap();
    let arn = |rest: &str| format!("arn:aws:{rest}").replace("HERE", "us-east-1:000000000000");
    let environment = &shop.functions[0].environment;
    assert_eq!(environment["URL"], "http://127.0.0.1:9000/000000000000/shop-Q");
    assert_eq!(
        (environment["TOPIC"].as_str(), environment["NAME"].as_str()),
        (arn("sns:HERE:shop-T").as_str(), "shop-Q")
    );
    let sources: Vec<_> =
        shop.sources.iter().map(|source| (source.name.as_str(), source.source.clone())).collect();
    assert_eq!(
        sources,
        [
            (
                "Jobs",
                Source::Sqs {
                    queue_arn: arn("sqs:HERE:shop-Q"),
                    batch_size: 20,
                    window: Duration::from_secs(2),
                    partial_failures: true,
                    maximum_concurrency: Some(3),
                    filters: Vec::new(),
                }
            ),
            ("News", Source::Sns { topic_arn: arn("sns:HERE:shop-T"), filter: None }),
            (
                "Files",
                Source::S3 {
                    bucket: "shop-b".to_owned(),
                    events: vec!["s3:ObjectCreated:*".to_owned()],
                    prefix: String::new(),
                    suffix: ".png".to_owned(),
                }
            ),
            (
                "Often",
                Source::Schedule {
                    timing: Timing::Every(Duration::from_hours(2)),
                    input: None,
                    of_scheduler: false
                }
            ),
        ]
    );
    let subscription = &shop.subscriptions[0];
    assert_eq!((subscription.queue_arn.as_str(), subscription.raw), (arn("sqs:HERE:shop-Q").as_str(), true));
    let service =
        |name: &str| shop.resources.iter().find(|resource| resource.name == name).unwrap().service.clone();
    let Service::SqsQueue { attributes } = service("shop-Q") else { panic!("{shop:?}") };
    assert_eq!(attributes["RedrivePolicy"]["deadLetterTargetArn"], arn("sqs:HERE:dead"));
    assert_eq!(attributes["VisibilityTimeout"], "120");
    assert_eq!(service("shop-T"), Service::SnsTopic { traced: true, fifo: false });
}

#[test]
fn events_of_a_bus_reach_the_functions_whose_pattern_they_have() {
    let with = |bus: &str, event: &str| {
        read(&format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Runtime: python3.12\n      Environment: {{ Variables: {{ BUS: !Ref Shop, ARN: !GetAtt Shop.Arn }} }}\n      Events:\n        Sold: {{ Type: {event} }}\n  Shop: {{ Type: AWS::Events::EventBus, Properties: {{ {bus} }} }}\n"
        ))
    };
    let sold = "EventBridgeRule, Properties: { EventBusName: !Ref Shop, Pattern: { source: [shop], detail: { price: [{ numeric: ['>', 5] }] } } }";
    let shop = with("Name: market", sold).unwrap();
    assert_eq!(
        (shop.buses.as_slice(), shop.has_buses(), shop.has_services()),
        (&["market".to_owned()][..], true, false)
    );
    assert_eq!(shop.functions[0].environment["BUS"], "market");
    assert_eq!(
        shop.functions[0].environment["ARN"],
        "arn:aws:events:us-east-1:000000000000:event-bus/market"
    );
    let Source::Bus { bus, pattern, input: None } = &shop.sources[0].source else { panic!("{shop:?}") };
    assert_eq!(bus, "market");
    assert!(pattern.matches(&serde_json::json!({ "source": "shop", "detail": { "price": 6 } })));
    assert!(!pattern.matches(&serde_json::json!({ "source": "shop", "detail": { "price": 5 } })));
    // By its ARN; and without a name the account's own.
    for (event, expected) in [
        (
            "CloudWatchEvent, Properties: { EventBusName: !GetAtt Shop.Arn, Pattern: { source: [a] } }",
            "shop-Shop",
        ),
        ("CloudWatchEvent, Properties: { Pattern: { source: [a] }, Input: '{}' }", "default"),
    ] {
        let Source::Bus { bus, .. } = &with("", event).unwrap().sources[0].source else { panic!("{event}") };
        assert_eq!(bus, expected);
    }
    let told = |bus: &str, event: &str| {
        let problems = with(bus, event).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (bus, event, expected) in [
        ("", "EventBridgeRule", "the event needs `Pattern`"),
        (
            "",
            "EventBridgeRule, Properties: { Pattern: { source: shop } }",
            "Pattern: `source` must be a list",
        ),
        (
            "",
            "EventBridgeRule, Properties: { EventBusName: other, Pattern: { source: [a] } }",
            "`other` is no bus of this template",
        ),
        (
            "",
            "EventBridgeRule, Properties: { Pattern: { source: [a] }, InputPath: $.detail }",
            "property `InputPath` of event `Sold` is not supported",
        ),
        ("", "EventBridgeRule, Properties: { Pattern: { source: [a] }, Input: '{' }", "Input is no JSON"),
        ("EventSourceName: x", sold, "property `EventSourceName` is not supported"),
    ] {
        let told = told(bus, event);
        assert!(told.contains(expected), "{event}: {told}");
    }
}

#[test]
fn queues_for_failed_events_alone_need_no_services() {
    assert_eq!(read(SHOP).unwrap().resources, []);
}

#[test]
fn queues_for_failed_events_that_somebody_looks_at_need_services() {
    let with = |more: &str| {
        let text = format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Runtime: python3.12\n      DeadLetterQueue: {{ Type: SQS, TargetArn: !GetAtt Dead.Arn }}\n{more}"
        );
        read(&text).unwrap().resources.len()
    };
    let dead = "  Dead: { Type: AWS::SQS::Queue }\n";
    assert_eq!(with(dead), 0);
    assert_eq!(with(&format!("      Environment: {{ Variables: {{ DEAD: !Ref Dead }} }}\n{dead}")), 1);
    assert_eq!(with(&format!("{dead}Outputs: {{ Dead: {{ Value: !Ref Dead }} }}\n")), 1);
    let event = "      Events: { Dead: { Type: SQS, Properties: { Queue: !GetAtt Dead.Arn } } }\n";
    assert_eq!(with(&format!("{event}{dead}")), 1);
}

#[test]
fn parameters_that_are_lists_are_lists_for_functions_of_lists() {
    let shop = read(
        "Parameters: { Names: { Type: CommaDelimitedList, Default: 'a, b' } }\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Runtime: python3.12\n      Environment: { Variables: { ALL: !Join [';', !Ref Names], LAST: !Select [1, !Ref Names] } }\n",
    )
    .unwrap();
    let values: Vec<&str> = shop.functions[0].environment.values().map(String::as_str).collect();
    assert_eq!(values, ["a;b", "b"]);
}

#[test]
fn what_lambda_or_step_functions_would_refuse_is_refused_here() {
    let told = |properties: &str, more: &str| {
        let text = format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Runtime: python3.12\n{properties}{more}"
        );
        let problems = read(&text).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let variables = told(
        "      Environment:\n        Variables:\n          AWS_REGION: x\n          1bad: y\n          FINE: !GetAtt F.Nothing\n",
        "",
    );
    assert!(
        variables.contains("line 9: resource `F`: variable `AWS_REGION` is set by Lambda"),
        "{variables}"
    );
    assert!(
        variables.contains("line 10: resource `F`: Lambda refuses a variable called `1bad`"),
        "{variables}"
    );
    assert!(variables.contains("line 11: resource `F`: the local target does not know"), "{variables}");
    let name = told(&format!("      FunctionName: {}\n", "x".repeat(65)), "");
    assert!(name.contains("has 65 characters"), "{name}");
    let event =
        "      Timeout: 6\n      Events: { Q: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn } } }\n";
    let queue = told(event, "  Q: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 5 } }\n");
    assert!(
        queue.contains("VisibilityTimeout (5 s) is shorter than the function's Timeout (6 s)"),
        "{queue}"
    );
    let default = told(&event.replace("Timeout: 6", "Timeout: 31"), "  Q: { Type: AWS::SQS::Queue }\n");
    assert!(default.contains("VisibilityTimeout (30 s)"), "{default}");
    let machine = told(
        "",
        "  M:\n    Type: AWS::Serverless::StateMachine\n    Properties:\n      Definition: { StartAt: P, States: { P: { Type: Parallel, End: true, Branches: [{ StartAt: A, States: { A: { Type: Pass, QueryLanguage: JSONata, End: true } } }] } } }\n",
    );
    assert!(machine.contains("line 7: resource `M`: states with `QueryLanguage: JSONata`"), "{machine}");
}

#[test]
fn tables_and_buckets_are_read_with_their_names() {
    let shop = read(
        r#"
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.11
      Environment: { Variables: { TABLE: !Ref Orders, TABLE_ARN: !GetAtt Orders.Arn, BUCKET: !Ref Files, BUCKET_ARN: !GetAtt Files.Arn } }
  Files: { Type: AWS::S3::Bucket, DeletionPolicy: Delete }
  Orders:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub "${AWS::StackName}-orders"
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: "1" }
      TimeToLiveSpecification: { AttributeName: until, Enabled: true }
  Plain: { Type: AWS::Serverless::SimpleTable }
  Keyed: { Type: AWS::Serverless::SimpleTable, Properties: { PrimaryKey: { Name: n, Type: Number } } }
"#,
    )
    .unwrap();
    let environment: Vec<&str> = shop.functions[0].environment.values().map(String::as_str).collect();
    assert_eq!(
        environment,
        [
            "shop-files",
            "arn:aws:s3:::shop-files",
            "shop-orders",
            "arn:aws:dynamodb:us-east-1:000000000000:table/shop-orders"
        ]
    );
    let [files, orders, simple @ ..] = shop.resources.as_slice() else { panic!("{:?}", shop.resources) };
    assert_eq!(
        (files.name.as_str(), &files.service, files.line),
        ("shop-files", &Service::S3Bucket { versioned: false }, 9)
    );
    let definition = serde_json::json!({
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 1 },
    });
    let table = Service::DynamoDbTable { definition, expires_by: Some("until".to_owned()) };
    assert_eq!((orders.name.as_str(), &orders.service), ("shop-orders", &table));
    for (table, (name, kind)) in simple.iter().zip([("id", "S"), ("n", "N")]) {
        let definition = json!({
            "AttributeDefinitions": [{ "AttributeName": name, "AttributeType": kind }],
            "KeySchema": [{ "AttributeName": name, "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        assert_eq!(table.service, Service::DynamoDbTable { definition, expires_by: None });
    }
}

#[test]
fn collections_of_faces_are_read_with_their_ids() {
    let source = r#"
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.11
      Environment: { Variables: { ARN: !GetAtt Faces.Arn, ID: !Ref Faces } }
  Faces: { Type: AWS::Rekognition::Collection, Properties: { CollectionId: !Sub "${AWS::StackName}-faces" } }
"#;
    let shop = read(source).unwrap();
    let environment: Vec<&str> = shop.functions[0].environment.values().map(String::as_str).collect();
    assert_eq!(
        environment,
        ["arn:aws:rekognition:us-east-1:000000000000:collection/shop-faces", "shop-faces"]
    );
    let [faces] = shop.resources.as_slice() else { panic!("{:?}", shop.resources) };
    assert_eq!((faces.name.as_str(), &faces.service), ("shop-faces", &Service::RekognitionCollection));
    let problems = read(&source.replace("CollectionId", "Collection")).unwrap_err();
    assert!(problems[0].message.contains("property `Collection` is not supported"), "{problems:?}");
}

#[test]
fn aliases_cannot_unfold_without_end() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let previous = format!("*a{}", level - 1);
        bomb += &[
            "a",
            &level.to_string(),
            ": &a",
            &level.to_string(),
            " [",
            &vec![previous; 10].join(", "),
            "]\n",
        ]
        .concat();
    }
    let problems = read(&bomb).unwrap_err();
    assert!(problems[0].message.contains("more than 200000 values"), "{problems:?}");
}

#[test]
fn a_definition_in_a_file_is_read_with_its_substitutions() {
    let yaml = "StartAt: A\nStates:\n  A: { Type: Task, Resource: '${Echo}', Parameters: { n: 2, t: '2' }, End: true }\n";
    let expected = json!({
        "StartAt": "A",
        "States": {
            "A": { "Type": "Task", "Resource": "arn:echo", "Parameters": { "n": 2, "t": "2" }, "End": true }
        },
    });
    let values = [("Echo".to_owned(), "arn:echo".to_owned())];
    assert_eq!(definition(yaml, &values), Ok(expected.clone()));
    assert_eq!(definition(&expected.to_string(), &[]), Ok(expected));
    assert!(definition("A", &values).unwrap_err().contains("no fields"));
    assert!(definition("A: [", &values).unwrap_err().starts_with("line "));
}

#[test]
fn a_state_machine_has_one_definition_and_it_is_here() {
    const MACHINE: &str = "  M:\n    Type: AWS::Serverless::StateMachine\n    Properties: ";
    let both =
        "line 5: resource `M`: a state machine needs a `Definition` or a `DefinitionUri`, and not both";
    check_error(&format!("{MACHINE}{{ Definition: {{ StartAt: A }}, DefinitionUri: a.json }}"), both);
    let bucket = "line 7: resource `M`: DefinitionUri must be a local file, not an object in a bucket";
    check_error(&format!("{MACHINE}{{ DefinitionUri: s3://bucket/key }}"), bucket);
    check_error(&format!("{MACHINE}{{ DefinitionUri: {{ Bucket: b, Key: k }} }}"), bucket);
}

#[test]
fn what_stands_in_the_way_of_an_application_is_no_warning_and_hides_nothing_else() {
    let model = Template::parse(
        "Resources:\n  A:\n    Type: AWS::Serverless::Function\n    Properties:\n      PackageType: Image\n      \
         LoggingConfig: {}\n      Events: {Get: {Type: Api, Properties: {Path: /a, Method: get}}}\n",
    )
    .unwrap();
    let (application, problems) = model.as_far_as_possible(&BTreeMap::new(), &Place::any());
    let [only] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((only.severity, only.line), (Severity::Unsupported, 5));
    assert_eq!(
        (application.functions.len(), application.routes.len(), application.warnings.len()),
        (1, 1, 1)
    );
    assert_eq!(model.application(&BTreeMap::new(), &Place::any()).unwrap_err(), problems);
}

#[test]
fn a_misspelt_type_of_resource_is_told_its_name() {
    let swapped = "AWS::Serverless::Function".replace("io", "oi");
    for (kind, meant) in [
        (swapped.as_str(), Some("AWS::Serverless::Function")),
        (&swapped[..swapped.len() - 1], None),
        ("aws::s3::bucket", Some("AWS::S3::Bucket")),
        ("AWS::SQS::Queues", Some("AWS::SQS::Queue")),
        ("AWS::SNS::Tapic", Some("AWS::SNS::Topic")),
        ("AWS::EC2::Instance", None),
        ("AWS::Lambda::Function", None),
    ] {
        assert_eq!(crate::meant(kind), meant, "{kind}");
    }
}
