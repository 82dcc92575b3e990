//! A Bicep template with a stand-in for `az`, which keeps an account as files.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::workspace::{Ran, Workspace};

/// Groups are files with their tags, in `groups`. `log` has what was asked for, `leftover` what is outside of the group,
/// and `refuse` a command that fails.
const AZ: &str = r#"#!/bin/sh
set -eu
cd "$ACCOUNT"
echo "$*" >> log
option() { wanted=$1; shift; while [ "$1" != "$wanted" ]; do shift; done; echo "$2"; }
case "$*" in "$(cat refuse)"*) echo "ERROR: refused" >&2; exit 1 ;; esac
case "$1 $2" in
"group exists") if [ -e "groups/$(option --name "$@")" ]; then echo true; else echo false; fi ;;
"group show") cat "groups/$(option --name "$@")" ;;
"group create") option --tags "$@" | sed -n 's/^sb-deployment=//p' > "groups/$(option --name "$@")" ;;
"group delete") rm "groups/$(option --name "$@")" ;;
"group list") grep -lx "$(option --tag "$@" | sed 's/^sb-deployment=//')" groups/* || true ;;
"resource list") cat leftover ;;
"deployment group")
    [ -e "groups/$(option --resource-group "$@")" ]
    echo '{"endpoint": {"type": "String", "value": "https://shop.example"}, "size": {"type": "Int", "value": 3}}'
    ;;
*) echo "ERROR: az $*" >&2; exit 1 ;;
esac
"#;

const MANIFEST: &str = r#"
[benchmark]
name = "shop"

[params]
max_side = 160
title = "it's $HOME"
deploy_id = { random_hex = 10 }

[targets.azure]
credentials = ["azure"]

[[deploy]]
name = "stack"
bicep = { template = "main.bicep", group = "sb-shop-{{params.deploy_id}}", location = "eastus" }

[[deploy]]
name = "look"
run = "echo {{outputs.endpoint}} {{outputs.size}} > seen"

[[cleanup]]
name = "stack"
bicep = { down = true }
retry = { attempts = 1 }
"#;

const TEMPLATE: &str = "param deployId string\nparam maxSide int\nparam title string = 'none'\nparam place string = resourceGroup().location\n\
                        output endpoint string = 'x'\noutput size int = maxSide\n";

struct Desk(Workspace);

impl Desk {
    fn new() -> Self {
        let work = Workspace::new();
        let tool = work.write("bin/az", AZ);
        std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        for file in ["account/log", "account/leftover"] {
            work.write(file, "");
        }
        work.write("account/refuse", "nothing");
        std::fs::create_dir_all(work.path().join("account/groups")).unwrap();
        work.write("main.bicep", TEMPLATE);
        work.write("benchmark.toml", MANIFEST);
        Self(work)
    }

    fn sb(&self, arguments: &[&str]) -> Ran {
        let path = std::env::var("PATH").unwrap();
        let mut command = self.0.command(arguments);
        command
            .env("PATH", format!("{}:{path}", self.0.path().join("bin").display()))
            .env("ACCOUNT", self.0.path().join("account"))
            .env("HOME", self.0.path())
            .env("SB_EXECUTOR", "host");
        Ran::of(command.output().unwrap())
    }

    fn groups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path().join("account/groups")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn log(&self) -> String {
        self.0.read("account/log")
    }
}

#[test]
fn a_bicep_template_is_deployed_into_a_group_of_its_own_and_removed_with_it() {
    let desk = Desk::new();
    let prepared = desk.sb(&["prepare", "--format", "json"]).expect(0);
    let prepared: Value = serde_json::from_str(&prepared.stdout).unwrap();
    assert_eq!(prepared["outputs"], json!({ "endpoint": "https://shop.example", "size": 3 }), "{prepared:#}");
    assert_eq!(desk.0.read("seen"), "https://shop.example 3\n");
    let [group] = desk.groups().try_into().unwrap();
    let id = group.strip_prefix("sb-shop-").unwrap();
    let log = desk.log();
    let expected = format!("--parameters deployId={id} maxSide=160 title=it's $HOME\n");
    assert!(log.contains("--template-file main.bicep") && log.contains(&expected), "{log}");
    assert!(
        log.contains(&format!(
            "--location eastus --output none --tags sb-deployment={group} sb-benchmark=shop sb-run="
        )),
        "{log}"
    );

    // Again: the group is there already.
    desk.sb(&["prepare"]).expect(0);
    assert_eq!(desk.log().matches("group create --name").count(), 1, "{}", desk.log());

    // Something outside of the group has its tag.
    desk.0.write("account/leftover", "/subscriptions/0/left\n");
    let left = desk.sb(&["cleanup"]);
    assert_ne!(left.code, 0);
    assert!(left.stderr.contains("still there: /subscriptions/0/left"), "{}", left.stderr);
    assert_eq!(desk.groups(), Vec::<String>::new());
    desk.0.write("account/leftover", "");
    desk.sb(&["cleanup"]).expect(0);
}

#[test]
fn a_deployment_that_azure_refuses_is_removed_and_a_group_of_another_is_not() {
    let desk = Desk::new();
    for refused in ["group exists", "group create", "deployment group create"] {
        desk.0.write("account/refuse", refused);
        let failed = desk.sb(&["prepare"]);
        assert_ne!(failed.code, 0, "{refused}");
        assert!(failed.stderr.contains("ERROR: refused"), "{refused}: {}", failed.stderr);
        desk.0.write("account/refuse", "nothing");
        desk.sb(&["cleanup"]).expect(0);
        assert_eq!(desk.groups(), Vec::<String>::new(), "{refused}");
    }
    desk.sb(&["prepare"]).expect(0);
    let [group] = desk.groups().try_into().unwrap();
    desk.0.write(&format!("account/groups/{group}"), "somebody-else\n");
    for command in ["prepare", "cleanup"] {
        let refused = desk.sb(&[command]);
        assert_ne!(refused.code, 0, "{command}");
        assert!(refused.stderr.contains("is left alone"), "{command}: {}", refused.stderr);
    }
    assert_eq!(desk.groups(), [group]);
}
