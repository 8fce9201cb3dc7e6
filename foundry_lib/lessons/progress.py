"""What a learner has done, kept in a file of their own: runs/progress.json. Delete it to begin anew.

It holds predictions, answers, and the source of each exercise that passed its check, so that lesson 05 can build a
model of the learner's own parts. Nothing leaves the machine.
"""

import ast
import inspect
import json
import linecache
import os
import warnings
from contextlib import suppress
from pathlib import Path

from ..console import say
from ..errors import Notice
from ..files import write_whole
from ..paths import RUNS
from .questions import read_questions

FILE = Path(
    os.environ.get("FOUNDRY_PROGRESS", RUNS / "progress.json")
)  # the variable lets the course's own tools run a lesson as one that nobody has begun
KINDS = ("predictions", "answers", "work")
PARTS = {  # of a model, built anew in lesson 05 from the source that is kept: name of the check → its lesson
    "rms_norm": "01",
    "rotary": "02",
    "gqa": "03",
    "swiglu": "04",
    "block": "05",
}


def read() -> dict[str, dict]:
    """All that is kept: kind → name → value. A file that cannot be read is put aside, with a notice."""
    try:
        kept = json.loads(FILE.read_text(encoding="utf-8"))
        return {kind: dict(kept.get(kind, {})) for kind in KINDS}
    except FileNotFoundError:
        pass
    except (ValueError, AttributeError, TypeError):
        taken = len(list(FILE.parent.glob("progress.damaged*.json")))
        aside = FILE.with_suffix(f".damaged{taken or ''}.json")
        os.replace(FILE, aside)
        warnings.warn(f"{FILE.name} could not be read; it is now {aside.name}, and a new one begins.", Notice, 2)
    return {kind: {} for kind in KINDS}


def keep(kind: str, name: str, value):
    """Write one thing down; the file is replaced as a whole, so that it is never half written. Where the folder does
    not take it, a Notice says so: a pass is a pass."""
    kept = read()
    kept[kind][name] = value
    try:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        write_whole(FILE, json.dumps(kept, ensure_ascii=False, indent=1) + "\n", sync=False)
    except OSError as error:
        warnings.warn(
            f"This was not written down: {FILE} cannot be written ({error.strerror or error}). Set the environment "
            f"variable FOUNDRY_PROGRESS to a file in a folder that you may write to.",
            Notice,
            stacklevel=2,
        )


def keep_work(name: str, work):
    """Keep the source of work that passed its check; None where Python keeps no text, and the pass still counts."""
    keep("work", name, source_of(work))


def source_of(work) -> str | None:
    """The text of a function or class. A class of a notebook does not know its cell; its methods do."""
    with suppress(OSError, TypeError):
        return inspect.getsource(work)
    for method in filter(inspect.isfunction, vars(work).values()):
        with suppress(OSError, TypeError, SyntaxError):
            cell = "".join(inspect.findsource(method)[0])
            for node in ast.parse(cell).body:
                if isinstance(node, ast.ClassDef) and node.name == work.__name__:
                    return ast.get_source_segment(cell, node) + "\n"
    return None


def own_work(name: str):
    """The learner's own function or class that passed the check `name`, built again from its source; None without one.

    It sees torch, nn, F, math, Tensor, what foundry_lib exports, and the learner's other kept work, as in the lessons.
    """
    kept = read()["work"]
    if not kept.get(name):
        return None
    import math

    import torch

    import foundry_lib

    known = {n: getattr(foundry_lib, n) for n in foundry_lib.__all__}
    known |= {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math, "Tensor": torch.Tensor}
    for other in [*(other for other in kept if other != name and kept[other]), name]:
        try:
            file = f"<your {other}>"
            linecache.cache[file] = len(kept[other]), None, kept[other].splitlines(keepends=True), file  # for messages
            exec(compile(kept[other], file, "exec"), known)  # the learner's own text, from their own file
        except Exception as error:  # noqa: BLE001
            if other == name:
                warnings.warn(f"Your {name} could not be read back ({type(error).__name__}: {error}).", Notice, 2)
                return None
    return known[defined_name(kept[name])]


def defined_name(source: str) -> str:
    """The name that the first def or class of a source gives."""
    return next(node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef))


def tick(lesson: str):
    """Print the guide's checklist item of a lesson, ticked only where the file holds the evidence for it: each exercise
    of the lesson passed its check, and each exit question was answered right."""
    item, kept = read_questions(lesson)["checklist"], read()
    done = {f"check {name}" for name in kept["work"]}
    done |= {name for name, answer in kept["answers"].items() if isinstance(answer, dict) and answer.get("right")}
    missing = [need for need in item["needs"] if need not in done]
    say(f"{'☐' if missing else '☑'} {item['says']} ({len(item['needs']) - len(missing)} of {len(item['needs'])})")
    if missing:
        say("still to do: " + ", ".join(missing))
