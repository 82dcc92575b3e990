"""The command `az` as the manifests' steps use it: the arguments are read by Azure's own parser, the answers are made up.

The account is a file, AZ_STAND_IN/account.json; commands are noted in AZ_STAND_IN/log. AZ_STAND_IN_REFUSE names a command that
is refused; a deployment that is refused has made half of its resources before.
"""

import json
import os
import re
import sys
import zipfile
from pathlib import Path

import jmespath
from azure.cli.core import get_default_cli

import bicep

HOME = Path(os.environ["AZ_STAND_IN"])
ACCOUNT = HOME / "account.json"


class Failed(Exception):
    """What Azure would answer instead."""


def parsed(words):
    """The command and its arguments; ends with az's own message where they are wrong."""
    cli = get_default_cli()
    invocation = cli.invocation_cls(
        cli_ctx=cli, parser_cls=cli.parser_cls, commands_loader_cls=cli.commands_loader_cls, help_cls=cli.help_cls
    )
    cli.invocation = invocation
    loader = invocation.commands_loader
    loader.load_command_table(words)
    command = invocation._rudimentary_get_command(words)
    if command not in loader.command_table:
        raise Failed(f"there is no command `az {command}`")
    loader.command_name = command
    loader.command_table = {command: loader.command_table[command]}
    invocation.data["command_string"] = command
    loader.load_arguments(command)
    invocation.parser.cli_ctx = cli
    invocation.parser.load_command_table(loader)
    return command, invocation.parser.parse_args(words)


def pairs(words):
    """`a=b` words as a table; az has split those of some arguments already."""
    words = words if isinstance(words, list) else [words]
    words = [part for word in words for part in (word if isinstance(word, list) else [word])]
    if all(isinstance(word, dict) for word in words):
        return {name: value for word in words for name, value in word.items()}
    if bad := [word for word in words if not isinstance(word, str) or "=" not in word]:
        raise Failed(f"not NAME=VALUE: {bad}")
    return dict(word.split("=", 1) for word in words)


class Account:
    def __init__(self):
        empty = {"groups": {}, "resources": {}, "code": {}, "entities": []}
        self.kept = json.loads(ACCOUNT.read_text()) if ACCOUNT.exists() else empty

    def keep(self):
        ACCOUNT.write_text(json.dumps(self.kept, indent=1))

    def group(self, name):
        if name not in self.kept["groups"]:
            raise Failed(f"(ResourceGroupNotFound) Resource group '{name}' could not be found.")

    def resource(self, group, type, name):
        self.group(group)
        id = f"/subscriptions/0/resourceGroups/{group}/providers/{type}/{name}"
        if id not in self.kept["resources"]:
            raise Failed(f"(ResourceNotFound) The Resource '{type}/{name}' under resource group '{group}' was not found.")
        return id

    def group_create(self, given, refused):
        self.kept["groups"][group_of(given)] = {"location": given.location, "tags": pairs(given.tags)}

    def group_show(self, given, refused):
        self.group(group_of(given))
        return {"name": group_of(given)} | self.kept["groups"][group_of(given)]

    def group_exists(self, given, refused):
        return group_of(given) in self.kept["groups"]

    def group_delete(self, given, refused):
        self.group(group_of(given))
        del self.kept["groups"][group_of(given)]
        inside = f"/resourceGroups/{group_of(given)}/"
        self.kept["resources"] = {id: tags for id, tags in self.kept["resources"].items() if inside not in id}

    def group_list(self, given, refused):
        return [{"id": f"/subscriptions/0/resourceGroups/{name}", "name": name}
                for name, group in self.kept["groups"].items() if has(group["tags"], given.tag)]

    def resource_list(self, given, refused):
        return [{"id": id} for id, tags in self.kept["resources"].items() if has(tags, given.tag)]

    def deployment_group_create(self, given, refused):
        self.group(group_of(given))
        template = bicep.Template(Path(given.template_file))
        values = pairs(given.parameters)
        try:
            made = template.resources(values, self.kept["groups"][group_of(given)]["tags"])
        except bicep.Wrong as error:
            raise Failed(f"(InvalidTemplate) {error}") from error
        for type, name, tags in made[: len(made) // 2] if refused else made:
            id = f"/subscriptions/0/resourceGroups/{group_of(given)}/providers/{type}/{name}"
            self.kept["resources"][id] = tags
        answers = {"endpoint": os.environ["AZ_STAND_IN_ENDPOINT"]}
        outputs = {name: {"type": "String", "value": answers.get(name, f"the {name}")} for name in template.outputs}
        return {"properties": {"provisioningState": "Succeeded", "outputs": outputs}}

    def functionapp_deployment_source_config_zip(self, given, refused):
        site = self.resource(group_of(given), "Microsoft.Web/sites", given.name)
        with zipfile.ZipFile(given.src) as archive:
            names = archive.namelist()
        if "host.json" not in names:
            raise Failed(f"{given.src} has no host.json at its top")
        self.kept["code"][site] = [found[1] for name in names if (found := re.fullmatch(r"([^/]+)/function\.json", name))]

    def functionapp_function_list(self, given, refused):
        site = self.resource(group_of(given), "Microsoft.Web/sites", given.name)
        return [{"name": f"{given.name}/{name}"} for name in self.kept["code"].get(site, [])]

    def storage_account_keys_list(self, given, refused):
        self.resource(group_of(given), "Microsoft.Storage/storageAccounts", given.account_name)
        return [{"keyName": "key1", "value": "c3RhbmQtaW4="}, {"keyName": "key2", "value": "b3RoZXI="}]

    def storage_entity_insert(self, given, refused):
        if os.environ.get("AZURE_STORAGE_KEY") != "c3RhbmQtaW4=":
            raise Failed("AuthenticationFailed")
        table = f"/{given.account_name}/default/{given.table_name}"
        if not any(id.endswith(table) for id in self.kept["resources"]):
            raise Failed("TableNotFound")
        entity = pairs(given.entity)
        if not {"PartitionKey", "RowKey"} <= set(entity):
            raise Failed("PropertiesNeedValue")
        self.kept["entities"].append(entity)


def group_of(given):
    """Commands call it by different names within."""
    return getattr(given, "rg_name", None) or given.resource_group_name


def has(tags, wanted):
    [(name, value)] = pairs(wanted).items()
    return tags.get(name) == value


def told(answer, words):
    """As `--query` and `--output` ask for it."""
    options = dict(zip(words, words[1:]))
    if "--query" in options:
        answer = jmespath.search(options["--query"], answer)
    form = options.get("--output", "json")
    if form == "json" and answer is not None:
        print(json.dumps(answer, indent=2))
    elif form == "tsv":
        for one in answer if isinstance(answer, list) else [answer]:
            print("" if one is None else one)


def main(words):
    command, given = parsed(words)
    with open(HOME / "log", "a") as log:
        log.write(f"{command}\n")
    account = Account()
    answer_to = getattr(account, re.sub(r"[ -]", "_", command), None)
    if answer_to is None:
        raise Failed(f"the stand-in does not know `az {command}`")
    refused = os.environ.get("AZ_STAND_IN_REFUSE") == command
    answer = answer_to(given, refused) if not refused or command == "deployment group create" else None
    account.keep()
    if refused:
        raise Failed(f"the stand-in refuses `az {command}`")
    told(answer, words)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as failure:
        sys.exit(f"ERROR: {failure}")
