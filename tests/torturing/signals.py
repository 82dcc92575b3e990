"""Sends random signals to random processes of runs: to the trees of their steps, to supervisors, loads, background steps and runners.

TERM, INT, HUP, QUIT, and STOP followed by CONT. A runner that is stopped or dies is followed by `sb resume`. Whatever they hit:

- HUP ends no runner and no supervisor;
- a step whose process was hit fails, or is tried again; nothing is done twice;
- what the journal says to have succeeded was done to its end;
- everything that was deployed is removed, no process is left, and `sb leaks` never says that nothing is owed while something stands.
"""

import collections
import os
import random
import signal
import subprocess
import time

from .account import PATIENCE, Account
from .runner import Check, processes_of

SIGNALS = ["TERM", "INT", "HUP", "QUIT", "STOP"]
BLOWS = 6


def role(pid, words, runner):
    """What a process of the workspace is."""
    if pid == runner:
        return "runner"
    for word, name in [("internal-supervise", "supervisor"), ("internal-load", "load")]:
        if word in words:
            return name
    return "step"


def send(pid, name):
    os.kill(pid, getattr(signal, f"SIG{name}"))


class Round:
    def __init__(self, sb, seed):
        self.account, self.random = Account(sb, "signals"), random.Random(seed)
        self.hit = collections.Counter()

    def blow(self, runner):
        """One signal to one process."""
        by_role = collections.defaultdict(list)
        for pid, words in processes_of(self.account.work):
            by_role[role(pid, words, runner.pid)].append(pid)
        if not by_role:
            return
        # Every kind as often, however many there are of it.
        kind = self.random.choice(sorted(by_role))
        pid, name = self.random.choice(by_role[kind]), self.random.choice(SIGNALS)
        try:
            send(pid, name)
        except ProcessLookupError:
            return
        self.hit[f"{name} {kind}"] += 1
        if name == "STOP":
            time.sleep(self.random.uniform(0.05, 0.5))
            try:
                send(pid, "CONT")
            except ProcessLookupError:
                pass
        if name == "HUP" and kind in ("runner", "supervisor"):
            time.sleep(0.1)
            if kind == "runner" and runner.poll() is not None and runner.returncode < 0:
                raise Check(f"HUP ended the runner (signal {-runner.returncode})")

    def run(self):
        """Attempts and requests that were accounted for."""
        account = self.account
        runner = account.start("run", "plans/plan.toml")
        for _ in range(BLOWS):
            try:
                runner.wait(timeout=self.random.uniform(0.05, 1.5))
            except subprocess.TimeoutExpired:
                self.blow(runner)
                continue
            if not account.has_run():
                runner = account.start("run", "plans/plan.toml")
                continue
            account.look()
            runner = account.start("resume")
        runner.wait(timeout=PATIENCE)
        if not account.has_run():
            return 0, 0
        account.pay()
        return account.check()


def torture(sb, rounds, seed):
    """True when every round passed."""
    hit, failed, attempts, requests = collections.Counter(), 0, 0, 0
    for number in range(rounds):
        one = Round(sb, seed * 1_000_000 + number)
        passed = False
        try:
            counted = one.run()
            attempts, requests, passed = attempts + counted[0], requests + counted[1], True
        except (Check, OSError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAILED round {number} in {one.account.base} ({dict(one.hit)}): {error}", flush=True)
        finally:
            one.account.close(passed)
        hit += one.hit
    print(", ".join(f"{count} × {name}" for name, count in sorted(hit.items())))
    print(f"{rounds} runs, {sum(hit.values())} signals, {attempts} attempts, {requests} requests: {failed} failed")
    return not failed
