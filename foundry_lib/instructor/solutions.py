"""The solutions that the lessons give, by the name of the check: for tests and benchmarks of the learner's parts."""

import json
import re

from ..lessons import progress
from ..paths import lesson_files


def solutions() -> dict[str, str]:
    """Check → the source of its solution, as it stands folded in a lesson, for every part in `progress.PARTS`."""
    found = {}
    for path in lesson_files():
        cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        checked = dict(re.findall(r"^checks\.(\w+)\(([Mm]y\w+)\)", "\n".join(cells), re.M))
        texts = [
            text
            for cell in cells
            for text in re.findall(r"<summary>Solution</summary>.*?```python\n(.*?)```", cell, re.S)
            if re.search(r"^(def|class) ", text, re.M)
        ]
        by_name = {progress.defined_name(text): text for text in texts}
        found |= {check: with_its_calls(work, by_name) for check, work in checked.items() if check in progress.PARTS}
    return found


def with_its_calls(name: str, texts: dict[str, str]) -> str:
    """The source of a solution, after the solutions of the same lesson that it calls.

    >>> with_its_calls("g", {"f": "def f(x): ...", "g": "def g(x): f(x)"}).split("\\n\\n")
    ['def f(x): ...', 'def g(x): f(x)']
    """
    called = [other for other in texts if other != name and re.search(rf"\b{other}\(", texts[name])]
    return "\n\n".join([*(with_its_calls(other, texts) for other in called), texts[name]])
