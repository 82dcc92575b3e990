"""What is wrong with a template is found: python3 -m unittest test_bicep, in the environment of azure-requirements.txt."""

import os
import tempfile
import unittest
from pathlib import Path

import bicep

APPLICATION = Path(__file__).resolve().parents[2] / "applications" / os.environ.get("APPLICATION", "todo-api")
SOURCE = (APPLICATION / "azure" / "main.bicep").read_text()
TAGS = {"sb-deployment": "sb-test"}
VALUES = {"deployId": "0123456789"} | ({"maxSide": "160"} if "param maxSide" in SOURCE else {})


class Mistakes(unittest.TestCase):
    def check(self, said, before="", after="", values=VALUES):
        changed = SOURCE.replace(before, after, 1) if before else SOURCE
        if before:
            self.assertNotEqual(changed, SOURCE)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "main.bicep"
            path.write_text(changed)
            with self.assertRaisesRegex(bicep.Wrong, said):
                bicep.Template(path).resources(values, TAGS)

    def test_the_template_itself_is_accepted(self):
        made = bicep.Template(APPLICATION / "azure" / "main.bicep").resources(VALUES, TAGS)
        self.assertIn("Microsoft.Web/sites", [type for type, _, _ in made])
        self.assertEqual([TAGS], [tags for type, _, tags in made if type == "Microsoft.Web/sites"])

    def test_symbols_that_nobody_declares(self):
        self.check("not declared: conection", "value: connection }", "value: conection }")
        self.check("not declared: deployID", "${deployId}'", "${deployID}'")
        self.check("not declared: plann", "plan.id", "plann.id")
        self.check("not declared: insight", "= insights.properties", "= insight.properties")

    def test_symbols_that_nobody_uses(self):
        self.check("never used: other", "var tags", "var other = 'x'\nvar tags")

    def test_resources_without_the_tag(self):
        self.check("has no tags", "  tags: tags\n", "")

    def test_what_is_not_bicep(self):
        self.check("cannot be read", "resource plan", "resource plan=")

    def test_parameters(self):
        self.check("without a value: deployId", values={name: value for name, value in VALUES.items() if name != "deployId"})
        self.check("no such parameters: more", values=VALUES | {"more": "1"})
        self.check("deployId is above 14", values=VALUES | {"deployId": "0" * 15})


if __name__ == "__main__":
    unittest.main()
