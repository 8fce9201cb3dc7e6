"""Lessons where a learner runs them: in an odd folder, with cells of the learner's own, and a second time.

One lesson in the ordinary run, all of them with --long. That no lesson reaches another machine is checked wherever a
lesson runs (conftest.py).
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from helpers import LEFT, ROOT, copy_of_course
from nbformat.v4 import new_code_cell

from foundry_lib import runtime
from foundry_lib.instructor import check, report

LESSONS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
SAMPLE = "04_swiglu"
FIRST_CELL = (
    "import pathlib, foundry_lib\nassert pathlib.Path(foundry_lib.__file__).parents[1] == pathlib.Path.cwd().parent"
)
FOREIGN_CELL = "import random, numpy, torch\nrandom.random(), numpy.random.rand(), torch.rand(3)"


@pytest.fixture(params=LESSONS)
def lesson(request):
    if request.param != SAMPLE and not request.config.getoption("--long"):
        pytest.skip("one lesson is the sample; all of them with --long")
    return request.param


def fingerprint(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not set(LEFT) & set(path.parts)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def with_foreign_cells(path: Path) -> Path:
    """The lesson with a cell after each of its own that draws random numbers, beside the lesson."""
    notebook = nbformat.read(path, as_version=4)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            source = FOREIGN_CELL if len(cells) > 2 else FIRST_CELL
            cells.append(new_code_cell(source, metadata={"tags": ["nbval-ignore-output"]}))
    notebook.cells = cells
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    other = path.with_name(f"{path.stem} mine.ipynb")
    nbformat.write(notebook, other)
    return other


def test_twice_in_an_odd_folder_with_cells_of_a_learner(lesson, tmp_path):
    """Seeds belong to generators, so that an extra draw anywhere changes nothing. Both runs
    print what is stored, on the library of their own course, and write into the folder of FOUNDRY_RUNS only."""
    course = copy_of_course(tmp_path / "my course 语言模型", "foundry_lib", "notebooks", "data")
    path = course / "notebooks" / f"{lesson}.ipynb"
    foreign = with_foreign_cells(path)
    before = fingerprint(course)
    for lesson_file in (foreign, path):
        (result,) = check.check([lesson_file], root=course)
        assert result.fault is None, report.text([result])
        assert len(result.records) == result.n_cells and result.compared >= 5
        assert fingerprint(course) == before, "a lesson writes into runs/ and nowhere else"
    if runtime.best_device() == "cpu":  # the headers state the seconds of a processor
        assert result.header == "ok", f"stated {result.stated} s, found {result.computing:.0f} s"


def test_a_lesson_runs_from_its_own_folder(tmp_path):
    """`cd notebooks; pytest 01_rms_norm.ipynb`: the settings of the comparison are found from any working folder."""
    course = copy_of_course(tmp_path)
    folder = "import os, pathlib\nruns = pathlib.Path(os.environ['FOUNDRY_RUNS'])"
    runs = f"{folder}\nruns.mkdir(exist_ok=True)\n(runs / 'mine').mkdir()\nprint('1.25 s')"
    for name in ("one", "two"):  # each lesson has runs of its own: the second one does not find the first one's
        output = nbformat.v4.new_output("stream", name="stdout", text="0.5 s\n")
        cell = new_code_cell(runs, outputs=[output], execution_count=1)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), course / "notebooks" / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "one.ipynb", "two.ipynb"]
    environment = {name: value for name, value in os.environ.items() if name != "FOUNDRY_RUNS"}
    done = subprocess.run(command, cwd=course / "notebooks", capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and re.search(r"\b2 passed", done.stdout), done.stdout
