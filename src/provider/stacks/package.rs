//! The code of a template: packed so that the same files give the same bytes, and uploaded under the digest of those.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Tag, Tagging};
use sb_durable::leads_out;
use sb_sam::Asset;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::assembly::StackFile;
use super::call::call;
use super::deploy::Wanted;
use super::events::Tell;
use super::{Aws, StackError};

/// What CloudFormation takes of a template within a request; a larger one must lie in a bucket.
const LARGEST_BODY: usize = 51_200;
/// The first bytes of a zip archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// A template that CloudFormation can read.
pub(super) enum Packaged {
    Body(String),
    /// It is too long for a request.
    Url(String),
}

/// A file that is to be uploaded.
struct Upload {
    file: PathBuf,
    key: String,
}

/// Packs and uploads what the template names, and gives the template with the places in the bucket. `scratch` is a folder for
/// archives until they are uploaded.
pub(super) async fn package(
    aws: &Aws,
    bucket: &str,
    wanted: &Wanted<'_>,
    tell: Tell<'_>,
) -> Result<Packaged, StackError> {
    let Wanted { tags, model, folder, root, scratch, .. } = wanted;
    let assets = model.assets().map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        StackError::other(format!("the template cannot be packaged: {}", all.join("; ")))
    })?;
    let mut uploads: BTreeMap<(String, bool), Upload> = BTreeMap::new();
    for asset in &assets {
        let named = (asset.path.clone(), asset.is_code);
        if uploads.contains_key(&named) {
            continue;
        }
        let (path, scratch, root) = (folder.join(&asset.path), scratch.to_path_buf(), root.to_path_buf());
        let (is_code, number) = (asset.is_code, uploads.len());
        let packed = tokio::task::spawn_blocking(move || pack(&path, is_code, &scratch, number, &root)).await;
        let packed = packed.map_err(io::Error::other).flatten().map_err(|error| {
            let whose = asset.resource.as_ref().map_or_else(String::new, |name| format!(" of `{name}`"));
            StackError::other(format!(
                "cannot pack {} `{}`{whose} (line {} of the template): {error}{}",
                asset.property,
                asset.path,
                asset.line,
                match error.kind() {
                    // It says itself what to do.
                    io::ErrorKind::Other => "",
                    _ => "; build it first, or correct the path",
                }
            ))
        })?;
        uploads.insert(named, packed);
    }
    let key = |asset: &Asset| {
        let found = uploads.get(&(asset.path.clone(), asset.is_code));
        found.map(|upload| upload.key.clone()).unwrap_or_default()
    };
    let mut more = Vec::new();
    for (number, file) in wanted.files.iter().enumerate() {
        more.push((file, pack_file(file, scratch, uploads.len() + number).await?));
    }
    let text = model.packaged(&assets, bucket, key);
    let is_long = text.len() > LARGEST_BODY;
    if uploads.is_empty() && more.is_empty() && !is_long {
        return Ok(Packaged::Body(text));
    }
    make_bucket(aws, bucket, tags).await?;
    for ((path, _), upload) in &uploads {
        put(aws, bucket, upload, path, tell).await?;
    }
    for (file, upload) in &more {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        put(aws, bucket, upload, &name, tell).await?;
        if upload.file != file.path {
            let _ = fs::remove_file(&upload.file);
        }
    }
    // Archives are large, and the bucket has them.
    for upload in uploads.values().filter(|upload| upload.file.starts_with(scratch)) {
        let _ = fs::remove_file(&upload.file);
    }
    if !is_long {
        return Ok(Packaged::Body(text));
    }
    let file = scratch.join("packaged.template");
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    fs::write(&file, &text)
        .map_err(|error| StackError::other(format!("cannot write `{}`: {error}", file.display())))?;
    let upload = Upload { file, key: format!("{digest}.template") };
    put(aws, bucket, &upload, "the template", tell).await?;
    let host = super::given_endpoint(&aws.config, "S3").map_or_else(
        || format!("https://s3.{}.amazonaws.com", aws.region),
        |given| given.trim_end_matches('/').to_owned(),
    );
    Ok(Packaged::Url(format!("{host}/{bucket}/{}", upload.key)))
}

/// A file of an assembly under its own name; a folder becomes an archive.
async fn pack_file(file: &StackFile, scratch: &Path, number: usize) -> Result<Upload, StackError> {
    if !file.is_folder {
        return Ok(Upload { file: file.path.clone(), key: file.key.clone() });
    }
    let (path, to) = (file.path.clone(), scratch.join(format!("code-{number}.zip")));
    let archive = to.clone();
    // Links that leave the folder were followed when it was copied there.
    let packed = tokio::task::spawn_blocking(move || write_zip(&path, &archive, &path)).await;
    packed
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| StackError::other(format!("cannot pack `{}`: {error}", file.path.display())))?;
    Ok(Upload { file: to, key: file.key.clone() })
}

/// A bucket of the deployment's own, with its tags. It may be there already.
async fn make_bucket(aws: &Aws, bucket: &str, tags: &[(String, String)]) -> Result<(), StackError> {
    let place = (aws.region != "us-east-1").then(|| {
        let region = BucketLocationConstraint::from(aws.region.as_str());
        CreateBucketConfiguration::builder().location_constraint(region).build()
    });
    let made =
        call(|| aws.s3.create_bucket().bucket(bucket).set_create_bucket_configuration(place.clone()).send())
            .await;
    if let Err(refused) = made
        && refused.code != "BucketAlreadyOwnedByYou"
    {
        return Err(StackError::refused(
            &format!("cannot make the bucket `{bucket}` for the code"),
            &refused,
        ));
    }
    let mut set = Tagging::builder();
    for (key, value) in tags {
        let tag = Tag::builder().key(key).value(value).build();
        set = set.tag_set(tag.map_err(|error| StackError::other(error.to_string()))?);
    }
    let set = set.build().map_err(|error| StackError::other(error.to_string()))?;
    call(|| aws.s3.put_bucket_tagging().bucket(bucket).tagging(set.clone()).send())
        .await
        .map(|_| ())
        .map_err(|refused| StackError::refused(&format!("cannot tag the bucket `{bucket}`"), &refused))
}

async fn put(aws: &Aws, bucket: &str, upload: &Upload, path: &str, tell: Tell<'_>) -> Result<(), StackError> {
    let key = &upload.key;
    // The key tells the content.
    if call(|| aws.s3.head_object().bucket(bucket).key(key).send()).await.is_ok() {
        return Ok(());
    }
    let bytes = fs::metadata(&upload.file).map(|found| found.len()).unwrap_or_default();
    tell(&format!("uploads {path} ({bytes} bytes)"));
    let file = &upload.file;
    let sent = call(|| async {
        let body = ByteStream::from_path(file)
            .await
            .map_err(aws_sdk_s3::error::SdkError::<aws_sdk_s3::operation::put_object::PutObjectError>::construction_failure)?;
        aws.s3.put_object().bucket(bucket).key(key).body(body).send().await
    })
    .await;
    sent.map(|_| ())
        .map_err(|refused| StackError::refused(&format!("cannot upload {path} to `{bucket}`"), &refused))
}

/// What is uploaded of a path: an archive of a folder, an archive as it is, and a document as it is.
fn pack(path: &Path, is_code: bool, scratch: &Path, number: usize, root: &Path) -> io::Result<Upload> {
    if let Some(error) = leads_out(root, path) {
        return Err(error);
    }
    let found = fs::metadata(path)?;
    if found.is_file() && (!is_code || is_zip(path)?) {
        let ending = path.extension().map(|it| format!(".{}", it.to_string_lossy())).unwrap_or_default();
        return Ok(Upload { key: format!("{}{ending}", digest(path)?), file: path.to_owned() });
    }
    if found.is_dir() && !is_code {
        return Err(io::Error::other("a document is needed, and this is a folder; correct the path"));
    }
    let file = scratch.join(format!("code-{number}.zip"));
    write_zip(path, &file, root)?;
    Ok(Upload { key: format!("{}.zip", digest(&file)?), file })
}

fn is_zip(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(path)?.take(ZIP_MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok(first == ZIP_MAGIC)
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

/// Files in the order of their names, with one time and without owners: the same content gives the same bytes on every
/// machine. Links are followed, as Lambda has no place that they could lead to, but not out of the root.
fn write_zip(path: &Path, to: &Path, root: &Path) -> io::Result<()> {
    let mut files = BTreeMap::new();
    if path.is_dir() {
        collect(path, "", &mut files, &mut Vec::new(), root)?;
    } else {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, path.to_owned());
    }
    if files.is_empty() {
        return Err(io::Error::other("the folder is empty; build it first, or correct the path"));
    }
    let mut zip = ZipWriter::new(BufWriter::new(File::create(to)?));
    for (name, file) in files {
        let is_program = fs::metadata(&file)?.permissions().mode() & 0o100 != 0;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(if is_program { 0o755 } else { 0o644 });
        zip.start_file(name, options).map_err(io::Error::other)?;
        io::copy(&mut File::open(&file)?, &mut zip)?;
    }
    zip.finish().map_err(io::Error::other)?.flush()
}

/// What is no part of a program, though it lies in its folder: states with their secrets, wherever `--state-dir` put
/// them, results of loads, histories, and what Python compiles anew.
fn is_left_out(folder: &Path, name: &str) -> bool {
    let path = folder.join(name);
    match name {
        ".sb" | ".git" | ".hg" | ".svn" | "__pycache__" => true,
        "logs" => {
            ["toml", "yaml", "yml"].iter().any(|end| folder.join("benchmark").with_extension(end).exists())
        }
        _ => path.join("state.db").is_file() && path.join("identity.json").is_file(),
    }
}

/// Why a link is not followed, and what to do. Most often it is the interpreter of a virtual environment, of which Lambda has no
/// use.
fn led_out(link: &Path, error: &io::Error, within: &[PathBuf]) -> io::Error {
    let shown = link.display();
    let to = fs::read_link(link).map(|to| format!(" to `{}`", to.display())).unwrap_or_default();
    let environment = within.iter().find(|folder| folder.join("pyvenv.cfg").is_file());
    let way_out = match environment {
        Some(folder) => format!(
            "it belongs to the virtual environment `{}`, which Lambda cannot use: move that out of the folder, or let `CodeUri` \
             name a folder of the code alone, and put packages there with `pip install --target`",
            folder.display()
        ),
        None => format!(
            "put a copy in its place, with `cp --remove-destination \"$(readlink -f '{shown}')\" '{shown}'`, or let `CodeUri` name a \
             folder without it"
        ),
    };
    io::Error::other(format!("`{shown}` is a link{to}, and {error}: {way_out}"))
}

/// Files beneath a folder, by their names within it. `within` holds the folders that are being read.
fn collect(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, PathBuf>,
    within: &mut Vec<PathBuf>,
    root: &Path,
) -> io::Result<()> {
    let real = fs::canonicalize(folder)?;
    if within.contains(&real) {
        return Err(io::Error::other(format!(
            "the link `{}` leads to a folder that holds it",
            folder.display()
        )));
    }
    within.push(real);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(io::Error::other(format!("the name of `{}` is no UTF-8", entry.path().display())));
        };
        if is_left_out(folder, &name) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        if entry.file_type()?.is_symlink()
            && let Some(error) = leads_out(root, &path)
        {
            return Err(led_out(&path, &error, within));
        }
        let found = fs::metadata(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
        if found.is_dir() {
            collect(&path, &format!("{name}/"), files, within, root)?;
        } else if found.is_file() {
            files.insert(name, path);
        }
    }
    within.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_archive_whatever_their_times_and_places() {
        let work = tempfile::tempdir().unwrap();
        let archive = |name: &str, order: [&str; 3]| {
            let folder = work.path().join(name);
            fs::create_dir_all(folder.join("lib")).unwrap();
            for file in order {
                fs::write(folder.join(file), format!("content of {file}")).unwrap();
            }
            fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
            let times = fs::FileTimes::new().set_modified(
                std::time::SystemTime::now() - std::time::Duration::from_secs(order[0].len() as u64 * 9999),
            );
            File::options().append(true).open(folder.join("a.py")).unwrap().set_times(times).unwrap();
            pack(&folder, true, work.path(), name.len(), work.path()).unwrap()
        };
        let one = archive("one", ["a.py", "lib/b.py", "run.sh"]);
        let other = archive("other", ["run.sh", "lib/b.py", "a.py"]);
        assert_eq!(one.key, other.key);
        let mut zip = zip::ZipArchive::new(File::open(one.file).unwrap()).unwrap();
        let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["a.py", "lib/b.py", "run.sh"]);
        assert_eq!(zip.by_name("run.sh").unwrap().unix_mode().unwrap() & 0o777, 0o755);
        assert_eq!(zip.by_name("a.py").unwrap().unix_mode().unwrap() & 0o777, 0o644);
        fs::write(work.path().join("one/a.py"), "changed").unwrap();
        assert_ne!(pack(&work.path().join("one"), true, work.path(), 1, work.path()).unwrap().key, other.key);
        // An archive is taken as it is.
        let again = pack(&other.file, true, work.path(), 2, work.path()).unwrap();
        assert_eq!((again.key, again.file), (other.key, other.file));
    }

    #[test]
    fn links_are_packed_that_stay_below_the_root_and_no_others() {
        let work = tempfile::tempdir().unwrap();
        let (root, outside) = (work.path().join("root"), work.path().join("outside"));
        for (folder, file) in
            [(root.join("src"), "app.py"), (root.join("lib"), "b.py"), (outside.clone(), "secret")]
        {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), file).unwrap();
        }
        let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        link(&root.join("lib"), "src/lib");
        let packed = super::pack(&root.join("src"), true, work.path(), 0, &root).unwrap();
        let zip = zip::ZipArchive::new(File::open(packed.file).unwrap()).unwrap();
        let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["app.py", "lib/b.py"]);
        link(&outside.join("secret"), "src/taken");
        link(&outside, "other");
        for name in ["src", "other"] {
            let refused =
                super::pack(&root.join(name), true, work.path(), 1, &root).err().unwrap().to_string();
            assert!(refused.contains("it leads out of the root"), "{refused}");
        }
        let refused = super::pack(&root.join("src"), true, work.path(), 1, &root).err().unwrap().to_string();
        assert!(refused.contains("src/taken` is a link to `") && refused.contains("put a copy"), "{refused}");
        // The command in it does what it says.
        let (_, command) = refused.split_once("with `").unwrap();
        let (command, _) = command.split_once("`, or").unwrap();
        let done = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(done.success(), "{command}");
        assert!(super::pack(&root.join("src"), true, work.path(), 2, &root).is_ok());
    }

    #[test]
    fn a_virtual_environment_is_named_with_a_way_out() {
        let work = tempfile::tempdir().unwrap();
        let venv = work.path().join("src/venv");
        fs::create_dir_all(venv.join("bin")).unwrap();
        fs::write(venv.join("pyvenv.cfg"), "home = /usr/bin\n").unwrap();
        std::os::unix::fs::symlink("/bin/sh", venv.join("bin/python3")).unwrap();
        let refused =
            pack(&work.path().join("src"), true, work.path(), 0, work.path()).err().unwrap().to_string();
        assert!(refused.contains("venv/bin/python3` is a link to `/bin/sh`"), "{refused}");
        assert!(
            refused.contains("src/venv`, which Lambda cannot use") && refused.contains("--target"),
            "{refused}"
        );
    }

    #[test]
    fn states_histories_and_results_are_not_packed() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("app");
        for file in [
            "app.py",
            "lib/logs/format.py",
            "benchmark.toml",
            ".sb/secrets/app@aws.json",
            ".git/HEAD",
            "elsewhere/state.db",
            "elsewhere/identity.json",
            "logs/2026-01-01_00-00-00/load_summary.json",
            "__pycache__/app.pyc",
        ] {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let packed = pack(&folder, true, work.path(), 0, work.path()).unwrap();
        let zip = zip::ZipArchive::new(File::open(packed.file).unwrap()).unwrap();
        let mut names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["app.py", "benchmark.toml", "lib/logs/format.py"]);
    }

    #[test]
    fn what_cannot_be_packed_says_why() {
        let work = tempfile::tempdir().unwrap();
        let said = |path: &Path, is_code| {
            pack(path, is_code, work.path(), 0, work.path()).err().unwrap().to_string()
        };
        let empty = work.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(said(&empty, true).starts_with("the folder is empty; build it first"));
        assert!(said(&empty, false).starts_with("a document is needed, and this is a folder"));
        std::os::unix::fs::symlink(&empty, empty.join("self")).unwrap();
        assert!(said(&empty, true).contains("leads to a folder that holds it"));
        assert!(said(&work.path().join("none"), true).contains("No such file"));
    }
}
