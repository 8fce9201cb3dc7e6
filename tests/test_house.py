"""The shape of the library: how long its functions and classes are, what stands in a loop, what is written twice."""

import ast
from pathlib import Path

import foundry_lib

PACKAGE = Path(foundry_lib.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = ("models", "tales", "text", "training", "inference")
TABLES = ("lessons/checks/", "tales/english.py", "tales/chinese.py")  # the bank of mistakes, and the words of the tales


def trees():
    for file in FILES:
        name = file.relative_to(PACKAGE).as_posix()
        yield name, ast.parse(file.read_text(encoding="utf-8"))


def lines_of(node) -> int:
    return node.end_lineno - node.lineno + 1


def test_no_function_is_long_and_no_class_does_many_jobs():
    long = []
    for name, tree in trees():
        if name.startswith(TABLES):
            continue
        for node in ast.walk(tree):
            most = {ast.FunctionDef: 45, ast.ClassDef: 160}.get(type(node))
            if most and lines_of(node) > most:
                long.append(f"{name}: {node.name} has {lines_of(node)} lines")
    assert not long, long


def test_the_model_fits_a_few_screens():
    assert sum(len(file.read_text("utf-8").splitlines()) for file in (PACKAGE / "models").glob("*.py")) <= 500


def test_few_names_at_any_level():
    for folder in {file.parent for file in FILES}:
        names = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
        assert len(names) <= 30, f"{folder} has {len(names)} modules and folders"


LATE_IMPORTS = {  # an import inside a function, and the reason for it
    "lessons/prepare_work.py: import nbformat": "it takes 2 s, and most starts of JupyterLab have nothing to sign",
    "lessons/prepare_work.py: from nbformat.sign import NotebookNotary": "the same",
    "runtime.py: import torch": "it sets environment variables that torch reads when it is imported",
    "text/corpus.py: from pydoc_data.topics import topics": "some installations of Python lack it; a sentence says so",
}


def test_imports_stand_at_the_top():
    late = set()
    for name, tree in trees():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        late.add(f"{name}: {ast.unparse(node)}")
    assert late == set(LATE_IMPORTS), late ^ set(LATE_IMPORTS)


def test_no_eight_lines_of_logic_stand_twice():
    places = {}
    for name, tree in trees():
        if name.startswith(TABLES):
            continue
        source = (PACKAGE / name).read_text("utf-8").splitlines()
        code = sorted({n.lineno for n in ast.walk(tree) if isinstance(n, ast.stmt | ast.expr)} - docstrings(tree))
        lines = [(number, source[number - 1].strip()) for number in code]
        lines = [(n, text) for n, text in lines if len(text) > 3 and not text.startswith(("import ", "from "))]
        for start in range(len(lines) - 7):
            block = tuple(text for _, text in lines[start : start + 8])
            places.setdefault(block, []).append(f"{name}:{lines[start][0]}")
    twice = {where[0]: where[1:] for where in places.values() if len(where) > 1}
    assert not twice, twice


def docstrings(tree) -> set[int]:
    """The lines that docstrings take."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= set(range(node.lineno, node.end_lineno + 1))
    return found
