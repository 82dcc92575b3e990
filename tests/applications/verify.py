"""Deploys and cleans up the applications' target `aws` against a stand-in of AWS on this machine, and looks at what is there.

    python3 tests/applications/verify.py [NAME…]

For each application: `sb prepare` with the manifest's own steps on the host executor; every resource of the transformed template is
then asked for at its own service; `sb cleanup`; and the account must hold what it held before. Then deployments are stopped at
several points, and the cleanup must leave nothing either. The results are kept in applications/verified.json.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import environment

environment.enter()

# Neither configuration nor credentials of the user: nothing may reach an account.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "stand-in",
    "AWS_SECRET_ACCESS_KEY": "stand-in",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Moto: roles can have the policies that AWS provides.
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
}
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE"):
    os.environ.pop(name, None)
os.environ.update(ENVIRONMENT)

# Installed in the environment that has just been entered.
import boto3  # noqa: E402

from inventory import inventory  # noqa: E402
from resources import verify  # noqa: E402
from stand_in import REGION, StandIn  # noqa: E402

ROOT = environment.ROOT
RESULTS = ROOT / "applications" / "verified.json"
class Failed(Exception):
    """An application does not do what it must."""


def fingerprint(application):
    """Of what was verified: what the manifest says, whatever its comments and its order, and the template."""
    manifest = tomllib.loads((application / "benchmark.toml").read_text())
    text = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    text.update((application / "template.yaml").read_bytes())
    return text.hexdigest()[:16]


class Application:
    def __init__(self, name, sb, stand_in):
        self.folder = ROOT / "applications" / name
        self.name, self.sb, self.stand_in = name, sb, stand_in
        self.state = tempfile.TemporaryDirectory(prefix=f"sb-{name}-")
        # AWS's CLI of version 1 goes to addresses of its own for RDS and SQS, unless it is told on the command line.
        self.tools = tempfile.TemporaryDirectory(prefix="sb-tools-")
        aws = Path(self.tools.name) / "aws"
        aws.write_text(f'#!/bin/sh\nexec {shutil.which("aws")} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n')
        aws.chmod(0o755)
        self.clients = {}
        # No function runs, so nobody is registered.
        self.parameters = ["-p", "allow_refused=true"] if name == "facial-recognition" else []

    def client(self, service):
        if service not in self.clients:
            self.clients[service] = boto3.client(service, endpoint_url=self.stand_in.endpoint, region_name=REGION)
        return self.clients[service]

    def run(self, *words):
        environment = os.environ | {
            "AWS_ENDPOINT_URL": self.stand_in.endpoint,
            "SB_STATE_DIR": self.state.name,
            "PATH": f"{self.tools.name}{os.pathsep}{os.environ['PATH']}",
        }
        command = [self.sb, *words, "--target", "aws", "--executor", "host"]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def must(self, *words):
        code, said = self.run(*words)
        if code != 0:
            raise Failed(f"`sb {' '.join(words)}` ended with {code}:\n{said}")

    def clean(self, before, after_what):
        self.stand_in.allow()
        self.must("cleanup")
        if (left := inventory(self.client)) != before:
            raise Failed(f"after {after_what} and cleanup: left {sorted(set(left) - set(before))}, gone {sorted(set(before) - set(left))}")

    def awaited(self):
        """The answers that the manifest waits for, which its functions would give: path -> status."""
        manifest = tomllib.loads((self.folder / "benchmark.toml").read_text())
        waits = [step["wait_for"] for step in manifest["deploy"] if "wait_for" in step]
        return {wait["http"].removeprefix("{{outputs.endpoint}}"): wait.get("status", 200) for wait in waits}

    def verify(self, quick):
        self.stand_in.reset()
        self.stand_in.statuses = self.awaited()
        before = inventory(self.client)
        begun = time.monotonic()
        self.must("prepare", *self.parameters)
        [stack] = [one["StackName"] for one in self.client("cloudformation").describe_stacks()["Stacks"]]
        verified, unverified, missing = verify(self.stand_in, stack, self.client)
        total = len(self.stand_in.resources(stack))
        # From now on the index of tags names them, also when they are gone.
        for _ in self.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate():
            pass
        self.clean(before, "a deployment")
        if missing:
            raise Failed("\n".join(f"{one['resource']} ({one['type']}): {one['reason']}" for one in missing))
        stopped = [] if quick else self.stop_half_way(before, total)
        print(f"{self.name}: {len(verified)} of {total} resources verified, {len(unverified)} parts not, "
              f"{len(stopped)} stops, {time.monotonic() - begun:.0f} s", flush=True)
        return {
            "fingerprint": fingerprint(self.folder),
            "resources": total,
            "verified": verified,
            "not_verified": unverified,
            "stopped_at": stopped,
        }

    def stop_half_way(self, before, total):
        """Deployments that meet a refusal, at several points; gives the points."""
        points = {"the bucket of the code": ("request", lambda method, path: method == "PUT" and path.rstrip("/").count("/") == 1)}
        points["the upload of the code"] = ("request", lambda method, path: method == "PUT" and path.rstrip("/").count("/") > 1)
        for number in sorted({1, total // 2, total}):
            points[f"resource {number} of {total}"] = ("resource", number)
        passed = []
        for point, (kind, what) in points.items():
            # Moto makes resources in a cleanup, too: the count begins here.
            self.stand_in.allow()
            setattr(self.stand_in, f"refuse_{kind}", what)
            code, said = self.run("prepare", *self.parameters)
            if code == 0:
                if kind == "resource":
                    # Moto makes fewer than the template has, and so never came to this one.
                    self.clean(before, point)
                    continue
                raise Failed(f"{point} was refused, and the deployment succeeded:\n{said}")
            self.clean(before, f"a refusal of {point}")
            passed.append(point)
        return passed


def compare(result, before):
    """What is kept must be what is found; where deployments were stopped is not looked at."""
    def shown(one):
        text = json.dumps({key: one[key] for key in one if key != "stopped_at"})
        # SAM names the deployment of an API by a hash of its document, which holds the deployment's random name.
        return re.sub(r"(Deployment)[0-9a-f]{10}\b", r"\1", text)
    if before is None or shown(result) != shown(before):
        raise Failed("applications/verified.json is not up to date: `just verify-applications` renews it")


def kept():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name, result, every):
    """Keeps a result; of an application that failed, or is gone, nothing."""
    results = kept() | {name: result}
    remaining = {one: results[one] for one in sorted(results) if one in every and results[one]}
    RESULTS.write_text(json.dumps(remaining, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="applications; default: all")
    parser.add_argument("--sb", default=str(ROOT / "target" / "debug" / "sb"), help="the program")
    parser.add_argument("--quick", action="store_true", help="stop no deployments; compare with the kept results")
    parser.add_argument("--keep", action="store_true", help="keep the results in applications/verified.json")
    arguments = parser.parse_args()
    every = sorted(path.parent.name for path in (ROOT / "applications").glob("*/benchmark.toml"))
    names = arguments.names or every
    if unknown := set(names) - set(every):
        parser.error(f"no such application: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    stand_in = StandIn()
    failed = []
    for name in names:
        try:
            result = Application(name, arguments.sb, stand_in).verify(arguments.quick)
            if arguments.quick:
                compare(result, kept().get(name))
        except Failed as error:
            failed.append(name)
            result = None
            print(f"{name}: FAILED\n{error}", file=sys.stderr, flush=True)
        if arguments.keep and not arguments.quick:
            keep(name, result, every)
    stand_in.stop()
    print(f"verified: {len(names) - len(failed)} of {len(names)} applications")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
