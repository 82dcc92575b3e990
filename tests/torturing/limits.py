"""Runs under few descriptors, few processes, and both. A run ends as it should, or nothing is begun, or it says what is missing; then, under
the usual limits, `sb resume` pays what is owed. Nothing is done twice, lost or left.

Few processes are the limit of a user who has nothing else (root has none), so that part needs root.
"""

import collections
import os
import random
import shutil
import subprocess

from .account import PATIENCE, Account
from .runner import Check

# Nobody's.
USER = 54321


def draw(random_):
    """Limits as options of `ulimit`."""
    files = ("-n", random_.choice([8, 12, 16, 20, 32, 48, 64, 64, 80, 96, 128, 256]))
    processes = ("-u", random_.choice([1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48]))
    kind = random_.choice(["files", "processes", "both"]) if os.geteuid() == 0 else "files"
    return {"files": [files], "processes": [processes], "both": [files, processes]}[kind]


class Round:
    def __init__(self, sb, seed):
        self.random = random.Random(seed)
        self.limits = draw(self.random)
        user = USER if any(option == "-u" for option, _ in self.limits) else None
        self.account = Account(sb, "limits", user)
        if user is not None:
            # The program's own folder may be closed to others.
            shutil.copy(sb, self.account.base / "sb")
            os.chmod(self.account.base / "sb", 0o755)
            self.account.sb = str(self.account.base / "sb")

    def run(self):
        """What became of it, in a word, and what was accounted for."""
        account = self.account
        runner = account.start("run", "plans/plan.toml", limits=self.limits)
        try:
            code = runner.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
            raise Check("it neither ended nor said what is missing") from None
        said = account.said()
        if "panicked" in said or code < 0:
            raise Check(f"exit code {code}: {said[-1500:]}")
        if not account.has_run():
            if account.standing():
                raise Check(f"deployed without a run: {account.standing()}")
            if code == 0 or not any(word in said for word in ["ulimit", "Resource temporarily", "fork"]):
                raise Check(f"it does not say what is missing (exit code {code}): {said[-1500:]}")
            return "refused", (0, 0)
        account.look()
        account.pay()
        return {0: "complete"}.get(code, "failed and paid"), account.check()


def torture(sb, rounds, seed):
    """True when every round passed."""
    ends, failed, attempts, requests = collections.Counter(), 0, 0, 0
    for number in range(rounds):
        one = Round(sb, seed * 1_000_000 + number)
        passed = False
        try:
            end, counted = one.run()
            ends[end] += 1
            attempts, requests, passed = attempts + counted[0], requests + counted[1], True
        except (Check, OSError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAILED round {number} in {one.account.base} ({one.limits}): {error}", flush=True)
        finally:
            one.account.close(passed)
    print(", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    print(f"{rounds} runs under few descriptors or processes, {attempts} attempts, {requests} requests: {failed} failed")
    return not failed
