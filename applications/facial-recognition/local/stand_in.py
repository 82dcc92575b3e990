"""Rekognition's stand-in of a deployment's own on this machine, on a free port of 127.0.0.1, in /tmp/sb-faces-ID: what it keeps goes with the deployment.

    python3 local/stand_in.py start ID [COLLECTION…]    starts it, unless it runs, and prints {"url": "http://…"}
    python3 local/stand_in.py stop ID                   stops it and removes what it kept; nothing there is no failure

It holds the file `lock` for as long as it lives, with its process and its URL in it: the kernel lets go of the lock however the process ends, so that no
other process is ever taken for it.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rekognition import Refusal, Rekognition

# Room for an image in base64.
MOST_REQUEST = 8 * 1024 * 1024
READY_WITHIN = 20
# Between SIGTERM and SIGKILL, and again after it.
GRACE = 5
POLL = 0.02
# How often the program looks whether its folder is still there.
LOOK_EVERY = 5


class Failed(Exception):
    """What the user has to know, in words."""


def main(words):
    match words:
        case ["start", deployment, *collections]:
            print(json.dumps({"url": start(folder_of(deployment), collections)}))
        case ["stop", deployment]:
            stop(folder_of(deployment))
        case ["serve", folder, *collections]:
            serve(Path(folder), collections)
        case _:
            raise Failed("usage: stand_in.py start ID [COLLECTION…] | stop ID")


def folder_of(deployment):
    if not re.fullmatch("[A-Za-z0-9-]+", deployment):
        raise Failed(f"`{deployment}` is no id of a deployment: letters, digits and `-`")
    folder = Path(f"/tmp/sb-faces-{deployment}")
    if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != os.getuid()):
        raise Failed(f"{folder} belongs to somebody else: remove it, or deploy with another `deploy_id`")
    return folder


def start(folder, collections):
    """Starts the program, unless it runs; gives its URL."""
    folder.mkdir(mode=0o700, exist_ok=True)
    process = None
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        pid, url = holder(folder)
        if url:
            return url
        if pid is None and process is None:
            with open(folder / "log", "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-B", os.path.abspath(__file__), "serve", str(folder), *collections],
                    cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )
        elif pid is None and process.poll() is not None:
            raise Failed(f"the stand-in ended at once ({process.returncode}):\n{(folder / 'log').read_text()[-2000:]}")
        time.sleep(POLL)
    if process is not None:
        process.kill()
    raise Failed(f"the stand-in was not ready within {READY_WITHIN} s; see {folder / 'log'}")


def stop(folder):
    begun, asked = time.monotonic(), {}
    # While the lock is held its holder lives: the number belongs to no other process.
    while (pid := holder(folder)[0]) is not None:
        waited = time.monotonic() - begun
        if waited > 2 * GRACE:
            raise Failed(f"process {pid} still holds {folder / 'lock'} after SIGKILL: look at what blocks it with `ps`")
        number = signal.SIGKILL if waited > GRACE else signal.SIGTERM
        if asked.get(pid) != number:
            asked[pid] = number
            os.kill(pid, number)
        time.sleep(POLL)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise Failed(f"{folder} cannot be removed")


def holder(folder):
    """Process and URL of the program that runs, if one does; without a URL while it gets ready."""
    try:
        with open(folder / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, url = lock.read().partition(" ")
                # It has taken the lock, and not yet written into it.
                return (int(pid), url) if pid else (None, None)
    except FileNotFoundError:
        pass
    return None, None


def serve(folder, collections):
    """The program itself: until SIGTERM, or until its folder is gone and nobody could find it."""
    lock = take(folder / "lock")
    earlier = lock.read().partition(" ")[2].rpartition(":")[2]
    say(lock, str(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listen(int(earlier or 0)) as server:
        server.lock, server.folder = lock, folder
        server.service = Rekognition(collections)
        say(lock, f"{os.getpid()} http://127.0.0.1:{server.server_port}")
        server.serve_forever(poll_interval=LOOK_EVERY)


def take(path):
    lock = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    # Whoever looks for the program holds the lock for a moment.
    for _ in range(50):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            time.sleep(POLL / 4)
    raise Failed(f"another one holds {path}")


def say(lock, text):
    """Writes into the lock what others read of this process."""
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


def listen(port):
    """On the port of an earlier one, if it is still free: what was deployed keeps its address."""
    try:
        return Server(("127.0.0.1", port), Handler)
    except OSError:
        return Server(("127.0.0.1", 0), Handler)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    service = lock = folder = None

    def service_actions(self):
        """Called now and then."""
        if self.lock is None:
            return
        try:
            there = os.stat(self.folder / "lock")
        except FileNotFoundError:
            sys.exit(0)
        held = os.fstat(self.lock.fileno())
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            sys.exit(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body of an answer are written one after the other.
    disable_nagle_algorithm = True

    def do_POST(self):
        kind = None
        try:
            status, answer = 200, self.server.service.answer(self.headers["X-Amz-Target"] or "", self.given(), self.headers["Host"])
        except Refusal as refusal:
            status, kind = 400, refusal.kind
            answer = {"__type": kind, "Code": kind, "Message": refusal.message}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        if kind:
            self.send_header("x-amzn-errortype", kind)
        self.end_headers()
        self.wfile.write(body)

    def given(self):
        body = self.body()
        if len(body) > MOST_REQUEST:
            raise Refusal("ImageTooLargeException", f"the request must be whole, and at most {MOST_REQUEST} bytes")
        try:
            return json.loads(body)
        except ValueError as error:
            raise Refusal("InvalidParameterException", f"Request has invalid parameters: {error}") from None

    def body(self):
        """The body of the request, or so much of it that it is seen to be too large; the rest is read and dropped, since who sends it reads no answer before."""
        if "chunked" not in (self.headers["Transfer-Encoding"] or ""):
            return self.part(int(self.headers["Content-Length"] or 0), MOST_REQUEST + 1)
        whole = bytearray()
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            whole += self.part(size, MOST_REQUEST + 1 - len(whole))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(whole)

    def part(self, size, most):
        kept = self.rfile.read(min(size, most))
        left = size - len(kept)
        while left > 0 and (dropped := self.rfile.read(min(left, 1 << 16))):
            left -= len(dropped)
        return kept

    def log_request(self, code="-", size="-"):
        """Nothing: one line a request would be the most of what it does."""


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as failed:
        sys.exit(str(failed))
