//! What the CDK's synthesis leaves: a folder with templates and with the files that they name ("Cloud assembly schema" of the CDK).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::StackError;

/// The parameter and the rule by which a stack asks for the CDK's own bucket in the account. Its files go elsewhere here.
const BOOTSTRAP: [(&str, &str); 2] = [("Parameters", "BootstrapVersion"), ("Rules", "CheckBootstrapVersion")];

/// A stack of an assembly, with the places of its files in a bucket of ours.
#[derive(Debug)]
pub(crate) struct Synthesized {
    /// As the CDK calls it.
    pub name: String,
    /// The template, as JSON.
    pub template: String,
    pub files: Vec<StackFile>,
}

/// A file or a folder that a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackFile {
    pub path: PathBuf,
    /// A folder becomes an archive.
    pub is_folder: bool,
    /// Its name in the bucket, by the digest of its content.
    pub key: String,
}

/// Reads the stack of this name, or the only one. Its files are to lie in `bucket`.
///
/// # Errors
/// The folder cannot be read; the stack is not there, or not the only one; or it has images of containers.
pub(crate) fn read(folder: &Path, wanted: Option<&str>, bucket: &str) -> Result<Synthesized, StackError> {
    let manifest = json(&folder.join("manifest.json"))?;
    let empty = Map::new();
    let artifacts = manifest["artifacts"].as_object().unwrap_or(&empty);
    let stacks: Vec<(&String, &Value)> =
        artifacts.iter().filter(|(_, it)| it["type"] == "aws:cloudformation:stack").collect();
    let names = || stacks.iter().map(|(id, _)| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let is_called = |id: &str, stack: &Value, name: &str| {
        id == name || stack["displayName"] == name || stack["properties"]["stackName"] == name
    };
    let (id, stack) = match wanted {
        Some(name) => stacks.iter().find(|(id, it)| is_called(id, it, name)).ok_or_else(|| {
            StackError::other(format!("the CDK application has no stack `{name}`; it has {}", names()))
        })?,
        None => match stacks.as_slice() {
            [only] => only,
            [] => return Err(StackError::other("the CDK application has no stack")),
            _ => {
                let message =
                    format!("the CDK application has several stacks: say which by `stack`: {}", names());
                return Err(StackError::other(message));
            }
        },
    };
    let file = stack["properties"]["templateFile"].as_str().unwrap_or_default();
    let mut template = json(&folder.join(file))?;
    if !template.is_object() {
        return Err(StackError::other(format!("the template `{file}` of the CDK's synthesis is no object")));
    }
    // The manifests of the files on which the stack depends, in the order of their names.
    let needed = stack["dependencies"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let manifests = needed
        .filter_map(|name| artifacts.get(name))
        .filter(|it| it["type"] == "cdk:asset-manifest")
        .filter_map(|it| it["properties"]["file"].as_str());
    let (mut files, mut buckets) = (BTreeMap::new(), Vec::new());
    for manifest in manifests {
        let assets = json(&folder.join(manifest))?;
        if let Some((_, image)) = assets["dockerImages"].as_object().and_then(|images| images.iter().next()) {
            let source = image["source"]["directory"].as_str().unwrap_or("an image");
            return Err(StackError::other(format!(
                "the stack `{id}` has an image of a container ({source}), and `sb` uploads none: deploy it by a `run` step"
            )));
        }
        for asset in assets["files"].as_object().into_iter().flat_map(Map::values) {
            let Some(path) = asset["source"]["path"].as_str() else { continue };
            let is_folder = asset["source"]["packaging"] == "zip";
            for place in asset["destinations"].as_object().into_iter().flat_map(Map::values) {
                let (Some(of), Some(key)) = (place["bucketName"].as_str(), place["objectKey"].as_str())
                else {
                    continue;
                };
                if !buckets.contains(&of.to_owned()) {
                    buckets.push(of.to_owned());
                }
                if path != file {
                    let entry = StackFile { path: folder.join(path), is_folder, key: key.to_owned() };
                    files.insert(key.to_owned(), entry);
                }
            }
        }
    }
    for (section, name) in BOOTSTRAP {
        remove(&mut template, section, name);
    }
    let_go(&mut template);
    for other in &buckets {
        moved(&mut template, other, bucket);
    }
    let text =
        serde_json::to_string_pretty(&template).map_err(|error| StackError::other(error.to_string()))?;
    Ok(Synthesized { name: (*id).clone(), template: text, files: files.into_values().collect() })
}

fn json(file: &Path) -> Result<Value, StackError> {
    let cannot = |error: &dyn std::fmt::Display| {
        StackError::other(format!(
            "cannot read `{}`, which the CDK's synthesis should have written: {error}",
            file.display()
        ))
    };
    let bytes = fs::read(file).map_err(|error| cannot(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| cannot(&error))
}

fn remove(template: &mut Value, section: &str, name: &str) {
    let Some(top) = template.as_object_mut() else { return };
    let is_empty = top.get_mut(section).and_then(Value::as_object_mut).is_some_and(|entries| {
        entries.remove(name);
        entries.is_empty()
    });
    if is_empty {
        top.remove(section);
    }
}

/// The CDK keeps buckets and tables by default when their stack is deleted. Of a deployment, nothing may stay.
fn let_go(template: &mut Value) {
    let resources = template["Resources"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for resource in resources.filter_map(Value::as_object_mut) {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            if let Some(Value::String(kept)) = resource.get_mut(policy)
                && kept.starts_with("Retain")
            {
                "Delete".clone_into(kept);
            }
        }
    }
}

/// Writes the name of our bucket where the CDK's own stood. `Fn::Sub` of a text without variables is that text.
fn moved(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text.contains(from) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, from, to)),
        Value::Object(entries) => {
            entries.values_mut().for_each(|entry| moved(entry, from, to));
            let plain = match entries.get("Fn::Sub") {
                Some(Value::String(text)) if entries.len() == 1 && text == to => Some(text.clone()),
                _ => None,
            };
            if let Some(text) = plain {
                *value = Value::String(text);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OF_CDK: &str = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}";

    fn write(folder: &Path, name: &str, value: &Value) {
        fs::write(folder.join(name), value.to_string()).unwrap();
    }

    fn assembly(names: &[&str]) -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        let mut artifacts = Map::new();
        for name in names {
            artifacts.insert(
                (*name).to_owned(),
                json!({ "type": "aws:cloudformation:stack", "displayName": format!("App/{name}"), "dependencies": [format!("{name}.assets")],
                        "properties": { "templateFile": format!("{name}.template.json") } }),
            );
            artifacts.insert(
                format!("{name}.assets"),
                json!({ "type": "cdk:asset-manifest", "properties": { "file": format!("{name}.assets.json") } }),
            );
            write(
                work.path(),
                &format!("{name}.assets.json"),
                &json!({ "dockerImages": {}, "files": {
                    "1": { "source": { "path": "asset.1", "packaging": "zip" }, "destinations": { "here": { "bucketName": OF_CDK, "objectKey": "1.zip" } } },
                    "2": { "source": { "path": format!("{name}.template.json"), "packaging": "file" }, "destinations": { "here": { "bucketName": OF_CDK, "objectKey": "2.json" } } },
                } }),
            );
            write(
                work.path(),
                &format!("{name}.template.json"),
                &json!({
                    "Parameters": { "BootstrapVersion": { "Type": "String" } },
                    "Rules": { "CheckBootstrapVersion": {} },
                    "Resources": { "F": { "Type": "AWS::Lambda::Function", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Snapshot", "Properties": {
                        "Code": { "S3Bucket": { "Fn::Sub": OF_CDK }, "S3Key": "1.zip" },
                        "Other": { "Fn::Sub": format!("arn:${{AWS::Partition}}:s3:::{OF_CDK}/*") },
                    } } },
                }),
            );
        }
        write(work.path(), "manifest.json", &json!({ "version": "1", "artifacts": artifacts }));
        work
    }

    #[test]
    fn the_files_of_a_stack_move_to_another_bucket() {
        let work = assembly(&["Shop"]);
        for wanted in [None, Some("Shop"), Some("App/Shop")] {
            let found = read(work.path(), wanted, "ours").unwrap();
            assert_eq!(found.name, "Shop");
            let file =
                StackFile { path: work.path().join("asset.1"), is_folder: true, key: "1.zip".to_owned() };
            assert_eq!(found.files, [file]);
            let template: Value = serde_json::from_str(&found.template).unwrap();
            assert_eq!(template.as_object().unwrap().keys().collect::<Vec<_>>(), ["Resources"]);
            let function = &template["Resources"]["F"];
            assert_eq!(
                (&function["DeletionPolicy"], &function["UpdateReplacePolicy"]),
                (&json!("Delete"), &json!("Snapshot"))
            );
            let properties = &function["Properties"];
            assert_eq!(properties["Code"], json!({ "S3Bucket": "ours", "S3Key": "1.zip" }));
            assert_eq!(properties["Other"], json!({ "Fn::Sub": "arn:${AWS::Partition}:s3:::ours/*" }));
        }
    }

    #[test]
    fn a_stack_that_cannot_be_chosen_is_refused_with_the_names_that_there_are() {
        let said = |names: &[&str], wanted: Option<&str>| {
            read(assembly(names).path(), wanted, "ours").unwrap_err().message
        };
        assert!(said(&["A", "B"], None).contains("several stacks: say which by `stack`: `A`, `B`"));
        assert!(said(&["A"], Some("C")).contains("has no stack `C`; it has `A`"));
        assert!(said(&[], None).contains("has no stack"));
        let none = tempfile::tempdir().unwrap();
        assert!(read(none.path(), None, "x").unwrap_err().message.contains("manifest.json"));
    }

    #[test]
    fn an_image_of_a_container_is_refused() {
        let work = assembly(&["A"]);
        let images =
            json!({ "files": {}, "dockerImages": { "1": { "source": { "directory": "asset.9" } } } });
        write(work.path(), "A.assets.json", &images);
        let said = read(work.path(), None, "ours").unwrap_err().message;
        assert!(said.contains("has an image of a container (asset.9)"), "{said}");
    }
}
