"""The applications' own tests and the checks of their files.

    python3 tests/applications/check.py [NAME…]

For each application: cfn-lint of its template, `k6 inspect` of its k6 script, the unit tests of its functions (Node.js, Python, Go, Java) and of what stands in for a service,
its deployment against the stand-in of AWS (`verify.py --quick`) and, with a target azure, of the command az (`verify_azure.py`); with a target local, all of
it on this machine (`verify_local.py`). What needs a tool that is missing, or too old, is counted as skipped. The last line has the counts, which tests/run.sh adds to its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import environment

environment.enter()

APPLICATIONS = environment.ROOT / "applications"
NEEDED = {"node": (20,), "npm": (), "go": (1, 23), "java": (17,), "mvn": ()}


def version(tool):
    """The version of a tool as numbers; none when it cannot be run."""
    words = {"go": ["go", "version"], "java": ["java", "-version"]}.get(tool, [tool, "--version"])
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError:
        return None
    found = re.search(r"\d+(?:\.\d+)*", done.stdout + done.stderr)
    return tuple(int(part) for part in found[0].split(".")) if found and done.returncode == 0 else None


def lacking(*tools):
    """Why something cannot run here, if it cannot."""
    for tool in tools:
        has = version(tool)
        if has is None:
            return f"there is no `{tool}`"
        if has < NEEDED[tool]:
            return f"`{tool}` is {'.'.join(map(str, has))}, older than {'.'.join(map(str, NEEDED[tool]))}"
    return None


class Checks:
    def __init__(self):
        self.counts = Counter()
        self.reasons = set()

    def skip(self, what, reason):
        self.counts["skipped"] += 1
        self.reasons.add(reason)
        print(f"{what}: skipped, {reason}", flush=True)

    def run(self, what, words, folder, counted=None, **variables):
        """Runs a command that must succeed; `counted` tells from what it prints how many tests passed, failed and were skipped."""
        done = subprocess.run(
            words, cwd=folder, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        counts = Counter(counted(done.stdout)) if counted else Counter(passed=1)
        if done.returncode != 0:
            counts = Counter(passed=counts["passed"] if counted else 0, failed=max(1, counts["failed"]), skipped=counts["skipped"])
        elif counted and not counts["passed"]:
            counts["failed"] += 1
            done.stdout += "no test has run\n"
        self.counts += counts
        told = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        print(f"{what}: {told}", flush=True)
        if counts["failed"]:
            print(done.stdout, flush=True)
        elif counts["skipped"]:
            self.reasons.add(f"{what} skips some of its own")
        return not counts["failed"]


def node_counts(text):
    return {kind: number(rf"^# {word} (\d+)", text) for kind, word in (("passed", "pass"), ("failed", "fail"), ("skipped", "skipped"))}


def python_counts(text):
    ran, skipped = number(r"^Ran (\d+) tests?", text), number(r"skipped=(\d+)", text)
    failed = number(r"failures=(\d+)", text) + number(r"errors=(\d+)", text)
    return {"passed": ran - skipped - failed, "failed": failed, "skipped": skipped}


def go_counts(text):
    counts = Counter()
    for line in text.splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        kind = {"pass": "passed", "fail": "failed", "skip": "skipped"}.get(event.get("Action"))
        if kind and event.get("Test"):
            counts[kind] += 1
    return counts


def maven_counts(text):
    *_, totals = [(0, 0, 0, 0), *re.findall(r"Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)", text)]
    ran, failures, errors, skipped = map(int, totals)
    return {"passed": ran - failures - errors - skipped, "failed": failures + errors, "skipped": skipped}


def number(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0


def node_tests(checks, name, folder):
    if reason := lacking("node", "npm"):
        return checks.skip(name, reason)
    # npm writes this file last.
    made = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    complete = all((folder / "node_modules" / package).exists() for package in development(lock))
    if not (complete and made.exists() and made.stat().st_mtime >= lock.stat().st_mtime):
        words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        if not checks.run(f"{name}: npm ci", words, folder):
            return None
    return checks.run(name, ["node", "--test", "--test-reporter=tap", "test/"], folder, node_counts)


def development(lock):
    """Packages that only tests and builds need, which a build for the cloud may have left out."""
    return json.loads(lock.read_text())["packages"][""].get("devDependencies", {})


def python_tests(checks, name, folder):
    requirements = folder / "requirements.txt"
    venv = environment.made(f"venv-{name.partition('/')[0]}", requirements)
    if venv is None:
        return checks.skip(name, f"its requirements cannot be installed for Python {sys.version_info.major}.{sys.version_info.minor}")
    words = [str(venv / "bin" / "python"), "-m", "unittest", "discover", "-s", "tests", "-t", "."]
    return checks.run(name, words, folder, python_counts, PYTHONDONTWRITEBYTECODE="1")


def stand_in_tests(checks, name, folder):
    """Of what stands in for a service on the local target: Python with the standard library alone."""
    words = [sys.executable, "-m", "unittest", "discover", "-s", ".", "-t", "."]
    return checks.run(name, words, folder, python_counts, PYTHONDONTWRITEBYTECODE="1")


def go_tests(checks, name, folder):
    if reason := lacking("go"):
        return checks.skip(name, reason)
    checks.run(f"{name}: go vet", ["go", "vet", "./..."], folder)
    return checks.run(name, ["go", "test", "-json", "./..."], folder, go_counts)


def maven_tests(checks, name, folder):
    if reason := lacking("java", "mvn"):
        return checks.skip(name, reason)
    return checks.run(name, ["mvn", "--batch-mode", "test"], folder, maven_counts)


# By the file that shows what a folder holds.
LANGUAGES = {
    "package-lock.json": node_tests,
    "requirements.txt": python_tests,
    "stand_in.py": stand_in_tests,
    "go.mod": go_tests,
    "pom.xml": maven_tests,
}


def check(checks, application, sb):
    name = application.name
    checks.run(f"{name}: cfn-lint", ["cfn-lint", "template.yaml"], application)
    checks.run(f"{name}: k6 inspect", ["k6", "inspect", "--include-system-env-vars=false", "workload.js"], application)
    for folder, _, files in os.walk(application):
        folder = Path(folder)
        hidden = {"node_modules", "target", "logs"} & set(folder.parts[len(application.parts):])
        if hidden or any(part.startswith(".") for part in folder.parts[len(application.parts):]):
            continue
        for file in files:
            if file in LANGUAGES:
                LANGUAGES[file](checks, str(folder.relative_to(APPLICATIONS)), folder)
    builders = {"package-lock.json": ("node", "npm"), "go.mod": ("go",), "pom.xml": ("java", "mvn")}
    needs = {tool for file, tools in builders.items() if any(application.glob(f"functions/**/{file}")) for tool in tools}
    if reason := lacking(*sorted(needs)):
        checks.skip(f"{name}: deployment", reason)
    else:
        words = [sys.executable, str(environment.HERE / "verify.py"), "--quick", "--sb", sb, name]
        checks.run(f"{name}: deployment", words, application)
    if "[targets.local]" in (application / "benchmark.toml").read_text():
        local(checks, name, application, sb, sorted(needs))
    if "[targets.azure]" in (application / "benchmark.toml").read_text():
        azure(checks, name, application, sb, sorted(needs))


def local(checks, name, application, sb, needs):
    """The target local: deployed, loaded, traced, analysed and cleaned up on this machine."""
    reason = lacking(*needs)
    if (application / "local" / "database.sh").exists() and not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        reason = reason or "there is no PostgreSQL"
    if reason:
        return checks.skip(f"{name}: local", reason)
    words = [sys.executable, str(environment.HERE / "verify_local.py"), "--sb", sb, name]
    return checks.run(f"{name}: local", words, application)


def azure(checks, name, application, sb, needs):
    """The target azure, which no account has seen: its deployment against a stand-in of az."""
    if reason := lacking(*needs):
        return checks.skip(f"{name}: deployment, azure", reason)
    venv = environment.made("venv-azure", environment.HERE / "azure-requirements.txt")
    if venv is None:
        return checks.skip(f"{name}: deployment, azure", "azure-requirements.txt cannot be installed")
    words = [str(venv / "bin" / "python"), "-m", "unittest", "test_bicep"]
    checks.run(f"{name}: Bicep template", words, environment.HERE, python_counts, APPLICATION=name, PYTHONDONTWRITEBYTECODE="1")
    words = [sys.executable, str(environment.HERE / "verify_azure.py"), "--sb", sb, name]
    return checks.run(f"{name}: deployment, azure", words, application)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="applications; default: all")
    parser.add_argument("--sb", default=str(environment.ROOT / "target" / "debug" / "sb"), help="the program")
    arguments = parser.parse_args()
    every = sorted(path.parent.name for path in APPLICATIONS.glob("*/benchmark.toml"))
    checks = Checks()
    for name in arguments.names or every:
        check(checks, APPLICATIONS / name, arguments.sb)
    table = [sys.executable, str(environment.HERE / "table.py"), "--check"]
    checks.run("the table in applications/README.md", table, APPLICATIONS)
    if checks.reasons:
        print(f"skipped: {'; '.join(sorted(checks.reasons))}")
    counts = checks.counts
    print(f"applications: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
