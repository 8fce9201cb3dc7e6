"""The deliberate faults: each still applies, the machinery sees one, and it sees none where there is none."""

import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "faults"))
import run  # noqa: E402
from table import FAULTS, Fault  # noqa: E402

SAMPLE = {"bigram line counts what it predicts": "unit", "a changed number": "lesson"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_patch_applies_and_is_python(fault):
    changed = run.patched(fault)
    for file, text in changed.items():
        assert text != (ROOT / file).read_text(encoding="utf-8")
        if file.endswith(".py"):
            compile(text, file, "exec")
    for name in fault.tests.split():
        assert (ROOT / "tests" / f"test_{name}.py").exists(), name
    for number in fault.lessons.split():
        assert list(ROOT.glob(f"notebooks/{number}_*.ipynb")), number


def test_the_list_is_long_and_its_names_are_unique():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 36
    assert {fault.kind for fault in FAULTS} == {"model", "training", "sampling", "tales", "tokenizer", "lesson"}


def test_a_patch_that_does_not_apply_is_refused():
    with pytest.raises(ValueError, match="holds the old text 0 times"):
        run.patched(Fault("model", "x", (("foundry_lib/models/norm.py", "not there", ""),), "", ""))
    with pytest.raises(ValueError, match="holds the old text [2-9] times"):
        run.patched(Fault("model", "x", (("foundry_lib/models/norm.py", "weight", ""),), "", ""))


def small_course(folder: Path) -> Path:
    """What the sample needs of the course: the library, the beginning of a lesson, one test module."""
    for name in ("foundry_lib", "data", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*run.SKIP))
    for name in (
        "conftest.py",
        "pyproject.toml",
        "tests/sanitize.cfg",
        "tests/offline/sitecustomize.py",
        "tests/test_baselines.py",
        "notebooks/01_rms_norm.ipynb",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for neighbour in ("00_setup_check", "02_rope"):  # the first cell of the lesson names them
        shutil.copy(ROOT / f"notebooks/{neighbour}.ipynb", folder / "notebooks")
    lesson = folder / "notebooks/01_rms_norm.ipynb"
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    notebook["cells"] = notebook["cells"][:20]  # as far as the fault, and quick
    lesson.write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@pytest.mark.parametrize("side", ["unit", "lesson"])
def test_a_fault_is_seen_and_a_course_without_one_is_green(side, tmp_path, monkeypatch):
    course = small_course(tmp_path / "course")
    monkeypatch.setattr(run, "forked", run.started_anew)  # this process may have threads
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    found = {}
    for fault in [fault for fault in FAULTS if SAMPLE.get(fault.name) == side] + [Fault("none", "none", (), "", "01")]:
        scratch = run.scratch_copy(tmp_path / fault.name, fault, course)
        quick = Fault(fault.kind, fault.name, fault.changes, "baselines", "01")
        found[fault.name] = run.SIDES[side](scratch, quick)
    assert found.pop("none") is None
    (caught,) = found.values()
    assert ("test_bigram_by_hand" if side == "unit" else "01_rms_norm, cell 5 differs") in caught
    assert before == {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}, "never touched"


def test_the_readme_counts_them():
    readme = (run.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"each of the {len(FAULTS)} deliberate faults" in readme
    table = run.TABLE.read_text(encoding="utf-8")
    assert table == run.table(run.known()), "benchmarks/faults.md is what the command has found"
    assert table.split("\n\n")[2] in readme, "the README shows the table as measured"


def test_the_table_counts_what_was_found():
    found = {
        ("eps outside the root", "unit"): {"caught": "tests/test_model.py::test_x"},
        ("eps outside the root", "lesson"): {"caught": None},
        ("a dying kernel", "lesson"): {"caught": "01_rms_norm, cell 3 dies"},
    }
    text = run.table(found)
    models = sum(fault.kind == "model" for fault in FAULTS)
    assert f"| model | {models} | 1 of 1 | 0 of 1 |" in text and "| lesson | 11 | 0 of 0 | 1 of 1 |" in text
    assert "| model | eps outside the root | test_model.py::test_x | nothing |" in text
    library = sum(fault.kind != "lesson" for fault in FAULTS)
    assert f"| the library | {library} | 1 of 1 | 0 of 1 |" in text


def test_names_are_checked(capsys):
    assert run.main(["no such fault"]) == 2
    assert "eps outside the root" in capsys.readouterr().err
