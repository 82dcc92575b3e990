"""A workspace whose runs can be held to account: what every step did, what stands, and which requests arrived.

Two applications. Each deployment is a folder in `cloud`; a background step runs beside it; the steps of a trial are a tree of processes and
a load against a server of this script. Every attempt of a step notes its begin and its end in `trail`, and every request names the folder
of its invocation and its number.
"""

import collections
import json
import os
import re
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from .cloud import Cloud
from .runner import Check, Journal, processes_of

MANIFEST = """
[benchmark]
name = "NAME"
root = ".."
[targets.local]
traces = "none"
[params]
id = { random_hex = 8 }
[[deploy]]
name = "stack"
run = "NOTE begin; echo {{params.id}} >> ../deployed; mkdir -p ../cloud/{{params.id}}; sleep 0.1; NOTE end"
retry = { attempts = 3, delay = "50ms" }
[[deploy]]
name = "beside"
background = true
run = "NOTE begin; echo serving; while :; do sleep 1; done"
ready = { log = "serving", timeout = "30s" }
retry = { attempts = 3, delay = "50ms" }
[[invoke]]
name = "tree"
run = "NOTE begin; (sh -c 'sleep 0.2; sleep 0.2' & (sleep 0.3 & wait) & wait); NOTE end"
[[invoke]]
name = "load"
load = true
[workload]
timeout = "5s"
[[workload.requests]]
name = "ask"
url = "http://127.0.0.1:PORT/ask?logs={{logs_dir}}&number={{request.number}}"
[[cleanup]]
name = "stack"
run = "NOTE begin; echo {{params.id}} >> ../removed; rm -rf ../cloud/{{params.id}}; test ! -e ../cloud/{{params.id}}; NOTE end"
retry = { attempts = 5, delay = "100ms" }
"""

# One write of less than a page: lines of several processes do not mix.
NOTE = 'echo \\"$SB_RUN $SB_STEP $SB_ATTEMPT_NUMBER'

PLAN = """
[plan]
name = "account"
executor = "host"
[[applications]]
manifest = "../one/benchmark.toml"
[[applications]]
manifest = "../two/benchmark.toml"
[trials]
repetitions = 2
per_deployment = 2
[load]
constant = 40
duration = "700ms"
[concurrency]
deploy = 2
"""

PATIENCE = 240


class Account:
    """One workspace, one run."""

    def __init__(self, sb, prefix, user=None):
        self.sb, self.user = sb, user
        self.base = Path(tempfile.mkdtemp(prefix=f"sb-{prefix}-"))
        self.work = self.base / "work"
        self.server = Cloud()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for name in ["one", "two"]:
            (self.work / name).mkdir(parents=True)
            text = MANIFEST.replace("NAME", name).replace("PORT", str(self.server.server_port))
            text = re.sub(r"NOTE (\w+)", lambda word: f'{NOTE} {word.group(1)}\\" >> ../trail', text)
            (self.work / name / "benchmark.toml").write_text(text)
        (self.work / ".git").mkdir()
        (self.work / "plans").mkdir()
        (self.work / "plans/plan.toml").write_text(PLAN)
        if user is not None:
            os.chmod(self.base, 0o755)
            subprocess.run(["chown", "-R", f"{user}:{user}", str(self.work)], check=True)

    def environment(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SB_", "TMUX"))}
        environment["SB_LOCKS"] = str(self.work / ".locks")
        environment["HOME"] = str(self.work)
        return environment

    def start(self, *arguments, limits=()):
        """`limits`: options of `ulimit` with their values."""
        words = [self.sb, *arguments]
        if limits:
            set_ = " && ".join(f"ulimit {option} {value}" for option, value in limits)
            words = ["bash", "-c", f'{set_} && exec "$@"', "bash", *words]
        with open(self.base / "log", "ab") as out:
            return subprocess.Popen(
                words, cwd=self.work, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env=self.environment(), user=self.user, group=self.user,
                extra_groups=None if self.user is None else [],
            )

    def call(self, *arguments):
        """Exit code and everything it said."""
        done = subprocess.run(
            [self.sb, *arguments], cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=self.environment(), timeout=PATIENCE, user=self.user, group=self.user,
        )
        return done.returncode, done.stdout + done.stderr

    def said(self):
        return (self.base / "log").read_text(errors="replace")

    def standing(self):
        cloud = self.work / "cloud"
        return sorted(entry.name for entry in cloud.iterdir()) if cloud.exists() else []

    def look(self):
        """`sb leaks` never says that nothing is owed while something stands."""
        standing = self.standing()
        code, said = self.call("leaks")
        # What stood before and after it was asked stood when it was.
        if set(standing) & set(self.standing()) and ("nothing is owed" in said):
            raise Check(f"{standing} stand, and `sb leaks` says (exit code {code}): {said}")

    def has_run(self):
        try:
            return (self.work / ".sb/state.db").exists() and bool(Journal(self.work).runs)
        except sqlite3.OperationalError:
            # The runner died while it made the state.
            return False

    def pay(self):
        """Takes the run up until it has ended and nothing is owed."""
        for _ in range(5):
            self.look()
            code, said = self.call("resume")
            if "nothing to resume" in said or "no run" in said:
                break
        else:
            raise Check(f"the run does not end: {said[-1500:]}")
        # Cleanups that failed are paid as the message says.
        code, said = self.call("leaks")
        for run in sorted(set(re.findall(r"with: sb resume (\S+)", said))):
            self.call("resume", run)
        code, said = self.call("leaks")
        if code != 0:
            raise Check(f"still owed (exit code {code}): {said}")

    def settle(self):
        give_up = time.monotonic() + 60
        while processes_of(self.work):
            if time.monotonic() > give_up:
                raise Check(f"left running: {processes_of(self.work)}")
            time.sleep(0.05)

    def check(self):
        """Lost 0, repeated 0, leaked 0; says how many attempts and requests that were."""
        self.settle()
        if self.standing():
            raise Check(f"still deployed: {self.standing()}")
        if not self.has_run():
            return 0, 0
        trail = collections.Counter((self.work / "trail").read_text().splitlines() if (self.work / "trail").exists() else [])
        repeated = [line for line, count in trail.items() if count > 1]
        if repeated:
            raise Check(f"done twice: {repeated}")
        journal = Journal(self.work)
        if any(debt == "owed" for debt in journal.debts):
            raise Check("the journal says that something is owed")
        [run] = journal.runs
        attempts = journal.attempts()
        for (step, attempt), outcome in attempts.items():
            if outcome is None:
                raise Check(f"{step}, attempt {attempt}, has no end")
            noted = step.split("/")[-1] in ("stack", "tree")
            if outcome == "succeeded" and noted and not trail[f"{run} {step} {attempt} end"]:
                raise Check(f"{step}, attempt {attempt}, is said to have succeeded, and did not end")
        for line in trail:
            _, step, attempt, _ = line.split(" ")
            if (step, int(attempt)) not in attempts:
                raise Check(f"{line}: the journal does not know this attempt")
        return len(attempts), self.requests()

    def requests(self):
        with self.server.lock:
            arrived = dict(self.server.arrived)
        repeated = [path for path, count in arrived.items() if count > 1]
        if repeated:
            raise Check(f"sent twice: {repeated[:5]}")
        by_folder = collections.Counter(re.search(r"logs=(.+)&", path).group(1) for path in arrived)
        for summary in self.work.glob("*/logs/*/load_summary.json"):
            said = json.loads(summary.read_text())
            folder = str(summary.parent)
            got = sum(count for name, count in by_folder.items() if name.replace("%2F", "/") == folder)
            if got < said["answered"] or got > said["planned"]:
                raise Check(f"{summary}: {said['answered']} answered of {said['planned']} planned, and {got} arrived")
        return len(arrived)

    def close(self, passed):
        self.server.shutdown()
        self.server.server_close()
        if passed:
            subprocess.run(["rm", "-rf", str(self.base)], check=False)
