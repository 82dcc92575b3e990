//! Functions in Java: a virtual machine with AWS's own client of the Runtime API, which Maven fetches once.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::LocalError;
use super::cache::{self, Kept};
use crate::manifest::sam;

/// Of `com.amazonaws:aws-lambda-java-runtime-interface-client`.
const VERSION: &str = "2.9.0";
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// Percent of the memory size that the heap may take; the rest is for the machine itself.
const HEAP: u64 = 85;

/// The folder with the client and what it needs, fetched from Maven Central where it is not there yet.
pub(super) async fn client() -> Result<PathBuf, LocalError> {
    let kept = Kept::named(&format!("java-client-{VERSION}"))?;
    let jar = kept.folder.join(format!("aws-lambda-java-runtime-interface-client-{VERSION}.jar"));
    if !jar.is_file() {
        let new = kept.begin()?;
        let made = fetch(&new).await;
        kept.replace(new, made)?;
        if !jar.is_file() {
            return Err(kept.unusable());
        }
    }
    Ok(kept.folder)
}

async fn fetch(folder: &Path) -> Result<(), String> {
    let project = folder.join("pom.xml");
    fs::write(&project, project_file()).map_err(|error| format!("`{}`: {error}", project.display()))?;
    let mut target = OsString::from("-DoutputDirectory=");
    target.push(folder);
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "--file"]).arg(&project).arg(PLUGIN).arg(target);
    cache::run(&mut maven).await.map_err(|error| {
        format!(
            "functions in Java need AWS's client of the Runtime API, which could not be fetched from Maven Central: {error}; install Maven, which is needed once"
        )
    })
}

fn project_file() -> String {
    format!(
        r"<project xmlns='http://maven.apache.org/POM/4.0.0'>
  <modelVersion>4.0.0</modelVersion>
  <groupId>sb</groupId>
  <artifactId>java-client</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>com.amazonaws</groupId>
      <artifactId>aws-lambda-java-runtime-interface-client</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"
    )
}

/// Program and arguments of a function whose code is a jar, or a folder of classes with further jars in `lib`.
pub(super) fn command(function: &sam::Function, code: &Path, client: &Path) -> Vec<OsString> {
    let mut classes = client.join("*").into_os_string();
    for part in if code.is_dir() { vec![code.to_owned(), code.join("lib/*")] } else { vec![code.to_owned()] }
    {
        classes.push(":");
        classes.push(part);
    }
    vec![
        "java".into(),
        format!("-XX:MaxHeapSize={}m", function.memory_mib * HEAP / 100).into(),
        // As Lambda starts its own from Java 17 on.
        "-XX:+UseSerialGC".into(),
        "-XX:TieredStopAtLevel=1".into(),
        "-cp".into(),
        classes,
        "com.amazonaws.services.lambda.runtime.api.client.AWSLambda".into(),
        function.handler.clone().into(),
    ]
}
