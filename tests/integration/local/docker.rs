//! Functions of the local target in containers. Ignored, since they need an engine: `tests/run.sh` runs them where one answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sb_local::LocalError;
use sb_sam::Containers;
use serde_json::json;

use super::harness::{App, kill, sb, spec, wait_until};

/// An image that behaves like Lambda's: run with a handler, it asks the Runtime API for events and answers with what it knows.
const IMAGE: &str = "sb-test-lambda";
const CLIENT: &str = r#"#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while event=$(wget -q -S -O - "$api/next" 2> /tmp/headers); do
    id=$(sed -n 's/.*-request-id: *//Ip' /tmp/headers | tr -d '\r')
    case $event in
    *sleep*) sleep 30 ;;
    *leave*) exit 3 ;;
    esac
    touch "$LAMBDA_TASK_ROOT/written" 2> /dev/null && writable=true || writable=false
    answer="{\"handler\": \"$1\", \"event\": $event, \"word\": \"$WORD\", \"code\": \"$(cat note)\", \"user\": $(id -u), \"writable\": $writable}"
    wget -q -O /dev/null --post-data "$answer" "$api/$id/response"
done
"#;
const BOOTSTRAP: &str = "#!/bin/sh\nexec /client own\n";

/// A template with a function of a runtime that this machine need not have, and one with a `bootstrap` of its own.
fn application(folder: &Path) -> std::path::PathBuf {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    write("image/client", CLIENT);
    fs::copy("/bin/busybox", folder.join("image/busybox")).expect("/bin/busybox, of busybox-static");
    let recipe = write(
        "image/Dockerfile",
        "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
         RUN mkdir -m 1777 /tmp\nCOPY client /client\nENV PATH=/bin\nENTRYPOINT [\"/client\"]\n",
    );
    let mut build = Command::new("docker");
    let built =
        build.args(["build", "--quiet", "--tag", IMAGE]).arg(recipe.parent().unwrap()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    write("code/note", "from here");
    write("code/bootstrap", BOOTSTRAP);
    write(
        "template.yaml",
        "Globals: { Function: { CodeUri: code, Timeout: 20 } }\nResources:\n\
         \x20 Ruby:\n    Type: AWS::Serverless::Function\n    Properties:\n      Runtime: ruby3.4\n      Handler: some.handler\n\
         \x20     Environment: { Variables: { WORD: \"two words\" } }\n\
         \x20 Own: { Type: \"AWS::Serverless::Function\", Properties: { Runtime: provided.al2023, Timeout: 1 } }\n",
    )
}

fn containers_of(state_dir: &Path) -> usize {
    let label = format!("label=sb.local={}", state_dir.display());
    let listed =
        Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &label]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: docker"]
async fn functions_run_in_containers_that_end_with_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    let template = application(&folder_path);
    let images = ["ruby3.4", "provided.al2023"].map(|runtime| (runtime.to_owned(), IMAGE.to_owned()));
    let containers = Containers { images: images.into(), client: None };
    let app =
        App::with(template.to_str().unwrap(), |options| options.containers = Some(containers.clone())).await;
    let state_dir = app.state_dir().canonicalize().unwrap();

    let answer = app.invoke("app-Ruby", &json!({ "a": [1] }), &[]).await.json();
    let user = rustix::process::getuid().as_raw();
    let expected = json!({
        "handler": "some.handler", "event": { "a": [1] }, "word": "two words", "code": "from here",
        "user": user, "writable": false,
    });
    assert_eq!(answer, expected);
    // Warm: the same container.
    assert_eq!(app.invoke("app-Ruby", &json!(2), &[]).await.json()["event"], 2);
    assert_eq!(containers_of(&state_dir), 1);
    assert_eq!(app.invoke("app-Own", &json!(1), &[]).await.json()["handler"], "own");
    // A function that takes too long, and one that leaves: their containers go.
    let late = app.invoke("app-Own", &json!("sleep"), &[]).await.json();
    assert_eq!(late["errorType"], "Sandbox.Timedout");
    let left = app.invoke("app-Ruby", &json!("leave"), &[]).await.json();
    assert!(left["errorMessage"].as_str().unwrap().ends_with("exit status 3"), "{left}");
    wait_until("the containers to go", || containers_of(&state_dir) == 0).await;

    // A runtime that is killed leaves none behind once it is started again.
    app.invoke("app-Ruby", &json!("sleep"), &[("x-amz-invocation-type", "Event")]).await;
    wait_until("the function to run", || containers_of(&state_dir) == 1).await;
    kill(i64::from(app.runtime.pid));
    let mut again = spec(&template, &state_dir);
    again.options.containers = Some(containers);
    sb_local::up(again, None, sb()).await.unwrap();
    assert_eq!(containers_of(&state_dir), 0);
    let answer = app.invoke("app-Ruby", &json!(3), &[]).await;
    assert_eq!(answer.json()["event"], 3);

    // Nor one that is started again without containers.
    app.invoke("app-Ruby", &json!("sleep"), &[("x-amz-invocation-type", "Event")]).await;
    wait_until("the function to run", || containers_of(&state_dir) > 0).await;
    let second = sb_local::find(&state_dir).unwrap();
    kill(i64::from(second.pid));
    let other = super::harness::here("tests/integration/local/template.yaml");
    sb_local::up(spec(&other, &state_dir), None, sb()).await.unwrap();
    assert_eq!(containers_of(&state_dir), 0);
    sb_local::down(&state_dir).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: docker"]
async fn an_image_that_cannot_be_had_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let template = application(folder.path());
    let mut spec = spec(&template, &folder.path().join("state"));
    let images = [("ruby3.4".to_owned(), "127.0.0.1:1/nowhere:1".to_owned())];
    spec.options.containers = Some(Containers { images: images.into(), client: None });
    let error = tokio::time::timeout(Duration::from_mins(1), sb_local::up(spec, None, sb()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, LocalError::Fetch(_)), "{error}");
    for words in ["127.0.0.1:1/nowhere:1", "--image RUNTIME=IMAGE", "docker load"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}
