"""What a Bicep template says, as far as the applications' templates go. Bicep's own compiler is in no package registry that the checks use."""

import re
from pathlib import Path

from pycep import BicepParser

# What a template may name beside its own symbols: functions and namespaces that the applications use.
KNOWN = {"environment", "resourceGroup", "string"}

# How the parser gives `resourceGroup().tags`.
GROUPS_TAGS = BicepParser().parse(text="var tags = resourceGroup().tags\n")["variables"]["tags"]["value"]


class Wrong(Exception):
    """Something that Azure would not accept."""


class Template:
    def __init__(self, path):
        self.text = Path(path).read_text()
        try:
            self.tree = BicepParser().parse(text=self.text)
        except Exception as error:  # of the grammar, of many kinds
            raise Wrong(f"{path} cannot be read: {error}") from error
        self.outputs = self.tree.get("outputs") or {}
        self.parameters = self.tree.get("parameters") or {}
        self._symbols()

    def _symbols(self):
        """Every symbol that is used is declared, and every one that is declared is used."""
        kinds = ("parameters", "variables", "resources")
        declared = {name for kind in kinds for name in self.tree.get(kind) or {}}
        code = re.sub(r"//.*", "", self.text)
        used = set()
        # What stands for a value: after a colon or equals sign, or within `${…}` or a call.
        for found in re.finditer(r"(?:[:=]\s*|\$\{\s*|\()([A-Za-z_]\w*)\s*(?=[.\n}()\[]| \})", code):
            used.add(found[1])
        words = {"true", "false", "null"} | {"string", "int", "bool", "object", "array"}
        if unknown := used - declared - words - KNOWN:
            raise Wrong(f"not declared: {', '.join(sorted(unknown))}")
        referred = used | {resource["config"].get("parent") for resource in self.tree["resources"].values()}
        leaves = {name for name in self.tree["resources"]}
        if unused := declared - referred - leaves:
            raise Wrong(f"never used: {', '.join(sorted(unused))}")

    def resources(self, values, of_group):
        """What is made with these values of parameters, in a group with these tags: type, name and tags of each, in the template's order."""
        if unknown := set(values) - set(self.parameters):
            raise Wrong(f"no such parameters: {', '.join(sorted(unknown))}")
        needed = {name for name, parameter in self.parameters.items() if parameter["default"] is None}
        if missing := needed - set(values):
            raise Wrong(f"parameters without a value: {', '.join(sorted(missing))}")
        for name, value in values.items():
            self._fits(name, value)
        made, names = [], {}
        for symbol, resource in self.tree["resources"].items():
            config = resource["config"]
            name = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], config["name"])
            if parent := config.get("parent"):
                name = f"{names[parent]}/{name}"
            names[symbol] = name
            made.append((resource["type"], name, self._tags(config, values, of_group)))
        return made

    def _fits(self, name, value):
        parameter = self.parameters[name]
        if parameter["type"] == "int" and not re.fullmatch(r"-?\d+", value):
            raise Wrong(f"{name} is no number: {value}")
        size = int(value) if parameter["type"] == "int" else len(value)
        for decorator in parameter["decorators"]:
            limit = decorator.get("argument")
            if decorator["type"] in ("min_length", "min_value") and size < limit:
                raise Wrong(f"{name} is below {limit}: {value}")
            if decorator["type"] in ("max_length", "max_value") and size > limit:
                raise Wrong(f"{name} is above {limit}: {value}")

    def _tags(self, config, values, of_group):
        """Of a resource that can have them: what lies in another has none of its own."""
        if "parent" in config:
            return {}
        tags = config.get("tags")
        if isinstance(tags, str):
            tags = self.tree["variables"][tags]["value"]
        if not tags:
            raise Wrong(f"{config['name']} has no tags, by which it would be found again")
        if tags == GROUPS_TAGS:
            return of_group
        return {name.strip("'"): values.get(value, value) for name, value in tags.items()}
