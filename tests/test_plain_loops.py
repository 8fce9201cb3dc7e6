"""Forward passes and generation loops hold the algorithm only: what they refuse is refused in functions above them."""

import ast
from pathlib import Path

import pytest

import foundry_lib

PACKAGE = Path(foundry_lib.__file__).parent
LOOPS = {"forward", "hidden", "loss", "__call__", "generate_tokens", "generate", "stream", "sample_text"}
FILES = sorted([*PACKAGE.glob("models/*.py"), *PACKAGE.glob("inference/*.py")])


def armour(source: str) -> list[str]:
    """Where a forward pass or a generation loop raises, asserts or catches, as 'name, line'."""
    lines = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and function.name in LOOPS:
            inside = [node for node in ast.walk(function) if isinstance(node, ast.Raise | ast.Try | ast.Assert)]
            lines += [f"{function.name}, line {node.lineno}" for node in inside]
    return lines


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_refusal_inside(file):
    assert armour(file.read_text(encoding="utf-8")) == []


def test_the_loops_are_where_they_are_looked_for():
    functions = {
        node.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert functions >= LOOPS


@pytest.mark.parametrize("line", ["if x is None:\n        raise ValueError", "try:\n        x\n    except KeyError: x"])
def test_a_refusal_would_be_seen(line):
    assert armour(f"def check(x):\n    {line}\n") == []
    assert armour(f"def forward(x):\n    {line}\n") == ["forward, line " + ("3" if "if" in line else "2")]


def test_the_model_stays_short():
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in PACKAGE.glob("models/*.py")) <= 500
