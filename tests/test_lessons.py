"""What is stored in the lessons, the tool that stores it, and nbval's settings: each of them can fail."""

import ast
import base64
import copy
import json
import os
import re
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree
from pathlib import Path

import nbformat
import pytest
from helpers import ROOT, copy_of_course
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import foundry_lib
from foundry_lib.instructor import refresh

WIDTH = 100  # columns of code; a window of 1,280 pixels shows 107 beside the list of files
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PRIVATE = {
    "absolute path": re.compile(r"(?<![\w.])/(home|root|Users|tmp|private|var/folders)/|\b[A-Za-z]:\\{1,2}\w"),
    "e-mail address": re.compile(r"\b[\w.+-]{1,64}@[\w-]+\.[A-Za-z]{2,}"),
    "token": re.compile(r"[?&]token=\w|\b(hf|ghp|gho)_\w{20}|\bsk-\w{20}"),
}


# ---- What is stored


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list:
    return cell.metadata.get("tags", [])


def texts(output) -> list[str]:
    """An output's text forms; pictures are left out, base64 may spell anything."""
    data = output.get("data", {})
    return [output.get("text", "")] + [str(data[kind]) for kind in data if not kind.startswith("image/p")]


def assigned_names(source: str) -> set[str]:
    """The names that a cell defines or assigns anywhere; lines for IPython (%, !) are left out."""
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias) and node.asname:
            names.add(node.asname)
    return names


def drawn_without_a_word(notebook) -> list[int]:
    """The code cells with a picture and no sentence beside it: none printed, none in words in the cell's own text
    form, and none in the next cell, printed or written."""
    found, number = [], 0
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        number += 1
        beside = [cell, *notebook.cells[place + 1 : place + 2]]
        said = [o for one in beside for o in one.get("outputs", []) if o.get("name") == "stdout"]
        said += [o for o in cell.outputs if not o.get("data", {}).get("text/plain", "<Figure").startswith("<Figure")]
        written = beside[-1].cell_type == "markdown" and not beside[-1].source.startswith("#")
        if any("image/png" in o.get("data", {}) for o in cell.outputs) and not (said or written):
            found.append(number)
    return found


def faults(notebook) -> list[str]:
    """What is wrong with a stored lesson, a sentence for each."""
    found = []
    code = code_cells(notebook)
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("counts are not 1..n: nbval compares nothing in an unrun cell (course.py refresh)")
    if notebook.metadata.get("n_cells") != len(notebook.cells):
        found.append(f"cells: stored with {notebook.metadata.get('n_cells')}, now {len(notebook.cells)}")
    if "widgets" in notebook.metadata:
        found.append("metadata.widgets is stored: random ids, and some viewers refuse the file")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("kernelspec is not python3")
    size = len(nbformat.writes(notebook).encode())
    if size > 2**20:
        found.append(f"size is {size / 2**20:.1f} MiB, over 1 MiB")
    ignored = [cell for cell in code if "nbval-ignore-output" in tags(cell)]
    if len(ignored) > len(code) / 4:
        found.append(f"ignored: {len(ignored)} of {len(code)} code cells, over a quarter")
    printing = [c for c in code if c not in ignored and any(o.get("name") == "stdout" for o in c.outputs)]
    if len(printing) < 5:
        found.append(f"compared: only {len(printing)} cells print something that is compared, not 5")
    if code and statistics.median(cell.source.count("\n") + 1 for cell in code) > 6:
        found.append("median: half of the code cells have more than 6 lines")
    found += [f"plot: code cell {number} has no sentence beside it" for number in drawn_without_a_word(notebook)]
    for number, cell in enumerate(code, 1):
        if len(cell.source.splitlines()) > 25:
            found.append(f"long: code cell {number} has over 25 lines")
        shown = cell.source.splitlines()
        if "getsource" in cell.source:
            shown += "".join(o.get("text", "") for o in cell.outputs).splitlines()
        if max(map(len, shown), default=0) > WIDTH:
            found.append(f"wide: code cell {number} shows code of over {WIDTH} columns, which JupyterLab breaks")
        if "nbval-skip" in tags(cell) or re.search(r"(?m)^\s*#\s*NBVAL_", cell.source):
            found.append(f"skip: code cell {number} is hidden from the comparison (only nbval-ignore-output is used)")
        if "plt.show(" in cell.source:
            found.append(f"show: code cell {number} shows a picture without a reading (plots.show gives it one)")
        if re.search(r"""["']\.\./""", cell.source):
            found.append(f"relative: code cell {number} has a path that holds only in one working folder (paths.DATA)")
        names = assigned_names(cell.source) & set(foundry_lib.__all__)
        if names:
            found.append(f"redefines: code cell {number} gives {sorted(names)} another meaning (write my_…)")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data and data.get("text/plain", "<Figure").startswith("<Figure"):
                found.append(f"reading: code cell {number} stores a picture without a sentence")
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                found.append(f"error: code cell {number} raised {output.ename}")
            for what, pattern in PRIVATE.items():
                if any(pattern.search(text) for text in texts(output)):
                    found.append(f"{what} in the output of code cell {number}")
    return found


def test_the_lessons_are_there():
    names = {path.stem for path in LESSONS}
    assert {"00_setup_check", "07_training", "08_sampling"} <= names


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_is_stored_well(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not faults(notebook)
    assert path.stat().st_size <= 2**20


def good_lesson():
    cells = [new_markdown_cell("# A lesson")]
    for count in range(1, 9):
        output = new_output("stream", name="stdout", text=f"{count}\n")
        cells.append(new_code_cell(f"print({count})", execution_count=count, outputs=[output]))
    return new_notebook(cells=cells, metadata=copy.deepcopy(refresh.METADATA | {"n_cells": len(cells)}))


def strip(notebook):
    for cell in code_cells(notebook):
        cell.execution_count, cell.outputs = None, []


def set_source(source):
    return lambda notebook: notebook.cells[3].update(source=source)


def set_output(*outputs):
    def change(notebook):
        notebook.cells[3].update(outputs=list(outputs))
        if "image/png" in outputs[0].get("data", {}):
            notebook.cells[4].update(outputs=[])  # the next cell says nothing either

    return change


def printed(text):
    return set_output(new_output("stream", name="stdout", text=text))


def tag(name, count):
    return lambda notebook: [cell.metadata.update(tags=[name]) for cell in code_cells(notebook)[:count]]


FAULTS = {
    "wide": (set_source("x = " + 100 * "1"), "wide: code cell 3"),
    "wide source": (
        lambda nb: set_source("print(getsource(f))")(nb) or printed("def f():\n" + 101 * " ")(nb),
        "wide: code cell 3",
    ),
    "stripped": (strip, "counts are not 1..n"),
    "run out of order": (lambda nb: nb.cells[2].update(execution_count=9), "counts are not 1..n"),
    "a cell removed": (lambda nb: nb.cells.pop(0), "cells: stored with 9, now 8"),
    "widget state": (lambda nb: nb.metadata.update(widgets={}), "metadata.widgets"),
    "other kernel": (lambda nb: nb.metadata.kernelspec.update(name="mine"), "kernelspec"),
    "large": (printed("x" * 2**20), "size is 1.0 MiB"),
    "much ignored": (tag("nbval-ignore-output", 3), "ignored: 3 of 8"),
    "little compared": (lambda nb: [c.update(outputs=[]) for c in code_cells(nb)[4:]], "compared: only 4"),
    "skipped": (tag("nbval-skip", 1), "skip: code cell 1"),
    "skipped in a comment": (set_source("# NBVAL_IGNORE_OUTPUT\nprint(3)"), "skip: code cell 3"),
    "long": (set_source("x = 1\n" * 26), "long: code cell 3"),
    "all cells long": (lambda nb: [c.update(source="x = 1\n" * 7) for c in code_cells(nb)], "median"),
    "class redefined": (set_source("class RMSNorm:\n    pass"), "redefines: code cell 3 gives ['RMSNorm']"),
    "function redefined": (set_source("%time\ndef generate():\n    pass"), "redefines"),
    "name assigned": (set_source("for MiniLLM in []:\n    pass"), "redefines"),
    "name imported": (set_source("from torch.nn import RMSNorm as RMSNorm"), "redefines"),
    "picture without a word": (
        set_output(new_output("display_data", {"image/png": "", "text/plain": "<Figure size 640x480>"})),
        "plot: code cell 3",
    ),
    "picture without a reading": (
        set_output(new_output("display_data", {"image/png": "", "text/plain": "<Figure size 640x480>"})),
        "reading: code cell 3",
    ),
    "picture of pyplot": (set_source("plt.plot([1])\nplt.show()"), "show: code cell 3"),
    "relative path": (set_source("open('../data/x')"), "relative: code cell 3"),
    "error": (
        set_output(new_output("error", ename="ValueError", evalue="", traceback=[])),
        "raised ValueError",
    ),
    "home": (printed("saved in /home/someone/runs"), "absolute path"),
    "Windows home": (printed(r"saved in C:\Users\someone"), "absolute path"),
    "path in a repr": (
        set_output(new_output("display_data", {"text/plain": "PosixPath('/tmp/x')"})),
        "absolute path",
    ),
    "mail": (printed("ask some.one@example.org"), "e-mail address"),
    "address with token": (printed("http://localhost:8888/lab?token=0123"), "token in"),
}


def test_a_good_lesson_has_no_faults():
    lesson = good_lesson()
    tag("nbval-ignore-output", 2)(lesson)
    lesson.cells[3].outputs.append(new_output("display_data", {"image/png": "/tmp/", "text/plain": "a/tmp/ and 3/4"}))
    assert not faults(lesson)
    set_source("from foundry_lib import RMSNorm, generate\nmodel = my_RMSNorm = RMSNorm(8)")(lesson)
    assert not faults(lesson)
    set_output(new_output("error", ename="ValueError", evalue="", traceback=[]))(lesson)
    lesson.cells[3].metadata["tags"] = ["raises-exception"]
    assert not faults(lesson)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name):
    lesson = good_lesson()
    break_it, sentence = FAULTS[name]
    break_it(lesson)
    assert [fault for fault in faults(lesson) if sentence in fault], faults(lesson)


# ---- The tool that stores it

LIVE_FIGURE = """\
import base64, io, ipywidgets, matplotlib.image, numpy

def png(value):
    file = io.BytesIO()
    matplotlib.image.imsave(file, numpy.full((2, 2), value), vmin=0, vmax=9, format="png")
    return file.getvalue()

class Figure(ipywidgets.VBox):
    def __init__(self):
        self.image = ipywidgets.Image(value=png(0))
        super().__init__([ipywidgets.IntSlider(), self.image])

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        picture = base64.b64encode(self.image.value).decode()
        return {**data, "image/png": picture, "text/plain": "a live figure"}, {"moves": MOVES}

figure = Figure()
display(figure)
for value in range(1, 8):
    figure.image.value = png(value)"""


def write_notebook(path: Path, *sources: str) -> Path:
    cells = [new_markdown_cell("# A lesson", id="title")]
    cells += [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources, 1)]
    cells[-1].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": {}, "authors": ["me"]}), path)
    return path


def test_refresh_stores_outputs_and_the_last_frame(tmp_path, monkeypatch, capsys):
    in_its_folder = "import pathlib, sys; print(sorted(p.name for p in pathlib.Path().glob('*.txt')), '的')"
    plot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    panel = f"MOVES = False\n{LIVE_FIGURE}"  # its picture stays the one that its text was made for
    moving = f"MOVES = True\n{LIVE_FIGURE}"
    is_last, python = "figure.image.value = png(9); figure.image.value == png(9)", "import sys; sys.executable"
    moving += "\nfrom foundry_lib.paths import RUNS\nassert not RUNS.exists()  # as for a new learner"
    path = write_notebook(tmp_path / "课 1.ipynb", panel, moving, in_its_folder, plot, is_last, python)
    (tmp_path / "here.txt").write_text("", encoding="utf-8")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("FOUNDRY_RUNS", str(tmp_path))
    assert refresh.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "text changed in code cells 1, 2, 3, 4, 5, 6" in printed and " KiB" in printed, printed
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = code_cells(notebook)
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6]
    assert notebook.metadata == refresh.METADATA | {"n_cells": len(notebook.cells)} and not code[-1].metadata
    assert code[2].outputs[0].text == "['here.txt'] 的\n"
    assert base64.b64decode(code[3].outputs[0].data["image/png"]).startswith(b"\x89PNG"), "drawn inline"
    assert eval(code[5].outputs[0].data["text/plain"]) == sys.executable, "a kernel of this environment"

    panel, moved = (cell.outputs[0] for cell in code[:2])
    for figure, value in ((panel, 0), (moved, 7)):  # 9 is what a later cell shows
        assert set(figure.data) == {"image/png", "text/plain"}, "the random widget id is gone"
        assert base64.b64decode(figure.data["image/png"]) == frame(value) != frame(9)
        assert "moves" not in figure.metadata

    before = path.read_bytes()
    assert before.endswith(b"}\n") and b"\r" not in before
    text = before.decode("utf-8").replace("['here.txt'] 的", "['there.txt'] 的")
    path.write_text(text, encoding="utf-8", newline="\n")
    assert refresh.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "text changed in code cells 3\n" in printed, printed
    assert "  code cell 3\n    --- before\n    +++ now\n" in printed
    assert "    -['there.txt'] 的\n    +['here.txt'] 的\n" in printed, "the lines that changed are shown"
    assert path.read_bytes() == before, "all else is the same, to the byte"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_progress_line_is_stored(path):
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if refresh.is_progress(output)]


def test_a_progress_line_is_recognised_with_and_without_its_carriage_returns():
    line = "training  67 %|█████████████▎      | 200 of 300, 00:18 < 00:09"
    for text in (f"\r{line}", f"{line}\n"):
        assert refresh.is_progress(new_output("stream", name="stderr", text=text))
        assert not refresh.is_progress(new_output("stream", name="stdout", text=text))
    assert not refresh.is_progress(new_output("stream", name="stderr", text="a warning: 5 % of the text\n"))


def frame(value: int) -> bytes:
    names = {}
    exec(LIVE_FIGURE.split("class")[0], names)  # the notebook's own png()
    return names["png"](value)


def test_the_command_says_what_is_the_same_and_leaves_a_file_whose_cell_raises(tmp_path):
    same = write_notebook(tmp_path / "same.ipynb", "x = 1")
    path = write_notebook(tmp_path / "wrong.ipynb", "print(1)", "wanted = 5\nassert wanted == 6, 'six is wanted'")
    before = path.read_bytes()
    command = [sys.executable, "-m", "foundry_lib.instructor.refresh", str(same), str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert done.returncode == 1 and "same text as before" in done.stdout
    assert all(words in done.stderr for words in ("wanted = 5", "six is wanted", "the file is as it was"))
    assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == [same, path]


def test_lessons_are_found_by_name(tmp_path):
    one, two = (write_notebook(tmp_path / f"{name}.ipynb", "1") for name in ("01_one", "02_two"))
    assert refresh.find_lessons([], tmp_path) == [one, two]
    assert refresh.find_lessons(["02_two", "01_one.ipynb", str(one)], tmp_path) == [two, one, one]
    with pytest.raises(ValueError, match="no lesson '03'; the lessons are 01_one, 02_two"):
        refresh.find_lessons(["03"], tmp_path)
    assert refresh.find_lessons(["2"], tmp_path) == [two]
    assert refresh.find_lessons(["02", "01_o"], tmp_path) == [two, one], "a beginning is enough where it is of one name"
    with pytest.raises(ValueError, match="no lesson '0'"):
        refresh.find_lessons(["0"], tmp_path)
    longer = write_notebook(tmp_path / "01_one_more.ipynb", "1")
    with pytest.raises(ValueError, match="'01' could be any of 01_one, 01_one_more"):
        refresh.find_lessons(["01"], tmp_path)
    assert refresh.find_lessons(["01_one", "01_one_"], tmp_path) == [one, longer], "a whole name is that lesson"
    assert refresh.main(["no-such-lesson"]) == 2


# ---- The comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Small lessons with our settings, stored by refresh, some different afterwards, run by plain pytest."""
    course = copy_of_course(tmp_path_factory.mktemp("course"))
    noisy = "import sys, os, time\nprint(os.getpid(), file=sys.stderr)\n"
    noisy += "print(object(), f'{time.time() % 9:.3f} s')"
    sources = {
        "good": "print(4.5678)",
        "noise": noisy,
        "number": "import os; print(4.5678 if 'REFRESH' in os.environ else 4.5679)",
        "raises": "import os; assert 'REFRESH' in os.environ",
        "picture": (
            "import os, matplotlib.pyplot as plt\nif 'REFRESH' in os.environ:\n    plt.plot([1])\n    plt.show()"
        ),
        "dies": "import os; 'REFRESH' in os.environ or os._exit(1)",
    }
    os.environ["REFRESH"] = "1"
    for name, source in sources.items():
        refresh.refresh(write_notebook(course / "notebooks" / f"{name}.ipynb", source))
    del os.environ["REFRESH"]
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=course, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 1, done.stdout
    report = xml.etree.ElementTree.parse(course / "report.xml").getroot()
    results = {}
    for case in report.iter("testcase"):
        name = re.search(r"(\w+)(\.ipynb)?$", case.get("classname"))[1]
        failed = case.find("failure")
        results[name] = (None if failed is None else failed.text, float(case.get("time")))
    assert set(results) == set(sources), results
    return results, time.monotonic() - started


@pytest.mark.parametrize("name", ["good", "noise"])
def test_an_unchanged_lesson_passes(compared, name):
    assert compared[0][name][0] is None, compared[0][name][0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("number", "4.5679"),
        ("raises", "AssertionError"),
        ("picture", "Missing output fields"),
        ("dies", "kernel died"),
    ],
)
def test_a_changed_lesson_fails_and_says_why(compared, name, sentence):
    assert sentence in (compared[0][name][0] or "passed")


def test_a_dead_kernel_is_seen_at_once(compared):
    results, whole = compared
    assert results["dies"][1] < 30 and whole < 200


def test_nbval_is_strict_and_complete():
    """Nothing in the settings hides a lesson or a cell from the comparison."""
    import tomllib

    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests", "notebooks"]
    assert "--nbval " in options["addopts"] and "lax" not in options["addopts"]
    text = (ROOT / "tests" / "sanitize.cfg").read_bytes()
    assert text.isascii(), "nbval reads this file in the machine's encoding"
    patterns = re.findall(r"(?m)^regex: (.*)$", text.decode())
    for kept in (
        "loss 2.3456",
        "(2, 3, 64)",
        "65,536 parameters",
        "[1, 29, 3]",
        "0.25",
        "8 heads",
        "step 300",
    ):
        assert not [pattern for pattern in patterns if re.search(pattern, kept)], f"{kept!r} would not be compared"
    assert json.dumps(refresh.METADATA["language_info"]) == '{"name": "python"}'
