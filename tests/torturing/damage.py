"""Kills a runner with -9, damages its state, and checks that nothing is forgotten.

Each round is a workspace of its own, in which a plan deploys three times; what is deployed is a folder. The runner is killed at a random
moment, and then the state is damaged at a random place: bits, truncation, a lost log of SQLite, an emptied or removed database, an old
copy put back. Then:

- `sb leaks` never says that nothing is owed while something stands;
- what stands can be removed: by `sb resume`, or, where the state is refused, after its database was moved aside as the message says;
- nothing is deployed twice under one name, and no cleanup is left out.
"""

import concurrent.futures
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from .runner import Check, processes_of, start

MANIFEST = """
[benchmark]
name = "app"
[targets.local]
traces = "none"
[params]
id = { random_hex = 8 }
[[deploy]]
name = "stack"
run = "echo {{params.id}} >> deployed; mkdir -p cloud/{{params.id}}; sleep 0.1"
[[invoke]]
name = "use"
run = "sleep 0.2"
[[cleanup]]
name = "stack"
run = "echo {{params.id}} >> removed; rm -rf cloud/{{params.id}}"
"""

PLAN = """
[plan]
name = "damage"
executor = "host"
[[applications]]
manifest = "benchmark.toml"
[trials]
repetitions = 3
"""

DAMAGES = ["bits", "bits in the log", "truncated", "log truncated", "log lost", "emptied", "removed", "old copy"]
PATIENCE = 60


class Round:
    """One workspace, one kill, one damage."""

    def __init__(self, sb, seed, damage):
        self.sb, self.damage, self.random = sb, damage, random.Random(f"{seed} {damage}")
        self.work = Path(tempfile.mkdtemp(prefix="sb-damage-"))
        (self.work / ".git").mkdir()
        (self.work / "benchmark.toml").write_text(MANIFEST)
        (self.work / "plan.toml").write_text(PLAN)
        self.state = self.work / ".sb/state.db"

    def call(self, *arguments):
        """Exit code and everything it said."""
        log = self.work / "said"
        log.unlink(missing_ok=True)
        code = start(self.sb, self.work, arguments, log).wait(timeout=PATIENCE)
        return code, log.read_text(errors="replace")

    def standing(self):
        cloud = self.work / "cloud"
        return sorted(entry.name for entry in cloud.iterdir()) if cloud.exists() else []

    def kill(self):
        runner = start(self.sb, self.work, ["run", "plan.toml"], self.work / "runner.log")
        early = self.random.uniform(0.05, 0.9)
        time.sleep(early)
        if self.damage == "old copy":
            for name in ["state.db", "state.db-wal"]:
                if (self.work / ".sb" / name).exists():
                    shutil.copy(self.work / ".sb" / name, self.work / f"old-{name}")
        time.sleep(self.random.uniform(0, 0.9))
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        # Steps outlive their runner: what they deploy stands now.
        for _ in range(200):
            if not processes_of(self.work):
                return
            time.sleep(0.05)
        raise Check("steps of half a second are still running after ten")

    def spoil(self):
        log = self.state.with_name("state.db-wal")
        if self.random.random() < 0.5 and self.state.exists():
            # As it is after a long run: most of it in the database, little in its log.
            database = sqlite3.connect(self.state)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.close()
        lose_shared_memory = True
        if self.damage.startswith("bits"):
            path = log if self.damage.endswith("log") else self.state
            lose_shared_memory = False
            if path.exists() and path.stat().st_size > 0:
                data = bytearray(path.read_bytes())
                for _ in range(self.random.choice([1, 1, 8, 64])):
                    data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                path.write_bytes(data)
        elif self.damage.endswith("truncated"):
            path = log if self.damage.startswith("log") else self.state
            if path.exists():
                os.truncate(path, self.random.randrange(path.stat().st_size + 1))
        elif self.damage == "log lost":
            log.unlink(missing_ok=True)
        elif self.damage == "emptied":
            if self.state.exists():
                self.state.write_bytes(b"")
            log.unlink(missing_ok=True)
        elif self.damage == "removed":
            self.state.unlink(missing_ok=True)
            log.unlink(missing_ok=True)
        elif self.damage == "old copy":
            self.state.unlink(missing_ok=True)
            log.unlink(missing_ok=True)
            for name in ["state.db", "state.db-wal"]:
                if (self.work / f"old-{name}").exists():
                    shutil.copy(self.work / f"old-{name}", self.work / ".sb" / name)
        if lose_shared_memory:
            self.state.with_name("state.db-shm").unlink(missing_ok=True)

    def run(self):
        """What became of it, in a word."""
        self.kill()
        self.spoil()
        standing = self.standing()
        code, said = self.call("leaks")
        if standing and (code == 0 or "nothing is owed" in said):
            raise Check(f"{standing} stand, and `sb leaks` says (exit code {code}):\n{said}")
        code, said = self.call("resume")
        end = "went on"
        if code == 7:
            # Refused: what the message says is done, and what stands is known from the records.
            end = "refused"
            for name in ["state.db", "state.db-wal", "state.db-shm"]:
                if (self.work / ".sb" / name).exists():
                    (self.work / ".sb" / name).rename(self.work / f"aside-{name}")
            code, again = self.call("resume")
            said += again
        if self.standing():
            raise Check(f"{self.standing()} still stand after `sb resume` (exit code {code}):\n{said}")
        code, said = self.call("leaks")
        if code != 0:
            raise Check(f"nothing stands, and `sb leaks` says (exit code {code}):\n{said}")
        deployed = (self.work / "deployed").read_text().split() if (self.work / "deployed").exists() else []
        removed = (self.work / "removed").read_text().split() if (self.work / "removed").exists() else []
        if len(deployed) != len(set(deployed)):
            raise Check(f"deployed twice: {deployed}")
        if set(deployed) - set(removed):
            raise Check(f"never removed: {set(deployed) - set(removed)}")
        if processes_of(self.work):
            raise Check(f"left running: {processes_of(self.work)}")
        shutil.rmtree(self.work)
        return f"{end}, {len(standing)} stood"


def torture(sb, rounds, seed, at_once):
    """True when every round passed."""
    failed, ends = [], {}
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        tries = {}
        for number in range(rounds):
            one = Round(sb, seed * 1_000_000 + number, DAMAGES[number % len(DAMAGES)])
            tries[pool.submit(one.run)] = one
        for future in concurrent.futures.as_completed(tries):
            one = tries[future]
            try:
                end = future.result()
                ends.setdefault(one.damage, {}).setdefault(end, 0)
                ends[one.damage][end] += 1
            except (Check, OSError, subprocess.TimeoutExpired) as error:
                failed.append(one)
                print(f"FAILED {one.damage} in {one.work}: {error}", flush=True)
    for damage, counts in sorted(ends.items()):
        print(f"{damage:16} " + "; ".join(f"{count} × {end}" for end, count in sorted(counts.items())))
    print(f"{rounds} damaged states, {len(failed)} failed")
    return not failed
