"""Lessons where a learner runs them: alone, in an odd folder, without a network, twice, with cells of one's own.

One lesson in the ordinary run, all of them with --long.
"""

import hashlib
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from foundry_lib import runtime
from foundry_lib.instructor import check as lessons_check
from foundry_lib.instructor import report as lessons_report

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
SAMPLE = "04_swiglu"
COURSE = ("conftest.py", "pyproject.toml", "tests/sanitize.cfg", "foundry_lib", "notebooks", "data", "benchmarks")
CUT = """\
import os, socket

connect = socket.socket.connect

def refuse(self, address):
    if self.family == getattr(socket, "AF_UNIX", None) or str(address[0]) in ("127.0.0.1", "::1", "localhost"):
        return connect(self, address)  # a kernel's own channels
    with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
        calls.write(f"{address}\\n")
    raise OSError("the network is cut")

socket.socket.connect = refuse
"""
FOREIGN_CELL = "import random, numpy, torch\nrandom.random(), numpy.random.rand(), torch.rand(3)"
LEFT = ("runs", "__pycache__", ".ipynb_checkpoints")  # where a learner's own work and Python's caches go


@pytest.fixture(params=LESSONS)
def lesson(request):
    if request.param != SAMPLE and not request.config.getoption("--long"):
        pytest.skip("one lesson is the sample; all of them with --long")
    return request.param


def copy_course(folder: Path) -> Path:
    for name in COURSE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def cut_network(folder: Path, monkeypatch) -> Path:
    """No program that is started from now on reaches another machine; what it tried is written into this file."""
    (folder / "cut").mkdir()
    (folder / "cut" / "sitecustomize.py").write_text(CUT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder / "cut"))
    monkeypatch.setenv("CALLS", str(folder / "calls.txt"))
    return folder / "calls.txt"


def fingerprint(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not set(LEFT) & set(path.parts)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(path: Path, course: Path):
    (result,) = lessons_check.check([path], root=course)
    assert result.fault is None, lessons_report.text([result])
    assert len(result.records) == result.n_cells and result.compared >= 5
    return result


def test_alone_in_an_odd_folder_without_a_network_and_twice_the_same(lesson, tmp_path, monkeypatch):
    course = copy_course(tmp_path / "my course 语言模型")
    calls = cut_network(tmp_path, monkeypatch)
    before, texts = fingerprint(course), []
    for _ in range(2):
        result = run(course / "notebooks" / f"{lesson}.ipynb", course)
        if runtime.best_device() == "cpu":  # the headers state the seconds of a processor
            assert result.header == "ok", f"stated {result.stated} s, found {result.computing:.0f} s"
        texts.append([record["found"] for record in result.records if record["compared"]])
        assert fingerprint(course) == before, "a lesson writes into runs/ and nowhere else"
    assert texts[0] == texts[-1]
    assert not calls.exists(), calls.read_text(encoding="utf-8")


def test_the_network_is_really_cut_and_the_copy_really_used(tmp_path, monkeypatch):
    """A test of the test above."""
    course = copy_course(tmp_path / "my course 语言模型")
    calls = cut_network(tmp_path, monkeypatch)
    source = "import socket, foundry_lib\nprint(foundry_lib.__file__)\nsocket.create_connection(('192.0.2.1', 80), 5)"
    path = course / "notebooks" / "probe.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[new_code_cell(source, execution_count=1)]), path)
    (result,) = lessons_check.check([path], root=course)
    assert result.fault["verdict"] == "raises" and "the network is cut" in result.fault["message"]
    assert str(course) in result.records[0]["found"]
    assert "192.0.2.1" in calls.read_text(encoding="utf-8")


def test_cells_of_a_learner_change_no_later_result(lesson, tmp_path):
    """Random numbers are drawn from generators with seeds, so that an extra draw anywhere moves nothing."""
    course = copy_course(tmp_path / "course")
    path = course / "notebooks" / f"{lesson}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells, count = [], 0
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            extra = new_code_cell(FOREIGN_CELL, metadata={"tags": ["nbval-ignore-output"]})
            cells.append(extra)
            cell.execution_count, extra.execution_count = count + 1, count + 2
            count += 2
    notebook.cells = cells
    nbformat.write(notebook, path)
    assert run(path, course).n_cells == count
