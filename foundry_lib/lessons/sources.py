"""The source of a learner's function or class, with everything of the notebook that it uses: it then runs anywhere.

my_gqa, which uses `inf` and `causal_mask` of other cells, becomes one text:

inf = float('inf')
from foundry_lib.models.attention import causal_mask
def my_gqa(q, k, v): ...
"""

import ast
import inspect
import math
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType


def source_of(work) -> str | None:
    """The source of a function or class, from the left edge. For a class in a notebook, Python finds only the cell of
    its methods."""
    with suppress(OSError, TypeError):
        return textwrap.dedent(inspect.getsource(work))
    for method in filter(inspect.isfunction, getattr(work, "__dict__", {}).values()):
        with suppress(OSError, TypeError, SyntaxError):
            cell, number = inspect.findsource(method)
            for node in ast.walk(ast.parse("".join(cell))):
                if isinstance(node, ast.ClassDef) and node.name == work.__name__:
                    first = min([node, *node.decorator_list], key=lambda part: part.lineno).lineno
                    if first <= number < node.end_lineno:  # a cell may have an earlier class of this name
                        return textwrap.dedent("".join(cell[first - 1 : node.end_lineno]))
    return None


def source_with_names(work, known: dict) -> tuple[str | None, list[str]]:
    """The source of `work` after the imports, numbers, functions and classes that it uses, and the names left out.

    known: names that need no line, because whoever runs the source has them.
    A name is left out when its value cannot be written as source: a tensor, a model, a text of another cell.
    """
    lines, left_out = {}, []

    def add(name: str, value):
        if name in lines or known.get(name, lines) is value:
            return
        lines[name] = ""  # a function may use itself
        line, own_name = import_or_value(name, value), getattr(value, "__name__", name)
        source = None if line or not callable(value) else source_of(value)
        if source and own_name not in (name, "<lambda>"):
            add(own_name, value)
            line = f"{name} = {own_name}\n"
        elif source and defines(source, name):
            for other, its_value in names_used(source, notebook_of(value)):
                add(other, its_value)
            line = source
        if not line:
            left_out.append(name)
        del lines[name]
        lines[name] = line or ""  # after what it uses

    source = source_of(work)
    if source is None:
        return None, []
    for name, value in names_used(source, notebook_of(work)):
        if value is not work:
            add(name, value)
    return "".join(filter(None, lines.values())) + source, left_out


def names_used(source: str, notebook: dict) -> Iterator[tuple[str, object]]:
    """The global names in a source that the notebook defines, with their values."""
    scopes, names = [symtable.symtable(source, "work", "exec")], {}
    for scope in scopes:
        scopes += scope.get_children()
        names |= {symbol.get_name(): None for symbol in scope.get_symbols() if symbol.is_global()}
    return ((name, notebook[name]) for name in names if name in notebook)


def defines(source: str, name: str) -> bool:
    """Whether a source is one whole statement that defines `name`; of a lambda Python may find only a part."""
    try:
        node = ast.parse(source).body[0]
    except SyntaxError:
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node]
    return [getattr(target, "name", getattr(target, "id", None)) for target in targets] == [name]


def notebook_of(work: Callable) -> dict:
    """The names around a function or class: those of its notebook, and those of the function in which it was made."""
    methods = [work] if inspect.isfunction(work) else filter(inspect.isfunction, getattr(work, "__dict__", {}).values())
    for function in map(inspect.unwrap, methods):
        around = {}
        for name, place in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # not filled yet
                around[name] = place.cell_contents
        return function.__globals__ | around
    return vars(sys.modules[work.__module__])


def import_or_value(name: str, value) -> str | None:
    """A line that defines `name`, where one line can: an import, or a number, text or list written out.

    >>> import_or_value("inf", math.inf), import_or_value("root", math.sqrt)
    ("inf = float('inf')\\n", 'from math import sqrt as root\\n')
    """
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}\n"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} = float({str(value)!r})\n"
    home, own_name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if home in sys.modules and home != "__main__" and getattr(sys.modules[home], str(own_name), None) is value:
        return f"from {home} import {own_name} as {name}\n"
    with suppress(ValueError, SyntaxError, TypeError):
        if ast.literal_eval(repr(value)) == value:
            return f"{name} = {value!r}\n"
    return None
