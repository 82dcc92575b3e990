//! Functions in JavaScript on the local target. Ignored, since they need Node.js: `tests/run.sh` runs them where it is.

use serde_json::{Value, json};

use super::harness::App;

const TEMPLATE: &str = "tests/integration/local/node.yaml";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: node"]
async fn a_function_gets_its_event_context_and_trace() {
    let app = App::of(TEMPLATE).await;
    let answer = app.invoke("app-Echo", &json!({ "a": "ü" }), &[]).await;
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{answer:?}");
    let seen = answer.json();
    assert_eq!(seen["event"], json!({ "a": "ü" }));
    assert_eq!(seen["requestId"].as_str(), answer.header("x-amzn-requestid"));
    assert_eq!((&seen["name"], &seen["memory"]), (&json!("app-Echo"), &json!("256")));
    assert!(seen["arn"].as_str().unwrap().ends_with(":function:app-Echo"), "{seen}");
    assert!((5_000..=10_000).contains(&seen["remaining"].as_i64().unwrap()), "{seen}");
    let root = answer.header("x-amzn-trace-id").unwrap().split(';').next().unwrap().to_owned();
    assert!(seen["trace"].as_str().unwrap().starts_with(&format!("{root};Parent=")), "{seen}");
    // Warm: the same process, another trace.
    let again = app.invoke("app-Echo", &json!({}), &[]).await.json();
    assert_eq!(again["pid"], seen["pid"]);
    assert_ne!(again["trace"], seen["trace"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: node"]
async fn handlers_of_every_style_and_module_system_answer() {
    let app = App::of(TEMPLATE).await;
    let check = async |function: &str, event: Value, expected: Value| {
        // Twice: the second invocation meets what the first has left.
        for _ in 0..2 {
            let answer = app.invoke(function, &event, &[]).await;
            assert_eq!(answer.header("x-amz-function-error"), None, "{function}: {answer:?}");
            assert_eq!(answer.json(), expected, "{function}");
        }
    };
    check("app-Callback", json!({}), json!({ "after": "a while" })).await;
    check("app-Patient", json!({ "wait": true }), json!({ "late": true })).await;
    check("app-Patient", json!({ "wait": false }), json!({ "late": false })).await;
    check("app-Silent", json!({}), Value::Null).await;
    check("app-Nested", json!({}), json!("nested")).await;
    check("app-Module", json!({ "text": "x" }), json!({ "ready": "ready", "text": "x" })).await;
    check("app-Own", json!({}), json!("any.thing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: node"]
async fn failures_have_the_types_that_lambda_reports() {
    let app = App::of(TEMPLATE).await;
    let check = async |function: &str, event: Value, kind: &str, message: &str| {
        let answer = app.invoke(function, &event, &[]).await;
        assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, Some("Unhandled")));
        let error = answer.json();
        assert_eq!(error["errorType"], kind, "{event}: {error}");
        assert!(error["errorMessage"].as_str().unwrap().contains(message), "{event}: {error}");
    };
    check("app-Callback", json!({ "error": "in the callback" }), "TypeError", "in the callback").await;
    check("app-Fail", json!({ "how": "throw" }), "RangeError", "asked to fail").await;
    check("app-Fail", json!({ "how": "text" }), "string", "no error object").await;
    check("app-Fail", json!({ "how": "nothing" }), "Error", "without a reason").await;
    check("app-Fail", json!({ "how": "circular" }), "TypeError", "circular").await;
    check("app-Fail", json!({ "how": "exit" }), "Runtime.ExitError", "exit status 3").await;
    check("app-Fail", json!({ "how": "later" }), "Error", "nobody caught this").await;
    let rejected = "Runtime.UnhandledPromiseRejection";
    check("app-Fail", json!({ "how": "rejection" }), rejected, "nobody caught that").await;
    check("app-Broken", json!({}), "Error", "no such luck").await;
    check("app-Syntax", json!({}), "Runtime.UserCodeSyntaxError", "SyntaxError").await;
    check("app-Missing", json!({}), "Runtime.ImportModuleError", "Cannot find module './missing'").await;
    check("app-Unexported", json!({}), "Runtime.HandlerNotFound", "styles.nobody is undefined").await;
    // What failed does not stay.
    let answer = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await;
    assert_eq!(answer.header("x-amz-function-error"), None, "{answer:?}");
    let log = std::fs::read_to_string(app.state_dir().join("functions/app-Fail.log")).unwrap();
    assert!(log.contains("RangeError") && log.contains("styles.js"), "{log}");
}
