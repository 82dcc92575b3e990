"""Pythons of our own with pinned packages, below target/, made once for each state of a file of requirements."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "applications"


def made(name, requirements):
    """The environment with these requirements; none when they cannot be installed."""
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    venv = WORK / f"{name}-{key}"
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        install = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*install, "-r", requirements]).returncode != 0:
            return None
        (venv / "complete").touch()
    return venv


def enter():
    """Goes on in a Python with requirements.txt, whose programs are the first on the PATH."""
    if WORK in Path(sys.prefix).parents:
        os.environ["PATH"] = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return
    venv = made("venv", HERE / "requirements.txt")
    if venv is None:
        sys.exit("tests/applications/requirements.txt cannot be installed")
    os.execv(venv / "bin" / "python", [str(venv / "bin" / "python"), *sys.argv])
