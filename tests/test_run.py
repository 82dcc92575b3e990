"""Tests of the runner of the tests: what it reads, and what it reports of a small workspace.

    python3 tests/test_run.py
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import run

HERE = Path(__file__).resolve().parent
PACKAGE = '[package]\nname = "{}"\nversion = "0.1.0"\nedition = "2024"\n'

# A program with a library and integration tests, and a second crate below it. `k6` is there; `docker` is not.
WORKSPACE = {
    "Cargo.toml": PACKAGE.format("top") + '[workspace]\nmembers = ["crates/one"]\n[[bin]]\nname = "sb"\npath = "src/main.rs"\n',
    "src/main.rs": 'fn main() { println!("here"); }',
    "src/lib.rs": """
        #[cfg(test)]
        mod tests {
            #[test]
            fn same_name() {}
            #[test]
            #[ignore = "needs: alone"]
            fn alone() {
                assert_eq!(std::env::args().filter(|word| word.contains("tests::")).count(), 1);
            }
            #[test]
            #[ignore = "helper: another test starts it"]
            fn helper() { panic!("never by itself") }
        }
    """,
    "tests/integration.rs": """
        #[test]
        fn runs_the_program() {
            assert!(std::process::Command::new(env!("CARGO_BIN_EXE_sb")).status().unwrap().success());
        }
        #[test]
        #[ignore = "needs: k6"]
        fn twin() {}
        #[test]
        #[ignore = "needs: docker, k6"]
        fn with_both() { panic!("there is no docker") }
    """,
    "tests/applications/check.py": """if True:
        import sys
        assert sys.argv[1] == "--sb" and sys.argv[2].endswith("/sb"), sys.argv
        print("skipped: there is no `java`")
        print("applications: 7 passed, 0 failed, 2 skipped")
    """,
    "crates/one/Cargo.toml": PACKAGE.format("one"),
    "crates/one/src/lib.rs": """
        //! ```
        //! assert_eq!(1, 1);
        //! ```
        #[cfg(test)]
        mod tests {
            #[test]
            fn same_name() {
                assert!(std::env::current_dir().unwrap().ends_with("crates/one"));
                assert!(std::env::var("CARGO_MANIFEST_DIR").unwrap().ends_with("crates/one"));
            }
            #[test]
            #[ignore = "needs: docker"]
            fn twin() { panic!("there is no docker") }
            #[test]
            #[ignore = "needs: k6"]
            #[should_panic]
            fn panics() { panic!("as it should") }
        }
    """,
}


class Reading(unittest.TestCase):
    def test_declarations(self):
        self.assertEqual(run.declared("needs: docker"), ["docker"])
        self.assertEqual(run.declared("needs: docker, k6"), ["docker", "k6"])
        self.assertIsNone(run.declared("helper: the test below starts it"))

    def test_needs_are_documented(self):
        table = (HERE.parent / "CONTRIBUTING.md").read_text().split("| word | the test needs |", 1)[1].split("\n\n", 1)[0]
        documented = re.findall(r"^\| `([\w-]+)` \| ", table, re.MULTILINE)
        self.assertEqual(documented, list(run.NEEDS))

    def test_wrong_declarations(self):
        wrong = [None, "", "slow", "needs:", "needs: dokcer", "needs: docker k6", "needs: docker,k6", "needs: k6, k6", "Needs: k6", "helper:"]
        for reason in wrong:
            with self.subTest(reason), self.assertRaises(run.Wrong):
                run.declared(reason)

    def test_ignored_tests(self):
        text = "running 3 tests\ntest a::b ... ignored, needs: k6\ntest c ... ignored\ntest d - should panic ... ignored, needs: node\ntest e ... ok\n"
        self.assertEqual(run.ignored_with_reasons(text), {"a::b": "needs: k6", "c": None, "d": "needs: node"})

    def test_results(self):
        text = (
            "failures:\n\n---- a::b stdout ----\nit broke\n\n\nfailures:\n    a::b\n    c\n\n"
            "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n"
        )
        self.assertEqual(run.results(text), [{"passed": 3, "failed": 2, "ignored": 1}])
        self.assertEqual(run.failures(text), ["a::b", "c"])


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="sb-test-run-"))
        cls.bin = cls.folder / "bin"
        cls.bin.mkdir()
        for program, code in (("docker", 1), ("k6", 0)):
            (cls.bin / program).write_text(f"#!/bin/sh\nexit {code}\n")
            (cls.bin / program).chmod(0o755)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.root = self.folder / "workspace"
        shutil.rmtree(self.root, ignore_errors=True)
        for name, text in WORKSPACE.items():
            self.write(name, text)
        for name in ("run.py", "run.sh"):
            shutil.copy(HERE / name, self.root / "tests" / name)
        shutil.copy(HERE.parent / "rust-toolchain.toml", self.root)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_tests(self, *words):
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        variables = os.environ | {"PATH": path, "CARGO_TARGET_DIR": str(self.folder / "target")}
        variables.pop("RUSTFLAGS", None)
        done = subprocess.run(
            ["sh", "tests/run.sh", *words], cwd=self.root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.returncode, done.stdout

    def check(self, words, code, last, *parts):
        """What the runner ends with, and lines that it prints."""
        ended, text = self.run_tests(*words)
        self.assertEqual((ended, text.splitlines()[-1]), (code, last), text)
        for part in parts:
            self.assertRegex(text, re.compile(part, re.MULTILINE))
        return text

    def test_everything_runs_and_what_a_test_needs_is_held_against_what_is_there(self):
        # Four without needs, one example, three of those with needs, seven of the applications.
        text = self.check(
            [],
            0,
            "tests: 14 passed, 0 failed, 4 skipped",
            r"^skipped: docker \(2 tests\): no Docker engine answers",
            r"^skipped: applications \(2 checks\): there is no `java`$",
            r"^build +\S+ s$",
            r"^unit tests +\S+ s +2 +0 +0$",
            r"^integration tests +\S+ s +1 +0 +0$",
            r"^documentation tests +\S+ s +1 +0 +0$",
            r"^tests with needs +\S+ s +3 +0 +2$",
            r"^applications +\S+ s +7 +0 +2$",
        )
        self.assertNotIn("never by itself", text)

    def test_a_need_chooses_the_tests_that_have_it(self):
        self.check(["k6"], 0, "tests: 2 passed, 0 failed, 1 skipped", r"^skipped: docker \(1 test\): ")

    def test_a_part_runs_alone(self):
        self.check(["unit"], 0, "tests: 2 passed, 0 failed, 0 skipped")
        self.check(["doc"], 0, "tests: 1 passed, 0 failed, 0 skipped")
        self.check(["applications"], 0, "tests: 7 passed, 0 failed, 2 skipped")

    def test_tests_with_needs_are_listed(self):
        code, text = self.run_tests("--list")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"skipped +docker, k6 +top integration: with_both\n")
        self.assertRegex(text, r"runs +k6 +one: tests::panics\n")
        self.assertNotIn("helper", text)

    def test_where_a_chosen_need_is_missing_it_fails(self):
        code, text = self.run_tests("docker")
        self.assertEqual((code, text), (1, "docker: no Docker engine answers (`docker version` fails)\n"))
        code, text = self.run_tests("dokcer")
        self.assertEqual(code, 2)
        self.assertIn("unknown word `dokcer`", text)

    def test_nothing_ran_is_a_failure(self):
        self.write("crates/one/src/lib.rs", "")
        self.check(["doc"], 1, "tests: 0 passed, 0 failed, 0 skipped", "^nothing ran$")

    def test_failures_are_named(self):
        self.write("src/lib.rs", "#[test]\nfn good() {}\n#[test]\nfn bad() { assert_eq!(1, 2); }\n")
        self.write("tests/integration.rs", "#[test]\nfn dies() { std::process::abort(); }\n")
        self.write("tests/more.rs", '#[test]\n#[ignore = "needs: k6"]\nfn bad_too() { panic!() }\n')
        self.write("crates/one/src/lib.rs", "//! ```\n//! assert_eq!(1, 2);\n//! ```\n")
        self.write("tests/applications/check.py", "print('applications: 3 passed, 1 failed, 0 skipped')\nraise SystemExit(1)\n")
        self.check(
            [],
            1,
            "tests: 4 passed, 5 failed, 0 skipped",
            "^failed: top: bad$",
            "^failed: top integration: 1 of 1 tests gave no result; it ended with code -6$",
            "^failed: top more: bad_too$",
            "^failed: documentation: crates/one/src/lib.rs - ",
            "^failed: applications: see above$",
        )

    def test_an_unknown_need_stops_before_anything_runs(self):
        self.write("tests/integration.rs", '#[test]\n#[ignore = "needs: dokcer"]\nfn a() {}\n#[test]\n#[ignore]\nfn b() {}\n')
        text = self.check(
            [],
            1,
            "tests: 0 passed, 2 failed, 0 skipped",
            "^failed: top integration: test `a`: unknown need `dokcer`; known: docker, ",
            "^failed: top integration: test `b`: its reason is ``, not `needs: ",
        )
        self.assertNotIn("Running", text)

    def test_a_build_that_fails_is_a_failure(self):
        self.write("src/main.rs", "fn main() { nothing() }")
        self.check([], 1, "tests: 0 passed, 1 failed, 0 skipped", "^failed: the build$", "cannot find function `nothing`")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
