"""A person at a terminal, played: runs a command in a pseudo-terminal, answers what it asks, and tells what was seen.

Reads a JSON object from standard input: argv, env (added to its own), and script, a list of steps: {"expect": TEXT, "send": TEXT},
{"expect": TEXT, "signal": NUMBER}, {"expect": TEXT, "size": [ROWS, COLUMNS]}. After {"expect": TEXT, "hang_up": true} the terminal
is gone: the line "hung up" comes first, and at the end how the command ended.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LONGEST = 120

spec = json.load(sys.stdin)
master, slave = pty.openpty()


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(24, 80)
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(slave, stream)
    os.closerange(3, 256)
    # As given: a python3 that is a wrapper changes PATH on the way.
    os.environ.update(spec.get("env", {}))
    os.execvp(spec["argv"][0], spec["argv"])

seen = b""
searched = 0
begun = time.monotonic()
script = list(spec["script"])
problem = None
ended = None
while True:
    if script:
        at = seen.find(script[0]["expect"].encode(), searched)
        if at >= 0:
            step = script.pop(0)
            searched = at + len(step["expect"].encode())
            if "size" in step:
                resize(*step["size"])
            if "hang_up" in step:
                os.close(slave)
                os.close(master)
                print("hung up", flush=True)
                break
            if "signal" in step:
                os.kill(child, step["signal"])
            for part in step.get("send", "").splitlines(keepends=True):
                os.write(master, part.encode())
            continue
    ready, _, _ = select.select([master], [], [], 0.05)
    if ready:
        seen += os.read(master, 65536)
        continue
    if ended is not None:
        break
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        # What it wrote last may still be on its way.
        ended = os.waitstatus_to_exitcode(status)
        continue
    if time.monotonic() - begun > LONGEST:
        problem = "it took too long"
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if spec["script"] and "hang_up" in spec["script"][-1]:
    while not ended and time.monotonic() - begun < LONGEST:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            print(json.dumps({"code": os.waitstatus_to_exitcode(status), "problem": None}))
            sys.exit()
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    print(json.dumps({"code": ended, "problem": "it took too long, or ended before"}))
    sys.exit()
after = termios.tcgetattr(slave)
print(
    json.dumps(
        {
            "seen": seen.decode(errors="replace"),
            "code": ended,
            "restored": before == after,
            "left": [step["expect"] for step in script],
            "problem": problem,
        }
    )
)
