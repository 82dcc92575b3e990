"""Deploys and cleans up an application's target `azure` against a stand-in of the command `az`, and looks at what was asked for.

    python3 tests/applications/verify_azure.py NAME…

No account is used. The manifest's own steps run on the host executor. Their arguments are read by Azure's own parser (PyPI's azure-cli), the
template is read by a parser of Bicep, and the account is a file. Then deployments are refused at each command, and the cleanup must leave nothing;
and a cleanup that leaves something must fail. Of todo-api, the program that was packed then serves the manifest's workload and the k6 script, over
Microsoft's emulator of Table Storage (npm's azurite), where npm can install that.
"""

import argparse
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import environment

# Its own environment: azure-cli pins what others need otherwise.
VENV = environment.made("venv-azure", environment.HERE / "azure-requirements.txt")
AZURITE = environment.HERE / "azurite"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


LOGS = "logs/**/invocations.csv"


class Failed(Exception):
    """An application does not do what it must."""


class Application:
    def __init__(self, folder, sb):
        self.folder, self.sb = folder, sb
        self.port = free_port()
        self.home = tempfile.TemporaryDirectory(prefix="sb-azure-")
        self.state = Path(self.home.name)
        program = self.state / "bin" / "az"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{VENV}/bin/python" "{environment.HERE}/az_stand_in.py" "$@"\n')
        program.chmod(0o755)

    def run(self, *words, refuse=""):
        variables = os.environ | {
            "PATH": f"{self.state / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "AZ_STAND_IN": str(self.state),
            "AZ_STAND_IN_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AZ_STAND_IN_REFUSE": refuse,
            "AZURE_CONFIG_DIR": str(self.state / "config"),
            "AZURE_CORE_COLLECT_TELEMETRY": "no",
            "SB_STATE_DIR": str(self.state / "sb"),
        }
        command = [self.sb, *words, "--target", "azure", "--executor", "host"]
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def must(self, *words):
        code, said = self.run(*words)
        if code != 0:
            raise Failed(f"`sb {' '.join(words)}` ended with {code}:\n{said}")

    def account(self):
        kept = self.state / "account.json"
        return json.loads(kept.read_text()) if kept.exists() else {"groups": {}, "resources": {}}

    def commands(self):
        """What was asked of az since the last time."""
        log = self.state / "log"
        said = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return said

    def nothing_left(self, after_what):
        account = self.account()
        if account["groups"] or account["resources"]:
            raise Failed(f"after {after_what} and cleanup: left {account['groups']} {account['resources']}")


def verify(name, sb):
    begun = time.monotonic()
    # In a copy whose steps are not tried again: their pauses are made for a cloud.
    with tempfile.TemporaryDirectory(prefix="sb-azure-") as folder:
        copy = Path(folder) / name
        hidden = shutil.ignore_patterns("node_modules", "logs", ".sb", "target", ".build")
        shutil.copytree(environment.ROOT / "applications" / name, copy, ignore=hidden)
        manifest = copy / "benchmark.toml"
        once = "retry = { attempts = 1 }"
        cleanup = f'\n[[cleanup]]\ntarget = "azure"\nname = "stack"\nbicep = {{ down = true }}\n{once}\n'
        manifest.write_text(re.sub(r"(?m)^retry = .*$", once, manifest.read_text()) + cleanup)
        application = Application(copy, sb)
        application.must("prepare")
        account, asked = application.account(), application.commands()
        [group] = account["groups"].values()
        tagged = {json.dumps(tags) for tags in account["resources"].values() if tags}
        if tagged != {json.dumps(group["tags"])}:
            raise Failed(f"resources have the tags {tagged}, their group has {group['tags']}")
        if name == "todo-api":
            serve_todos(application, account["entities"])
        application.must("cleanup")
        application.nothing_left("a deployment")
        stops = stop_half_way(application, list(dict.fromkeys(asked)))
        leave_something(application)
    print(f"{name}: {len(account['resources'])} resources asked for by {len(asked)} commands, {stops} stops, "
          f"{time.monotonic() - begun:.0f} s", flush=True)


def stop_half_way(application, commands):
    """Refuses each command of a deployment; gives how many."""
    for command in commands:
        code, said = application.run("prepare", refuse=command)
        if code == 0:
            raise Failed(f"`az {command}` was refused, and the deployment succeeded:\n{said}")
        if f"refuses `az {command}`" not in said:
            raise Failed(f"`az {command}` was refused, and the deployment failed otherwise:\n{said}")
        application.must("cleanup")
        application.nothing_left(f"a refusal of `az {command}`")
    return len(commands)


def leave_something(application):
    """A cleanup fails when something with the deployment's tag is left outside of its group."""
    application.must("prepare")
    kept = application.account()
    [group] = kept["groups"].values()
    kept["resources"]["/subscriptions/0/resourceGroups/other/providers/x/left"] = group["tags"]
    (application.state / "account.json").write_text(json.dumps(kept))
    code, said = application.run("cleanup")
    if code == 0 or "still there: /subscriptions/0/resourceGroups/other" not in said:
        raise Failed(f"something was left, and the cleanup ended with {code}:\n{said}")


def serve_todos(application, entities):
    """The workload against the program in the ZIP, in place of the platform."""
    if not installed():
        return print("todo-api: not loaded, npm cannot install azurite", flush=True)
    port = free_port()
    state = application.state
    tables = [str(environment.WORK / "azurite" / "node_modules" / ".bin" / "azurite-table"), "--silent", "--disableTelemetry",
              "--location", str(state / "tables"), "--tableHost", "127.0.0.1", "--tablePort", str(port)]
    endpoint = f"http://127.0.0.1:{port}/devstoreaccount1"
    with zipfile.ZipFile(application.folder / ".build" / "azure.zip") as archive:
        handler = Path(archive.extract("handler", state))
    handler.chmod(0o755)
    connection = f"AccountName=devstoreaccount1;AccountKey={KEY};TableEndpoint={endpoint}"
    variables = {"FUNCTIONS_CUSTOMHANDLER_PORT": str(application.port), "TABLE_CONNECTION": connection, "TABLE_NAME": "todos"}
    with ended(tables), ended([str(handler)], variables):
        answers(port)
        answers(application.port)
        # By Azure's own command line: what the deploy step puts into the table is what the program can read.
        real = [str(VENV / "bin" / "az"), "storage"]
        command(*real, "table", "create", "--name", "todos", "--connection-string", connection)
        for entity in entities:
            words = [f"{key}={value}" for key, value in entity.items()]
            command(*real, "entity", "insert", "--table-name", "todos", "--if-exists", "replace", "--connection-string", connection,
                    "--entity", *words)
        command("go", "test", "-count=1", "-run", "TestTableIsAStore", "./todo", cwd=application.folder / "functions",
                TABLE_TEST_ENDPOINT=endpoint)
        before = set(application.folder.glob(LOGS))
        application.must("invoke", "120")
        [table] = set(application.folder.glob(LOGS)) - before
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        if bad := [row for row in rows if row["outcome"] != "ok"]:
            raise Failed(f"{len(bad)} of {len(rows)} requests failed, the first: {bad[0]}")
        names = {row["request"] for row in rows}
        if "delete-own" not in names:
            raise Failed(f"no sequence came to its end: {sorted(names)}")
        script = ["k6", "run", "--quiet", "--no-usage-report", "-i", "120", "-e", f"BASE_URL=http://127.0.0.1:{application.port}",
                  "--summary-export", str(state / "k6.json"), "workload.js"]
        done = subprocess.run(script, cwd=application.folder, capture_output=True, text=True)
        checks = json.loads((state / "k6.json").read_text())["metrics"]["checks"] if done.returncode == 0 else None
        if not checks or checks["fails"]:
            raise Failed(f"the k6 script: {checks} {done.stdout}{done.stderr}")
        print(f"todo-api: {len(rows)} requests of {len(names)} types by sb, {checks['passes']} by k6, all as expected", flush=True)


def command(*words, cwd=None, **variables):
    settings = {"AZURE_CONFIG_DIR": str(environment.WORK / "az"), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
    done = subprocess.run(words, cwd=cwd, env=os.environ | settings | variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words[:4])} ended with {done.returncode}: {done.stdout}{done.stderr}")


def installed():
    """Whether the emulator is there, as its lock file says."""
    folder = environment.WORK / "azurite"
    lock = (AZURITE / "package-lock.json").read_bytes()
    made = folder / "complete"
    if not (made.exists() and made.read_bytes() == lock):
        shutil.copytree(AZURITE, folder, dirs_exist_ok=True)
        words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        if subprocess.run(words, cwd=folder).returncode != 0:
            return False
        made.write_bytes(lock)
    return True


@contextmanager
def ended(words, variables=None):
    """A server that runs as long as it is needed."""
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(words, env=os.environ | (variables or {}), stdout=said, stderr=subprocess.STDOUT)
        try:
            yield
        except Failed as error:
            said.seek(0)
            raise Failed(f"{error}\n{words[0]} said: {said.read()[-2000:]}") from error
        finally:
            server.terminate()
            server.wait(10)


def answers(port):
    """Waits until something listens there."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Failed(f"nothing listens on port {port}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="applications with a target azure")
    parser.add_argument("--sb", default=str(environment.ROOT / "target" / "debug" / "sb"), help="the program")
    arguments = parser.parse_args()
    if VENV is None:
        sys.exit("tests/applications/azure-requirements.txt cannot be installed")
    if others := environment.made("venv", environment.HERE / "requirements.txt"):
        os.environ["PATH"] += f"{os.pathsep}{others / 'bin'}"  # k6
    failed = 0
    for name in arguments.names:
        try:
            verify(name, arguments.sb)
        except Failed as error:
            failed += 1
            print(f"{name}: FAILED\n{error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
