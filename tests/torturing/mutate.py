"""Changes manifests, plans, templates and loads of this repository at random, and validates what comes out.

Whatever a file holds, `sb validate` ends by itself with exit code 0 or 3, without a panic, in at most one second of processor time and with
at most 200 MB of memory. What it is given is in a folder of its own; it may read nothing else, and executes nothing.
"""

import multiprocessing
import os
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .runner import ROOT

SECONDS = 1.0
MEGABYTES = 200
# Bytes that a line makes at most when it is repeated.
LARGEST = 1_000_000

# What people and attackers write in the place of a value.
VALUES = [
    b"", b"0", b"-1", b"1e308", b"nan", b"99999999999999999999", b"true", b"[]", b"{}", b'""', b"''", b'"\\u0000"', b'"{{"', b'"{{params.x}}"',
    b'"{{{outputs.endpoint}}}"', b'"/etc/passwd"', b'"../../../../dev/zero"', b'"' + b"a" * 70_000 + b'"', b'"\xff\xfe"', b"[[", b"!Ref X",
    b"&a [*a, *a]", b"1979-05-27T07:32:00Z", b'"365000d"', b'"http://[::1"', b"{ run = \"x\" }", b"|\n  x", b"\x00", b"\xef\xbb\xbf", b"~",
]


def sources():
    """Files by the name under which they are validated: manifest or plan first, then what it refers to."""
    found = []
    for manifest in sorted(ROOT.glob("examples/*/benchmark.toml")) + sorted(ROOT.glob("applications/*/benchmark.toml")):
        template = manifest.with_name("template.yaml")
        files = {"benchmark.toml": manifest.read_bytes()}
        if template.exists():
            files["template.yaml"] = template.read_bytes()
        found.append(files)
    hello = ROOT / "examples/hello-http"
    for plan in sorted(ROOT.glob("plans/*.toml")):
        text = re.sub(rb'manifest = "[^"]*"', b'manifest = "benchmark.toml"', plan.read_bytes())
        found.append({
            "plan.toml": text,
            "benchmark.toml": (hello / "benchmark.toml").read_bytes(),
            "template.yaml": (hello / "template.yaml").read_bytes(),
        })
    return found


def mutated(text, random_):
    """The bytes with one to five changes."""
    for _ in range(random_.choice([1, 1, 1, 2, 3, 5])):
        lines = text.splitlines(keepends=True) or [b""]
        at = random_.randrange(len(lines))
        change = random_.randrange(12)
        if change == 0:
            del lines[at]
        elif change == 1:
            lines.insert(random_.randrange(len(lines)), lines[at])
        elif change == 2:
            lines[at:at + 1] = [lines[at]] * min(random_.choice([2, 50, 3000]), LARGEST // (len(lines[at]) + 1) + 1)
        elif change == 3:
            other = random_.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif change in (4, 5, 6):
            separator = b"=" if b"=" in lines[at] else b":"
            key, _, _ = lines[at].partition(separator)
            lines[at] = key + separator + b" " + random_.choice(VALUES) + b"\n"
        elif change == 7:
            word = random_.choice(re.findall(rb"\w+", lines[at]) or [b"x"])
            lines[at] = lines[at].replace(word, random_.choice([word[:-1], word + b"s", word.upper(), b"x" * 300]), 1)
        elif change == 8:
            lines[at] = lines[at][:random_.randrange(len(lines[at]) + 1)]
        elif change == 9:
            lines[at] = b" " * random_.choice([1, 2, 4, 1000]) + lines[at]
        elif change == 10:
            data = bytearray(b"".join(lines))
            for _ in range(random_.choice([1, 4, 40])):
                if data:
                    data[random_.randrange(len(data))] = random_.randrange(256)
            lines = [bytes(data)]
        else:
            opening = random_.choice([b"[", b"{", b"- ", b"a: ", b"[[deploy]]\nname = \"x\"\nrun = \"y\"\n", b"# "])
            lines.insert(at, opening * random_.choice([3, 200, 5000]))
        text = b"".join(lines)
    return text


def check(sb, number, seed, all_sources):
    """None, or what was wrong; and the seconds and megabytes that it took."""
    random_ = random.Random(f"{seed} {number}")
    files = dict(random_.choice(all_sources))
    changed = random_.choice(list(files))
    files[changed] = mutated(files[changed], random_)
    folder = Path(tempfile.mkdtemp(prefix="sb-mutated-"))
    (folder / ".git").mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text)
    said = folder / "said"
    with open(said, "wb") as out:
        process = subprocess.Popen(
            [sb, "validate", next(iter(files))], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    text = said.read_text(errors="replace")
    wrong = None
    if process.returncode not in (0, 3) or "panicked" in text:
        wrong = f"exit code {process.returncode}: {text[-400:]}"
    elif seconds > SECONDS:
        wrong = f"{seconds:.2f} s"
    elif megabytes > MEGABYTES:
        wrong = f"{megabytes:.0f} MB"
    if wrong is None:
        shutil.rmtree(folder)
        return None, seconds, megabytes, process.returncode
    return f"{folder} ({changed} changed): {wrong}", seconds, megabytes, process.returncode


def checked(arguments):
    return check(*arguments)


def torture(sb, count, seed, at_once):
    """True when all were fine."""
    all_sources = sources()
    failed, slowest, largest, codes = 0, 0.0, 0.0, {}
    # Of processes that stay small: what a child used at most includes what its parent had when it was forked.
    tries = ((sb, number, seed, all_sources) for number in range(count))
    with multiprocessing.Pool(at_once, maxtasksperchild=100) as pool:
        for wrong, seconds, megabytes, code in pool.imap_unordered(checked, tries):
            slowest, largest = max(slowest, seconds), max(largest, megabytes)
            codes[code] = codes.get(code, 0) + 1
            if wrong:
                failed += 1
                print(f"FAILED {wrong}", flush=True)
    print(
        f"{count} changed files, {codes.get(0, 0)} valid, {codes.get(3, 0)} refused; at most {slowest:.2f} s of processor time and "
        f"{largest:.0f} MB; {failed} failed"
    )
    return failed == 0
