"""What CI runs: the lessons beside the tests, and a failure of either is a failure of the whole."""

import os
import shutil
import subprocess

import pytest
from helpers import ROOT

BROWSER = "tests/test_browser.py"
COURSE = """
import os, sys
print("ran", *sys.argv[1:])
code = "LESSONS" if "notebooks" in sys.argv else "TESTS" if "tests" in sys.argv else ""
sys.exit(int(os.environ.get(code, "0")))
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell script for Linux")
@pytest.mark.parametrize("lessons, tests, code", [(0, 0, 0), (1, 0, 1), (0, 1, 1), (130, 1, 130)])
def test_a_failure_of_the_lessons_or_of_the_tests_is_a_failure(lessons, tests, code, tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "course.py").write_text(COURSE, encoding="utf-8")
    (tmp_path / "chromium").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "chromium").chmod(0o755)
    env = dict(os.environ, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", LESSONS=str(lessons), TESTS=str(tests))
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    ran = done.stdout.splitlines()
    assert ran[0] == "ran test --browser --version" and set(ran[1:]) == {f"ran test tests --ignore={BROWSER}", f"ran test notebooks {BROWSER}"}


def test_both_halves_are_all_that_pytest_finds():
    names = {path.parent.name for path in ROOT.glob("*/test_*.py")} | {
        path.parent.name for path in ROOT.glob("*/*.ipynb")
    }
    assert names == {"tests", "notebooks"} and (ROOT / BROWSER).exists()
