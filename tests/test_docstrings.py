"""The worked examples in docstrings run, and give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import foundry_lib

PACKAGE = Path(foundry_lib.__file__).parent
MODULES = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if ">>>" in file.read_text(encoding="utf-8")
)


def test_many_docstrings_have_an_example():
    assert len(MODULES) >= 12


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed
