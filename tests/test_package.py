"""The package as a whole: what importing it costs and brings, and which module may import which."""

import ast
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import foundry_lib

PACKAGE = Path(foundry_lib.__file__).parent
MODEL_PARTS = {"norm", "rope", "kv_cache", "linear", "attention", "feed_forward", "loss", "model"}
MAY_IMPORT = {  # inside the package, beside errors; imports go one way
    "config": set(),
    "norm": set(),
    "rope": set(),
    "kv_cache": {"config"},
    "attention": {"config", "kv_cache", "linear", "rope"},
    "linear": set(),
    "feed_forward": {"config", "linear"},
    "loss": {"config"},
    "model": MODEL_PARTS | {"config"},
    "progress": {"quiz"},
    "quiz": {"progress"},
    "plots": set(),
    "textfile": set(),
    "tokenizer": {"corpus", "textfile"},
    "corpus": {"tales", "textfile"},
    "data": {"corpus", "textfile", "tokenizer", "config", "tales", "runtime"},
    "baselines": {"data"},
    "sample": {"config", "tokenizer"},
    "cuda_graphs": {"kv_cache", "model"},
    "runtime": set(),
    "errors": set(),
    "download": set(),
}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found - {"errors"}


def test_imports_go_one_way():
    for name, allowed in MAY_IMPORT.items():
        found = imported_modules(PACKAGE / f"{name}.py")
        assert found <= allowed, f"{name}.py imports {sorted(found - allowed)}"


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
    for path in (PACKAGE / "checks").glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        outside = {n for node in tree if isinstance(node, ast.ImportFrom) and node.level == 2 for n in names(node)}
        assert outside <= {"progress"}, f"checks/{path.name} imports {sorted(outside)}"


def names(node: ast.ImportFrom) -> set[str]:
    return {node.module} if node.module else {alias.name for alias in node.names}


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
    assert callable(foundry_lib.generate)


def test_ruff_finds_nothing():
    command = [sys.executable, "-m", "ruff", "check", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout
