//! Functions in Java: a virtual machine with AWS's own client of the Runtime API, which Maven fetches once.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sb_durable::Options;
use tokio::process::Command;
use zip::ZipArchive;

use super::LocalError;
use super::cache::{self, Kept};

/// Of `com.amazonaws:aws-lambda-java-runtime-interface-client`.
const VERSION: &str = "2.9.0";
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// The client's own native library, beside its jar.
const LIBRARY: &str = "libaws-lambda-jni.so";
/// Percent of the memory size that the heap may take; the rest is for the machine itself.
const HEAP: u64 = 85;

/// The folder with the client and what it needs, fetched from Maven Central where it is not there yet.
pub(super) async fn client() -> Result<PathBuf, LocalError> {
    let kept = Kept::named(&format!("java-client-{VERSION}"))?;
    let jar = kept.folder.join(format!("aws-lambda-java-runtime-interface-client-{VERSION}.jar"));
    let _lock = kept.lock().await?;
    if !jar.is_file() {
        let new = kept.begin()?;
        let made = fetch(&new).await;
        kept.replace(new, made)?;
        if !jar.is_file() {
            return Err(kept.unusable());
        }
    }
    unpack_library(&jar, &kept.folder).map_err(|error| {
        LocalError::Fetch(format!("the native library in `{}` cannot be unpacked: {error}", jar.display()))
    })?;
    Ok(kept.folder)
}

/// Left to itself, the client unpacks its library at every start to one place in `/tmp`, over the one that others have loaded: they crash.
fn unpack_library(jar: &Path, folder: &Path) -> io::Result<()> {
    let library = folder.join(LIBRARY);
    let machine = std::env::consts::ARCH;
    // Where there may be two C libraries, only the client can tell which one Java has.
    if library.is_file() || Path::new(&format!("/lib/ld-musl-{machine}.so.1")).exists() {
        return Ok(());
    }
    let machine = if machine == "aarch64" { "aarch_64" } else { machine };
    let mut jar = ZipArchive::new(sb_durable::open_regular(jar)?)?;
    let Ok(mut packed) = jar.by_name(&format!("jni/libaws-lambda-jni.linux-{machine}.so")) else {
        return Ok(());
    };
    sb_durable::write_with(&library, Options::new(), |out| io::copy(&mut packed, out).map(|_| ()))?;
    Ok(())
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
pub(super) fn command(function: &sb_sam::Function, code: &Path, client: &Path) -> Vec<OsString> {
    let mut classes = client.join("*").into_os_string();
    for part in if code.is_dir() { vec![code.to_owned(), code.join("lib/*")] } else { vec![code.to_owned()] }
    {
        classes.push(":");
        classes.push(part);
    }
    let mut command: Vec<OsString> = vec!["java".into()];
    let library = client.join(LIBRARY);
    if library.is_file() {
        let mut property =
            OsString::from("-Dcom.amazonaws.services.lambda.runtime.api.client.runtimeapi.NativeClient.JNI=");
        property.push(library);
        command.push(property);
    }
    command.extend([
        format!("-XX:MaxHeapSize={}m", function.memory_mib * HEAP / 100).into(),
        // As Lambda starts its own from Java 17 on.
        "-XX:+UseSerialGC".into(),
        "-XX:TieredStopAtLevel=1".into(),
        "-cp".into(),
        classes,
        "com.amazonaws.services.lambda.runtime.api.client.AWSLambda".into(),
        function.handler.clone().into(),
    ]);
    command
}
