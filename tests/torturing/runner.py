"""A runner in a workspace of its own, its journal, and what it leaves behind."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Check(Exception):
    """What was found wrong."""


def start(sb, work, arguments, log):
    """A runner in its own session, as one that lost its terminal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SB_")}
    # Runs share the machine with those of the same user: this one is to be alone.
    environment["SB_LOCKS"] = str(Path(work) / ".runtime")
    with open(log, "ab") as out:
        return subprocess.Popen(
            [sb, *arguments],
            cwd=work, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True, env=environment,
        )


def processes_of(work):
    """Processes that name the work folder in their arguments or are in it, with their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            where = os.readlink(entry / "cwd")
            text = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if where.startswith(str(work)) or str(work).encode() in text:
            found.append((int(entry.name), text.replace(b"\0", b" ").decode(errors="replace")))
    return found


class Journal:
    """The state of a workspace that has seen one run."""

    def __init__(self, work):
        database = sqlite3.connect(f"file:{work}/.sb/state.db?mode=ro", uri=True)
        rows = database.execute("SELECT event FROM events ORDER BY number").fetchall()
        self.events = [json.loads(row) for (row,) in rows]
        self.outputs = [json.loads(outputs) for (outputs,) in database.execute("SELECT outputs FROM deployments")]
        self.debts = [debt for (debt,) in database.execute("SELECT debt FROM deployments")]
        self.runs = [run for (run,) in database.execute("SELECT id FROM runs")]
        database.close()

    def running(self):
        """Ids of the steps that had begun and not ended."""
        open_ = set()
        for event in self.events:
            if event["event"] == "step_started":
                open_.add(event["step"])
            elif event["event"] == "step_ended":
                open_.discard(event["step"])
        return sorted(open_)

    def attempts(self):
        """Outcomes by step and attempt; None while it runs. Steps that never began have no attempts."""
        found = {}
        for event in self.events:
            if event["event"] == "step_started":
                found[event["step"], event["attempt"]] = None
            elif event["event"] == "step_ended" and event["attempt"] > 0:
                found[event["step"], event["attempt"]] = event["outcome"]["outcome"]
        return found

    def ends(self):
        """How each step ended for good."""
        return {
            event["step"]: event["outcome"]["outcome"]
            for event in self.events
            if event["event"] == "step_ended" and not event.get("retry")
        }
