"""A week of a researcher, acted out: plans that go on for days are killed, edited, moved and starved, and every invocation and
every deployment is accounted for at the end.

A workspace has three applications. What one deploys is a folder in `cloud`; its load goes to a server of this script, which counts what
arrives by its path. Each day has four plans, and each of them meets several of these things, at random moments:

| what | how |
|---|---|
| the runner dies | kill -9 |
| the machine restarts | kill -9 of the runner and of all that it started; the next `sb` sees another boot (root) |
| the terminal is gone | HUP, and its pseudo-terminal closed |
| a plan is edited | another trial; `sb resume` refuses it, and goes on as it was started, or with the change |
| the workspace is moved | renamed while nothing runs |
| the disk is full | a file system of 256 MB, filled and emptied again (root) |
| a second user | `sb runs` and `sb resume` of another account (root), which must be refused |

Half of the plans are started with `--tmux`, in a server of tmux that is this script's own. To those this happens, too:

| what | how |
|---|---|
| tmux is gone | its server is killed: the run goes on |
| its session is renamed | the session and its window; the same command then joins the run, and starts nothing |

In the end nothing stands in the cloud, everything that was deployed was removed, `sb leaks` says that nothing is owed, and of each load
at least as many requests arrived as its summary says that it sent.
"""

import collections
import json
import os
import pty
import random
import re
import shutil
import signal
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
run = "echo {{params.id}} >> ../deployed; mkdir -p ../cloud/{{params.id}}; sleep 0.2"
retry = { attempts = 3, delay = "100ms" }
[workload]
[[workload.requests]]
name = "ask"
url = "http://127.0.0.1:PORT/{{params.id}}/{{trial.number}}"
[[cleanup]]
name = "stack"
run = "echo {{params.id}} >> ../removed; rm -rf ../cloud/{{params.id}}; test ! -e ../cloud/{{params.id}}"
retry = { attempts = 3, delay = "100ms" }
"""

PLAN = """
[plan]
name = "NAME"
executor = "host"
[[applications]]
manifest = "../mine/benchmark.toml"
[[applications]]
manifest = "../yours/benchmark.toml"
[[applications]]
manifest = "../theirs/benchmark.toml"
[trials]
repetitions = 2
per_deployment = TRIALS
[load]
constant = 20
duration = "1500ms"
[concurrency]
deploy = 2
"""

PATIENCE = 240
# A day.
PLANS = 4


class InTmux:
    """A runner in a session of tmux: a process that is not this one's child."""

    returncode = 0

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return 0 if state in "ZX" else None

    def wait(self, timeout=None):
        give_up = time.monotonic() + (timeout if timeout is not None else PATIENCE)
        while self.poll() is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired("sb in tmux", timeout)
            time.sleep(0.02)
        return 0

    def send_signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


class Week:
    def __init__(self, sb, seed):
        self.sb, self.random = sb, random.Random(seed)
        self.base = Path(tempfile.mkdtemp(prefix="sb-week-"))
        self.disk = None
        if os.geteuid() == 0:
            self.disk = self.base / "disk"
            self.disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", str(self.disk)], check=True)
        self.work = (self.disk or self.base) / "work"
        self.server = Cloud()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for name in ["mine", "yours", "theirs"]:
            (self.work / name).mkdir(parents=True)
            text = MANIFEST.replace("NAME", name).replace("PORT", str(self.server.server_port))
            (self.work / name / "benchmark.toml").write_text(text)
        (self.work / ".git").mkdir()
        (self.work / "plans").mkdir()
        self.boot = 0
        # Short: the path of a socket has a limit of about a hundred bytes.
        self.sockets = tempfile.mkdtemp(prefix="sbw", dir="/tmp") if shutil.which("tmux") else None
        self.happened = collections.Counter()

    def environment(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SB_", "TMUX"))}
        environment["SB_LOCKS"] = str(self.base / "locks")
        if self.sockets:
            environment["TMUX_TMPDIR"] = self.sockets
        return environment

    def program(self, arguments):
        """In a namespace with the boot id of this start of the machine."""
        if not self.boot:
            return [self.sb, *arguments]
        identity = self.base / "boot_id"
        identity.write_text(f"00000000-0000-4000-8000-{self.boot:012}\n")
        script = f'mount --bind {identity} /proc/sys/kernel/random/boot_id && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", self.sb, *arguments]

    def start(self, *arguments, terminal=None):
        out = terminal if terminal is not None else open(self.base / "log", "ab")
        return subprocess.Popen(
            self.program(arguments), cwd=self.work, stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=out, stderr=out, start_new_session=True, env=self.environment(),
        )

    def call(self, *arguments, user=None):
        done = subprocess.run(
            [self.sb, *arguments] if user else self.program(arguments), cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(),
            timeout=PATIENCE, user=user,
        )
        return done.returncode, done.stdout + done.stderr

    def tmux(self, *arguments):
        done = subprocess.run(
            ["tmux", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(), timeout=30,
        )
        return done.stdout

    def runners(self):
        """Live runners by run."""
        code, said = self.call("status", "--format", "json")
        if code != 0:
            return {}
        return {run["id"]: run["runner"] for run in json.loads(said[said.index("{"):])["runs"] if run["runner"]}

    def start_in_tmux(self, *arguments):
        """A runner in a session; none if it has ended, or was never there."""
        code, said = self.call(*arguments, "--tmux")
        if code != 0:
            raise Check(f"`sb {' '.join(arguments)} --tmux` (exit code {code}): {said}")
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            runners = self.runners()
            if runners:
                return InTmux(*runners.values())
            time.sleep(0.1)
        return InTmux(-1)

    # What happens on a day: each gets the running runner, and leaves none.

    def kill(self, runner):
        runner.send_signal(signal.SIGKILL)
        runner.wait()

    def restart(self, runner):
        """The power is gone: nothing that was started is left, and the machine starts again."""
        self.kill(runner)
        if self.sockets:
            self.tmux("kill-server")
        for pid, _ in processes_of(self.work):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if os.geteuid() == 0:
            self.boot += 1

    def hang_up(self, runner):
        """It goes on: then it is stopped as politely as it can be."""
        runner.send_signal(signal.SIGHUP)
        time.sleep(self.random.uniform(0.5, 2))
        if runner.poll() is not None and runner.returncode < 0:
            raise Check(f"a runner ended by signal {-runner.returncode} when its terminal was gone")
        self.kill(runner)

    def tmux_gone(self, runner):
        """Whatever becomes of the terminal, the run goes on."""
        if not isinstance(runner, InTmux):
            return self.hang_up(runner)
        before = self.runners()
        self.tmux("kill-server")
        time.sleep(self.random.uniform(0.3, 1.5))
        if before and runner.poll() is not None and self.unfinished():
            raise Check("a runner died with its tmux")
        self.kill(runner)

    def rename(self, runner, plan):
        """The same command joins what runs."""
        before = self.runners()
        session = self.tmux("list-sessions", "-F", "#{session_name}").split("\n")[0]
        self.tmux("rename-window", "-t", f"={session}:progress", "busy")
        self.tmux("rename-session", "-t", f"={session}", f"mine-{self.random.randrange(1000)}")
        code, said = self.call("run", f"plans/{plan.name}", "--tmux")
        after = self.runners()
        both = before.keys() & after.keys()
        if both and ("nothing is started" not in said or before != after or runner.poll() is not None):
            raise Check(f"a renamed session was not joined (exit code {code}; {before}, then {after}): {said}")

    def fill_disk(self, runner):
        filler = self.work / "filler"
        if self.disk:
            with open(filler, "wb", buffering=0) as out:
                try:
                    while out.write(b"x" * 65536) == 65536:
                        pass
                except OSError:
                    pass
        time.sleep(self.random.uniform(0.5, 3))
        if runner.poll() is None:
            self.kill(runner)
        filler.unlink(missing_ok=True)

    def interrupt(self, runner):
        """Ctrl-C: the run ends, and what it deployed is removed."""
        runner.send_signal(signal.SIGINT)
        runner.wait(timeout=PATIENCE)

    # Between two runners.

    def edit(self, plan):
        """A change of the plan is not taken up unnoticed."""
        before = plan.read_text()
        plan.write_text(before.replace("constant = 20", "constant = 10"))
        code, said = self.call("resume")
        if code == 0 or "chang" not in said:
            raise Check(f"an edited plan was taken up unnoticed (exit code {code}): {said[-1500:]}")
        plan.write_text(before)

    def move(self):
        self.settle()
        other = self.work.with_name("moved" if self.work.name == "work" else "work")
        self.work.rename(other)
        self.work = other

    def stranger(self):
        if os.geteuid() != 0:
            return
        code, said = self.call("resume", user=65534)
        if code == 0:
            raise Check(f"another user could resume: {said[-500:]}")

    def settle(self):
        """Steps outlive their runner; they end by themselves."""
        if self.sockets:
            self.tmux("kill-server")
        give_up = time.monotonic() + 60
        while processes_of(self.work):
            if time.monotonic() > give_up:
                raise Check(f"left running: {processes_of(self.work)}")
            time.sleep(0.1)

    def plan(self, number):
        plan = self.work / "plans" / f"plan{number}.toml"
        plan.write_text(PLAN.replace("NAME", f"plan{number}").replace("TRIALS", str(self.random.choice([1, 2, 3]))))
        in_tmux = bool(self.sockets) and self.random.random() < 0.5
        blows = [self.kill, self.kill, self.hang_up, self.fill_disk, self.restart] + [self.tmux_gone] * (2 if in_tmux else 0)
        if in_tmux:
            self.happened["in tmux"] += 1
            runner = self.start_in_tmux("run", f"plans/{plan.name}")
        else:
            master, terminal = pty.openpty()
            runner = self.start("run", f"plans/{plan.name}", terminal=terminal)
            os.close(terminal)
            threading.Thread(target=drained, args=(master,), daemon=True).start()
        for _ in range(self.random.randint(2, 5)):
            try:
                runner.wait(timeout=self.random.uniform(0.3, 7))
                break
            except subprocess.TimeoutExpired:
                pass
            if isinstance(runner, InTmux) and self.random.random() < 0.5:
                self.happened["rename"] += 1
                self.rename(runner, plan)
            blow = self.random.choice(blows)
            self.happened[blow.__name__] += 1
            blow(runner)
            between = self.random.choice([None, None, "edit", "move", "stranger"])
            if between and self.unfinished():
                self.happened[between] += 1
                if between == "edit":
                    self.edit(self.work / "plans" / plan.name)
                else:
                    getattr(self, between)()
            if not self.unfinished():
                # It died before it was a run.
                runner = self.start("run", f"plans/{plan.name}")
            elif in_tmux and self.random.random() < 0.5:
                runner = self.start_in_tmux("resume")
            else:
                runner = self.start("resume")
        if self.random.random() < 0.2 and runner.poll() is None:
            self.happened["interrupt"] += 1
            self.interrupt(runner)
        code = runner.wait(timeout=PATIENCE)
        if self.sockets:
            self.tmux("kill-server")
        # Whatever became of it, somebody looks at what is owed before the next one.
        for _ in range(3):
            code, said = self.call("leaks")
            if code == 0:
                break
            self.call("resume")
        else:
            raise Check(f"plan {number} cannot be paid: {said[-1500:]}")
        self.settle()

    def unfinished(self):
        """Whether a run can be resumed."""
        code, said = self.call("runs", "--format", "json")
        if code != 0:
            return False
        runs = json.loads(said[said.index("{"):])["runs"]
        return any(run["state"] != "ended" for run in runs)

    def account(self):
        """What every load says that it sent has arrived, and no more."""
        sent = collections.Counter()
        loads = 0
        for summary in self.work.glob("*/logs/*/load_summary.json"):
            loads += 1
            said = json.loads(summary.read_text())
            rows = summary.with_name("invocations.csv").read_text().splitlines()[1:]
            of_rows = sum(1 for row in rows if row.split(",")[4])
            if of_rows != said["sent"]:
                raise Check(f"{summary}: sent {said['sent']}, and {of_rows} rows have a time of sending")
            path = re.search(r"127\.0\.0\.1:\d+(/[^,\"]+)", summary.with_name("k6_metrics.csv").read_text())
            if path:
                sent[path.group(1)] += said["sent"]
        for path, count in sent.items():
            if self.server.arrived[path] < count:
                raise Check(f"{path}: {count} are said to be sent, {self.server.arrived[path]} arrived")
        return loads, sum(sent.values())

    def end(self):
        standing = list((self.work / "cloud").iterdir()) if (self.work / "cloud").exists() else []
        if standing:
            raise Check(f"still deployed: {standing}")
        code, said = self.call("leaks")
        if code != 0:
            raise Check(f"`sb leaks` (exit code {code}): {said}")
        deployed, removed = ((self.work / name).read_text().split() for name in ["deployed", "removed"])
        if set(deployed) - set(removed):
            raise Check(f"never removed: {set(deployed) - set(removed)}")
        journal = Journal(self.work)
        if any(debt == "owed" for debt in journal.debts):
            raise Check("the journal says that something is owed")
        return len(set(deployed)), *self.account()

    def close(self, passed):
        self.server.shutdown()
        if self.disk:
            for pid, _ in processes_of(self.base):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.2)
            if not passed:
                shutil.copytree(self.work, self.base / "kept", symlinks=True)
            subprocess.run(["umount", str(self.disk)], check=False)
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
        if passed:
            shutil.rmtree(self.base, ignore_errors=True)


def drained(master):
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


def torture(sb, days, seed):
    """True when all is accounted for."""
    week = Week(sb, seed)
    passed = False
    try:
        for number in range(1, days * PLANS + 1):
            week.plan(number)
            if number % PLANS == 0:
                print(f"day {number // PLANS}: {dict(week.happened)}", flush=True)
        deployments, loads, sent = week.end()
        print(f"{days} days: {deployments} deployments, all removed; {loads} loads, {sent} requests, all accounted for")
        passed = True
    except (Check, subprocess.TimeoutExpired) as error:
        print(f"FAILED in {week.base}: {error}")
    finally:
        week.close(passed)
    return passed
