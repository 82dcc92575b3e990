//! Functions in Java on the local target. Ignored, since they need a JDK and Maven: `tests/run.sh` runs them where these are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sb_local::LocalRuntime;
use serde_json::json;

use super::harness::{App, here, sb, spec};

fn template(code: &Path) -> String {
    format!(
        "Resources:\n  Echo:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: Echo\n      Runtime: java21\n      Timeout: 20\n      MemorySize: 256\n      CodeUri: {}\n",
        code.display()
    )
}

/// Compiles the function against the jars of the client, which the first start fetches.
async fn compile(folder: &Path, classes: &Path) {
    let path = folder.join("template.yaml");
    std::fs::create_dir_all(classes).unwrap();
    std::fs::write(&path, template(classes)).unwrap();
    let state = folder.join("compile");
    let _: LocalRuntime = sb_local::up(spec(&path, &state), None, sb()).await.unwrap();
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(state.join("local.json")).unwrap()).unwrap();
    sb_local::down(&state).await.unwrap();
    let client = Path::new(written["java_client"].as_str().unwrap()).join("*");
    let compiled = Command::new("javac")
        .args(["-d".as_ref(), classes.as_os_str(), "-cp".as_ref(), client.as_os_str()])
        .arg(here("tests/integration/local/java/Echo.java"))
        .status()
        .unwrap();
    assert!(compiled.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: java"]
async fn classes_a_jar_and_a_zip_run_with_lambdas_client() {
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().join("classes");
    compile(folder.path(), &classes).await;
    let jar = folder.path().join("echo.jar");
    let packed = Command::new("jar").arg("cf").arg(&jar).arg("-C").arg(&classes).arg(".").status().unwrap();
    assert!(packed.success());
    let archive = folder.path().join("echo.zip");
    std::fs::copy(&jar, &archive).unwrap();
    for code in [classes, jar, archive] {
        let path = folder.path().join("template.yaml");
        std::fs::write(&path, template(&code)).unwrap();
        let app = App::with(path.to_str().unwrap(), |_| {}).await;
        let answer = app.invoke("app-Echo", &json!({ "a": "ü" }), &[]).await;
        assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{answer:?}");
        let seen = answer.json();
        assert_eq!((&seen["event"], &seen["name"]), (&json!({ "a": "ü" }), &json!("app-Echo")));
        assert_eq!(seen["request_id"].as_str(), answer.header("x-amzn-requestid"));
        let heap = seen["heap_mib"].as_u64().unwrap();
        assert!((180..=220).contains(&heap), "the memory size limits the heap: {seen}");
        let id = answer.header("x-amzn-trace-id").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
        assert!(seen["trace"].as_str().unwrap().contains(&id), "{seen}");
        let failed = app.invoke("app-Echo", &json!({ "fail": 1 }), &[]).await;
        assert_eq!(failed.header("x-amz-function-error"), Some("Unhandled"));
        assert_eq!(failed.json()["errorType"], "java.lang.IllegalStateException");
        let (report, traces) = app.traces(&[id], Duration::from_secs(20)).await;
        assert_eq!((report.found, traces.len()), (1, 1));
    }
}

/// The thumbnail generator's own code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: java, moto"]
async fn moto_keeps_what_the_thumbnail_generator_uploads_and_its_sdk_sends_subsegments() {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(here("applications/thumbnail-generator"))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let application = folder.path().join("thumbnail-generator");
    let built = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "-DskipTests", "package", "--file"])
        .arg(application.join("functions/pom.xml"))
        .status()
        .unwrap();
    assert!(built.success());
    let app = App::with(application.join("template.yaml").to_str().unwrap(), |_| {}).await;
    let image = std::fs::read(application.join("data/sample.jpg")).unwrap();
    let url = format!("{}/v1/images/one.jpg", app.runtime.endpoint);
    let answer = app.send("PUT", &url, image, &[("content-type", "image/jpeg")]).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.header("x-amzn-trace-id").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    let (_, traces) = app.traces(&[id], Duration::from_secs(30)).await;
    let text = traces[0].to_string();
    assert!(text.contains("PutObject"), "the X-Ray SDK's own subsegment: {text}");
}
