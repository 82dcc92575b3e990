"""Kills the runner of a made-up plan of 60 steps with -9 at random moments, again and again, and checks the end.

The plan has steps that fail, that are tried again (some with commands that recover), whose failure is allowed, that take
seconds, and that run side by side; in one half of the runs on this machine, in the other in containers. It is run once without
a kill; then every run is killed one to eight times, over its whole length, and must come to the same end:

- the same exit code, and the same outcome of every step;
- every attempt that the journal knows ran its command exactly once and to its end, so nothing was done twice or broken off;
- a step has as many attempts as it needed without kills: a kill costs none;
- no cleanup is owed, no process and no container is left.

A part of the blows takes with the runner one supervisor, or one container by force: that attempt alone may then be interrupted,
and the step has one attempt more.
"""

import collections
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .runner import Check, Journal, processes_of, start

APPLICATIONS = 3
# Steps of each application: 3 x (12 + 5 + 3) = 60.
DEPLOY, INVOKE, CLEANUP = 12, 5, 3
# Of the blows, how many take a supervisor or container as well.
HARD = 0.25
# Of the resumed runners, how many are hit while they take the run over.
EARLY = 0.2
PATIENCE = 300

DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin
"""


def engine_answers():
    if not Path("/bin/busybox").exists() or shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True).returncode == 0


def step(random_, phase, number, image):
    """One step as TOML. What it does depends on its number and the draw; a cleanup always succeeds in the end."""
    kind = random_.choice(["plain", "plain", "retried", "recovered", "allowed", "failing"])
    if phase == "cleanup":
        kind = random_.choice(["plain", "retried", "recovered"])
    seconds = random_.choice([0, 0, 0, 0.1, 0.2, 0.3, random_.uniform(1, 3)])
    lines = [f"[[{phase}]]", f'name = "s{number}"']
    if image:
        lines.append('image = "box"')
    if number >= 2:
        # Two chains side by side, with a tie now and then.
        needs = [f's{number - 2}'] + ([f's{number - 1}'] if random_.random() < 0.2 else [])
        # What fails must not take the whole phase with it: only the last of a chain fails for good.
        lines.append(f"needs = {needs!r}".replace("'", '"'))
    else:
        lines.append("needs = []")
    succeed_at = 1
    if kind in ("retried", "recovered"):
        succeed_at = random_.choice([2, 3])
        lines.append('retry = { attempts = 4, delay = "%dms" }' % random_.choice([0, 50, 400]))
    if kind == "recovered":
        lines.append('recover = [ { run = "echo \\"recover $SB_STEP $SB_ATTEMPT_NUMBER\\" >> trail" } ]')
    if kind == "allowed":
        succeed_at = 99
        lines.append("allow_failure = true")
    if kind == "failing":
        last = number >= {"deploy": DEPLOY, "invoke": INVOKE}[phase] - 1
        if last and random_.random() < 0.4:
            succeed_at = 99
    # One write of one line each, at the end of the file whoever else writes.
    lines.append(
        f'run = "echo \\"begin $SB_STEP $SB_ATTEMPT_NUMBER\\" >> trail; sleep {seconds:.2f}; '
        f'echo \\"end $SB_STEP $SB_ATTEMPT_NUMBER\\" >> trail; test $SB_ATTEMPT_NUMBER -ge {succeed_at}"'
    )
    return "\n".join(lines)


class Plan:
    """A workspace's plan: the same for the same seed."""

    def __init__(self, seed, docker):
        random_ = random.Random(seed)
        self.docker = docker
        self.files = {}
        applications = []
        for application in range(APPLICATIONS):
            text = [f'[benchmark]\nname = "app{application}"\nroot = ".."']
            if docker:
                text.append('[images]\nbox = { dockerfile = "../image/Dockerfile", context = "../image" }')
            text.append('[targets.local]\ntraces = "none"')
            for phase, count in (("deploy", DEPLOY), ("invoke", INVOKE), ("cleanup", CLEANUP)):
                text += [step(random_, phase, number, docker) for number in range(count)]
            self.files[f"app{application}/benchmark.toml"] = "\n\n".join(text) + "\n"
            applications.append(f'[[applications]]\nmanifest = "../app{application}/benchmark.toml"\n')
        executor = "docker" if docker else "host"
        self.files["plans/torture.toml"] = (
            f'[plan]\nname = "torture"\nexecutor = "{executor}"\n\n' + "\n".join(applications)
            + "\n[concurrency]\ndeploy = 3\ninvoke = 3\nquiet = false\n"
        )
        self.files["image/Dockerfile"] = DOCKERFILE

    def write(self, work):
        (work / ".git").mkdir()
        for name, text in self.files.items():
            path = work / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        if self.docker:
            shutil.copy("/bin/busybox", work / "image/busybox")


def containers(work):
    """Of the workspace's runs, ended ones included."""
    found = []
    for run in (work / ".sb/runs").glob("*"):
        listed = subprocess.run(
            ["docker", "ps", "-aq", "--filter", f"label=sb.run={run.name}"], capture_output=True, text=True, check=True
        )
        found += listed.stdout.split()
    return found


class Run:
    def __init__(self, sb, plan, name):
        self.sb, self.plan = sb, plan
        self.work = Path(tempfile.mkdtemp(prefix=f"sb-torture-{name}-"))
        self.blows = []
        self.log = self.work / "runner.log"
        plan.write(self.work)

    def start(self):
        begun = (self.work / ".sb/state.db").exists() and Journal(self.work).runs
        arguments = ["resume", *begun[:1]] if begun else ["run", "plans/torture.toml"]
        return start(self.sb, self.work, arguments, self.log)

    def complete(self):
        """Without a kill, to the end; returns the exit code."""
        return self.start().wait(timeout=PATIENCE)

    def strike(self, runner, hard, random_):
        """Kills the runner (the blow is noted with what ran), and with it perhaps one that it relies on."""
        runner.send_signal(signal.SIGKILL)
        also = ""
        if hard and self.plan.docker:
            found = containers(self.work)
            if found:
                subprocess.run(["docker", "rm", "-f", random_.choice(found)], capture_output=True)
                also = "+container"
        elif hard:
            found = [pid for pid, text in processes_of(self.work) if " internal-supervise " in text]
            if found:
                try:
                    os.kill(random_.choice(found), signal.SIGKILL)
                    also = "+supervisor"
                except ProcessLookupError:
                    pass
        if runner.wait() != -signal.SIGKILL:
            return False
        try:
            during = sorted({step.split("/")[1 if "/t1/" not in step else 2] for step in Journal(self.work).running()})
        except Exception:  # no state yet
            during = ["start"]
        self.blows.append((during or ["between steps"], also))
        return True

    def torment(self, length, blows, random_):
        """Runs to the end with so many blows (fewer when it ends before); returns the exit code."""
        moments = sorted(random_.uniform(0, length * 1.1) for _ in range(blows))
        at = 0.0
        for moment in moments:
            runner = self.start()
            wait = random_.uniform(0, 0.08) if at > 0 and random_.random() < EARLY else moment - at
            at = moment
            try:
                return runner.wait(timeout=max(wait, 0.001))
            except subprocess.TimeoutExpired:
                pass
            if not self.strike(runner, random_.random() < HARD, random_):
                return runner.returncode
        return self.complete()

    def check(self, code, clean):
        """Raises [`Check`] when the end is not that of the run without kills."""
        journal = Journal(self.work)
        if code != clean["code"]:
            raise Check(f"exit code {code} instead of {clean['code']}:\n{self.log.read_text(errors='replace')[-2000:]}")
        ends, attempts = journal.ends(), journal.attempts()
        if ends != clean["ends"]:
            differing = {s: (clean["ends"].get(s), ends.get(s)) for s in ends.keys() | clean["ends"].keys() if ends.get(s) != clean["ends"].get(s)}
            raise Check(f"steps that ended differently: {differing}")
        interrupted = [key for key, outcome in attempts.items() if outcome == "interrupted"]
        hard = sum(bool(also) for _, also in self.blows)
        if len(interrupted) > hard:
            raise Check(f"{interrupted} were interrupted by {hard} blows at supervisors")
        counts = collections.Counter(step for step, _ in attempts)
        spared = collections.Counter(step for step, _ in interrupted)
        for step_, count in counts.items():
            # A step succeeds at an attempt of a certain number: one that was interrupted counts there, if it is not the last.
            if not clean["attempts"][step_] <= count <= clean["attempts"][step_] + spared[step_]:
                raise Check(f"{step_}: {count} attempts, {spared[step_]} interrupted, {clean['attempts'][step_]} expected")
            unfinished = [n for n in range(1, count) if attempts[step_, n] not in ("failed", "interrupted")]
            if unfinished:
                raise Check(f"{step_}: attempts {unfinished} had succeeded, and more followed")
        trail = collections.Counter((self.work / "app0/trail").read_text().splitlines())
        for application in range(1, APPLICATIONS):
            trail += collections.Counter((self.work / f"app{application}/trail").read_text().splitlines())
        recovered = {line.split()[1] for line in trail if line.startswith("recover ")}
        expected = collections.Counter()
        for step_, attempt in attempts:
            words = ["begin", "end"] + (["recover"] if step_ in recovered and attempt > 1 else [])
            for word in words:
                line = f"{word} {step_} {attempt}"
                expected[line] = 1
                if (step_, attempt) in interrupted and trail[line] == 0:
                    del expected[line]
        if trail != expected:
            raise Check(f"lines that are missing: {expected - trail}, too many: {trail - expected}")
        if clean["recovered"] is not None and recovered < clean["recovered"]:
            raise Check(f"no recovery of {clean['recovered'] - recovered}")
        if set(journal.debts) != {"paid"} or len(journal.debts) != APPLICATIONS:
            raise Check(f"debts: {journal.debts}")
        leaks = subprocess.run([self.sb, "leaks"], cwd=self.work, capture_output=True, text=True)
        if leaks.returncode != 0:
            raise Check(f"sb leaks: {leaks.stdout}{leaks.stderr}")
        if self.plan.docker and containers(self.work):
            raise Check(f"containers left: {containers(self.work)}")
        if processes_of(self.work):
            raise Check(f"processes left: {processes_of(self.work)}")
        return {"ends": ends, "attempts": dict(counts), "recovered": recovered, "code": code}

    def end(self, keep):
        """Leaves nothing running, and the folder only where there is something to look at."""
        for pid, _ in processes_of(self.work):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.plan.docker:
            for container in containers(self.work):
                subprocess.run(["docker", "rm", "-f", container], capture_output=True)
        if not keep:
            shutil.rmtree(self.work)


def clean_run(sb, plan):
    """What a run without kills comes to, and how long it takes."""
    run = Run(sb, plan, "clean")
    begun = time.monotonic()
    try:
        code = run.complete()
        length = time.monotonic() - begun
        journal = Journal(run.work)
        attempts = collections.Counter(step for step, _ in journal.attempts())
        clean = {"code": code, "ends": journal.ends(), "attempts": attempts, "recovered": None}
        if len(clean["ends"]) != APPLICATIONS * (DEPLOY + INVOKE + CLEANUP):
            raise Check(f"{len(clean['ends'])} steps ended:\n{run.log.read_text(errors='replace')[-2000:]}")
        return run.check(code, clean), length
    finally:
        run.end(keep=False)


def half(sb, name, blows, seed, docker):
    """The blows of one executor; returns those struck, by phase, and the number of runs that failed."""
    random_ = random.Random(f"{seed} {name}")
    phases, struck, failed, number = collections.Counter(), 0, 0, 0
    kinds = collections.Counter()
    while struck < blows and failed < 3:
        plan = Plan(f"{seed} {name} {number // 4}", docker)
        if number % 4 == 0:
            clean, length = clean_run(sb, plan)
            outcomes = dict(collections.Counter(clean["ends"].values()))
            again = sum(count > 1 for count in clean["attempts"].values())
            print(f"{name}: a plan of {len(clean['ends'])} steps: {outcomes}, {again} tried again, {length:.0f} s", flush=True)
        wanted = min(random_.randint(1, 8), blows - struck)
        run = Run(sb, plan, f"{name}-{number}")
        problem = None
        try:
            code = run.torment(length, wanted, random_)
            run.check(code, clean)
        except (Check, subprocess.TimeoutExpired) as error:
            problem = error
            failed += 1
        run.end(keep=problem is not None)
        told = "; ".join(",".join(during) + also for during, also in run.blows)
        if problem is None:
            print(f"{name} run {number}: ok after {len(run.blows)} kills ({told})", flush=True)
        else:
            print(f"{name} run {number}: FAILED after {len(run.blows)} kills ({told}): {problem}\n  kept: {run.work}", flush=True)
        for during, also in run.blows:
            struck += 1
            kinds[also or "runner alone"] += 1
            phases.update(during)
        number += 1
    print(f"{name}: {struck} kills in {number} runs, {failed} runs failed; by what ran: {dict(phases)}; {dict(kinds)}", flush=True)
    return struck, failed


def torture(sb, blows, seed, executors):
    """True when every run came to the end that it has without kills."""
    if "docker" in executors and not engine_answers():
        print("skipped: the half in containers (no Docker engine answers, or /bin/busybox is missing)", flush=True)
        executors = [name for name in executors if name != "docker"]
    share = -(-blows // max(len(executors), 1))
    results = [half(sb, name, share, seed, name == "docker") for name in executors]
    struck, failed = sum(kills for kills, _ in results), sum(bad for _, bad in results)
    print(f"torture: {struck} kills, {failed} runs failed (seed {seed})")
    return failed == 0 and struck >= blows and bool(executors)
