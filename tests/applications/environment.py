"""A Python of our own with requirements.txt, below target/, made once for each state of that file."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "applications"


def folder():
    key = hashlib.sha256((HERE / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()[:12]
    return WORK / f"venv-{key}"


def enter():
    """Goes on in that Python, which is made where it is missing. Its programs are the first on the PATH."""
    venv = folder()
    os.environ["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if Path(sys.prefix) == venv:
        return
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        install = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
        (venv / "complete").touch()
    os.execv(venv / "bin" / "python", [str(venv / "bin" / "python"), *sys.argv])
