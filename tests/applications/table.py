"""Writes the table in applications/README.md from the manifests, the templates and what was verified.

    python3 tests/applications/table.py            # write it
    python3 tests/applications/table.py --check    # fail when it is not up to date
"""

import json
import re
import sys
import tomllib

import environment

environment.enter()

from stand_in import read_template  # noqa: E402

APPLICATIONS = environment.ROOT / "applications"
README = APPLICATIONS / "README.md"
START, END = "<!-- made by tests/applications/table.py -->\n", "<!-- end of what is made -->\n"
SERVICES = {
    "ApiGateway": "API Gateway",
    "DynamoDB": "DynamoDB",
    "Lambda": "Lambda",
    "RDS": "Aurora",
    "Rekognition": "Rekognition",
    "S3": "S3",
    "SNS": "SNS",
    "SQS": "SQS",
    "StepFunctions": "Step Functions",
}
SERVERLESS = {"Api": "API Gateway", "Function": "Lambda", "SimpleTable": "DynamoDB", "StateMachine": "Step Functions"}
LANGUAGES = {"nodejs": "Node.js", "python": "Python", "java": "Java", "provided": "Go"}


def row(folder, results):
    manifest = tomllib.loads((folder / "benchmark.toml").read_text())
    template = read_template((folder / "template.yaml").read_text())
    kinds = [resource["Type"].split("::") for resource in template["Resources"].values()]
    services = {SERVERLESS.get(kind[2]) if kind[1] == "Serverless" else SERVICES.get(kind[1]) for kind in kinds}
    functions = [one for one in template["Resources"].values() if one["Type"] == "AWS::Serverless::Function"]
    runtimes = {
        one["Properties"].get("Runtime") or template["Globals"]["Function"]["Runtime"] for one in functions
    }
    languages = {name for runtime in runtimes for start, name in LANGUAGES.items() if runtime.startswith(start)}
    requests = [request["name"] for request in manifest["workload"]["requests"]]
    for sequence in manifest["workload"].get("sequences", []):
        requests += [request["name"] for request in sequence["requests"]]
    cells = [
        f"[{folder.name}]({folder.name})",
        ", ".join(sorted(services - {None})),
        str(len(functions)),
        ", ".join(sorted(languages)),
        ", ".join(f"`{name}`" for name in requests),
        verified(manifest["targets"], results.get(folder.name)),
    ]
    return f"| {' | '.join(cells)} |"


def verified(targets, result):
    how = []
    if "aws" in targets and result:
        made = len(result["verified"])
        stops = len(result["stopped_at"])
        how.append(f"aws: {made} of {result['resources']} resources, {stops} stops")
    elif "aws" in targets:
        how.append("aws: not run")
    if "local" in targets:
        how.append("local: `sb test`")
    if "azure" in targets:
        how.append("azure: not run (offline checks)")
    return "; ".join(how)


def table():
    results = json.loads((APPLICATIONS / "verified.json").read_text())
    folders = sorted(path.parent for path in APPLICATIONS.glob("*/benchmark.toml"))
    head = "| application | services | functions | languages | request types | verified |"
    return "\n".join([head, "|---|---|---|---|---|---|", *(row(folder, results) for folder in folders)]) + "\n"


def main():
    text = README.read_text()
    made = re.sub(f"(?<={re.escape(START)}).*(?={re.escape(END)})", lambda _: table(), text, flags=re.DOTALL)
    if "--check" in sys.argv[1:]:
        if made != text:
            print("the table in applications/README.md is not up to date: python3 tests/applications/table.py writes it")
            return 1
    else:
        README.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
