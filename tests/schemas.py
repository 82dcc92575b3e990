#!/usr/bin/env python3
"""What an editor shows of manifests and plans with one mistake each, by the schemas of this repository.

    python3 tests/schemas.py PATH/TO/sb [taplo] [yaml]

`taplo` (PyPI: taplo) reads each file as TOML. `yaml-language-server` (npm) reads the same file as YAML, over its protocol. A mistake counts as
caught when there is a mark on the line that `sb validate` names, and on no other line. At least 80 mistakes must be caught, and files without a
mistake must have no mark.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WRONG = ROOT / "crates/plan/tests/wrong"
LEAST = 80


def schema(kind):
    return ROOT / f"schemas/{kind}.schema.json"


def places(sb, paths):
    """The line of the first problem of each file; none where there is no problem."""
    told = subprocess.run([sb, "validate", "--format", "json", *map(str, paths)], capture_output=True, text=True)
    found = {}
    for problem in json.loads(told.stdout)["problems"]:
        found.setdefault(problem["file"], problem["line"])
    return found


def taplo(path, kind):
    """The lines that taplo marks."""
    arguments = ["taplo", "lint", "--colors", "never", "--schema", schema(kind).as_uri(), str(path)]
    told = subprocess.run(arguments, capture_output=True, text=True, cwd="/")
    return {int(line) for line in re.findall(r":(\d+):\d+$", told.stderr, re.MULTILINE)}


class YamlServer:
    """yaml-language-server, as editors speak to it."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["yaml-language-server", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.number = 0
        self.schemas = {schema(kind).as_uri(): [f"**/{kind}/*.yaml"] for kind in ("benchmark", "plan")}
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {"workspace": {"configuration": True}}})
        self.send({"method": "initialized", "params": {}})

    def send(self, message):
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def receive(self):
        length = 0
        while (line := self.process.stdout.readline().strip()) != b"":
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        message = json.loads(self.process.stdout.read(length))
        if "id" in message and "method" in message:
            settings = {"schemas": self.schemas, "validate": True, "schemaStore": {"enable": False}}
            result = None
            if message["method"] == "workspace/configuration":
                items = message["params"]["items"]
                result = [settings if item.get("section") == "yaml" else {} for item in items]
            self.send({"id": message["id"], "result": result})
        return message

    def ask(self, method, params):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") == self.number and "method" not in message:
                return message

    def marks(self, path):
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": path.read_text()}
        self.send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        while True:
            message = self.receive()
            told = message.get("method") == "textDocument/publishDiagnostics" and message["params"]
            if told and told["uri"] == path.as_uri():
                return {mark["range"]["start"]["line"] + 1 for mark in told["diagnostics"]}

    def end(self):
        self.process.kill()
        self.process.wait()


def yaml(value, depth=0):
    """YAML of plain tables, lists and values, each key on a line of its own."""
    lead = "  " * depth
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            nested = isinstance(item, (dict, list)) and item
            text = yaml(item, depth + 1)
            lines.append(f"{lead}{json.dumps(key)}:" + (f"\n{text}" if nested else f" {text}"))
        return "\n".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            text = yaml(item, depth + 1)
            lines.append(f"{lead}- {text.lstrip()}")
        return "\n".join(lines)
    return json.dumps(value)


def judge(name, sb, paths, marks):
    expected = places(sb, paths)
    caught, others = 0, []
    for path in paths:
        found = marks(path)
        line = expected.get(str(path))
        if path.stem.startswith("good"):
            assert not found and line is None, f"{name}: {path} has no mistake, and marks in {found}"
        elif found == {line}:
            caught += 1
        else:
            others.append(f"{path.parent.name}/{path.stem} line {line}: marks in {sorted(found) or 'none'}")
    wrong = len(caught_of(paths))
    print(f"{name}: {caught} of {wrong} mistakes are marked at their key and nowhere else")
    print("\n".join(f"  {other}" for other in others))
    assert caught >= LEAST, f"{name} catches {caught}, fewer than {LEAST}"


def caught_of(paths):
    return [path for path in paths if not path.stem.startswith("good")]


def main():
    sb, *tools = sys.argv[1:]
    sb = str(Path(sb).resolve())
    paths = sorted(path for kind in ("benchmark", "plan") for path in (WRONG / kind).glob("*.toml"))
    # The plans' own manifest is no plan.
    paths = [path for path in paths if not (path.parent.name == "plan" and path.stem == "good")]
    if not tools or "taplo" in tools:
        judge("taplo", sb, paths, lambda path: taplo(path, path.parent.name))
    if not tools or "yaml" in tools:
        with tempfile.TemporaryDirectory() as folder:
            copies = []
            for path in paths:
                copy = Path(folder).resolve() / "wrong" / path.parent.name / f"{path.stem}.yaml"
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(yaml(tomllib.loads(path.read_text())) + "\n")
                copies.append(copy)
            (Path(folder) / ".git").mkdir()
            for path in [*WRONG.glob("*/*")]:
                if path.is_file() and (path.suffix != ".toml" or path.stem == "good"):
                    (Path(folder).resolve() / "wrong" / path.parent.name / path.name).write_bytes(path.read_bytes())
            images = Path(folder) / "wrong/benchmark/images"
            images.mkdir()
            (images / "cat.jpg").write_text("cat\n")
            server = YamlServer()
            try:
                judge("yaml-language-server", sb, copies, server.marks)
            finally:
                server.end()


if __name__ == "__main__":
    main()
