"""The package as a whole: what importing it costs and brings, and which module may import which."""

import ast
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PACKAGE, imported_rooms

import foundry_lib

# A file imports its own folder and lower floors. The first four floors are single files; then come folders.
FLOORS = [
    {"paths"},
    {"errors"},
    {"console", "plots"},
    {"config", "inputs", "mode", "runtime", "files", "shape", "tales"},
    {"models", "text"},
    {"training", "inference"},
    {"__init__", "analysis"},
    {"experiments", "lessons"},
    {"panels"},
    {"instructor", "commands"},
    {"__main__"},
]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


def room(file: Path) -> str:
    """The folder of a file, or its own name where it lies in the package's folder."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_go_down_the_floors():
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for target in imported_rooms(file) - {room(file)}:
            if FLOOR[target] >= FLOOR[room(file)]:
                wrong.append(f"{file.relative_to(PACKAGE)} imports {target}")
    assert not wrong, wrong


def test_no_circle_inside_a_folder():
    for folder in sorted({file.parent for file in PACKAGE.rglob("*.py")}):
        files = {file.stem: file for file in folder.glob("*.py") if file.stem != "__init__"}
        edges = {stem: neighbours(file) & set(files) for stem, file in files.items()}
        while leaves := {stem for stem, targets in edges.items() if not targets}:
            edges = {stem: targets - leaves for stem, targets in edges.items() if stem not in leaves}
        assert not edges, f"in {folder.name} these import each other: {edges}"


def neighbours(file: Path) -> set[str]:
    """The files of its own folder that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def child(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_memory_is_kept_for_the_next_step():
    """A training's tensors, some MB each, again and again: the system need not hand out and clear each page anew."""
    code = (
        "import resource, torch; {}"
        "pages = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt; "
        "work = lambda: len([torch.ones(10**6) for _ in range(30)]); "
        "work(); work(); before = pages(); [work() for _ in range(5)]; print(pages() - before)"
    )
    # in three processes of twelve glibc keeps the memory of its own accord; with the setting one tensor may be new
    without = max(int(child(code.format(""))) for _ in range(4))
    with_it = int(child(code.format("import foundry_lib; ")))
    assert with_it < without / 10, f"{with_it} pages with, {without} without"


def test_checks_import_nothing_that_they_judge():
    for path in (PACKAGE / "lessons" / "checks").glob("*.py"):
        outside = imported_rooms(path)
        assert outside <= {"console", "paths", "shape"}, f"checks/{path.name} imports {sorted(outside)}"


def test_import_is_small_and_brings_no_strangers():
    peak, strangers = child(
        "import foundry_lib, sys, psutil; print(psutil.Process().memory_info().rss / 2**20, "
        "[m for m in ('transformers', 'pandas', 'matplotlib', 'IPython', 'ipywidgets') if m in sys.modules])"
    ).split(" ", 1)
    assert float(peak) <= 260, f"{peak} MiB"
    assert strangers == "[]"


def test_threads_wait_passively():
    first = (
        "import os; os.environ.pop('OMP_WAIT_POLICY', None); import foundry_lib.runtime as r; print(r.describe('cpu'))"
    )
    assert "waiting policy passive" in child(first)
    said = child(
        "import os; os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'; import foundry_lib.runtime as r; print(r.describe('cpu'))"
    )
    assert "waiting policy active" in said and "threads" in said  # the user's own setting is kept
    turns = (
        "import os; [os.environ.pop(name, None) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')]; "
    )
    turns += (
        "os.environ.update({}); import foundry_lib; print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')))"
    )
    assert child(turns.format({})) == "1000 0" and child(turns.format({"GOMP_SPINCOUNT": "7"})) == "7 0"
    assert child(turns.format({"OMP_WAIT_POLICY": "ACTIVE"})) == "None None", (
        "nothing is added to the user's own policy"
    )
    late = first.replace("import foundry_lib", "import torch, foundry_lib")
    assert "torch was imported before foundry_lib" in child(late)


def test_public_names_exist():
    for name in foundry_lib.__all__:
        assert getattr(foundry_lib, name) is not None


def test_a_public_name_stays_what_it_is_whatever_is_imported():
    program = (
        "import importlib, pkgutil, foundry_lib\n"
        "before = {name: getattr(foundry_lib, name) for name in foundry_lib.__all__}\n"
        "for module in pkgutil.walk_packages(foundry_lib.__path__, 'foundry_lib.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print([name for name in before if getattr(foundry_lib, name) is not before[name]])"
    )
    assert child(program) == "[]"
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(foundry_lib.__all__), (
        "a module beside the package's face bears the name of a public function"
    )


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_finds_nothing(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "."]
    done = subprocess.run(ruff, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout
