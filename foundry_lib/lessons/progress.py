"""The learner's progress, stored in runs/progress.json. Delete that file to start again.

It holds predictions, answers, the source of each exercise that passed its check, and the parts that are switched off.
The models, trainings and texts of the lessons run these parts (`own_parts`, `own_sampling`). Nothing leaves the
computer.
"""

import ast
import json
import linecache
import math
import os
import re
import warnings
from pathlib import Path

import torch

import foundry_lib

from ..console import say
from ..errors import ConfigError, Notice
from ..files import write_whole
from ..paths import RUNS
from .questions import read_questions
from .sources import source_with_names

# the course's tools set the variable, to run a lesson as for a new learner
FILE = Path(os.environ.get("FOUNDRY_PROGRESS", RUNS / "progress.json"))
KINDS = ("predictions", "answers", "work", "off")
after_keeping = None  # called after each change of the file; the start page is written again then
PARTS = {  # name of a check → its lesson; from their stored source these run in the learner's models and texts
    "rms_norm": "01",
    "rope_table": "02",
    "rotary": "02",
    "gqa": "03",
    "swiglu": "04",
    "block": "05",
    "model": "05",
    "mean_loss": "07",
    "learning_rate": "07",
    "train_step": "07",
    "temperature": "08",
    "top_k": "08",
    "top_p": "08",
    "min_p": "08",
    "generate": "08",
    "kv_cache": "08",
}
WORDS = {  # name of a check → what its part is called in a sentence, on every page
    "rms_norm": "norm",
    "rope_table": "the table of RoPE",
    "rotary": "RoPE",
    "gqa": "grouped attention",
    "swiglu": "SwiGLU",
    "block": "block",
    "model": "whole model",
    "mean_loss": "loss",
    "learning_rate": "learning rate",
    "train_step": "training step",
    "temperature": "temperature",
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "generate": "generation loop",
    "kv_cache": "KV cache",
}


def read() -> dict[str, dict]:
    """The whole file: kind → name → value. A file that cannot be read is renamed, with a Notice.

    Work that is no text counts as passed without a text, as work of which Python has no source.
    """
    try:
        stored = json.loads(FILE.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
        kinds = {kind: dict(stored.get(kind, {})) for kind in KINDS}
        kinds["work"] = {name: text if isinstance(text, str) else None for name, text in kinds["work"].items()}
        return kinds
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError, TypeError):  # OSError: a folder of that name, or no permission to read
        earlier = len(list(FILE.parent.glob("progress.damaged*.json")))
        renamed = FILE.with_suffix(f".damaged{earlier or ''}.json")
        try:
            os.replace(FILE, renamed)
            then = f"It is now {renamed.name}, and a new file begins."
        except OSError as error:
            then = f"It cannot be renamed either ({error.strerror or error})."
        warnings.warn(f"{FILE.name} could not be read. {then}", Notice, 2)
    return {kind: {} for kind in KINDS}


def keep(kind: str, name: str, value):
    """Store one value. The file is replaced in one step, so that it is never half written.

    If the folder cannot be written to, a Notice says so and the lesson continues.
    """
    stored = read()
    stored[kind][name] = value
    try:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        write_whole(FILE, json.dumps(stored, ensure_ascii=False, indent=1) + "\n", sync=False)
    except OSError as error:
        warnings.warn(
            f"This was not stored: {FILE} cannot be written ({error.strerror or error}). Set the environment "
            f"variable FOUNDRY_PROGRESS to a file in a folder that you may write to.",
            Notice,
            stacklevel=2,
        )
    if after_keeping is not None:
        after_keeping()


def switch_off(name: str):
    """Let the library's part run instead of the learner's `name`; a part that passes its check again is switched on.

    Raises ConfigError for a name that is no part.
    """
    require_part(name)
    keep("off", name, True)
    say(f"{name} is switched off: the library's part runs. progress.switch_on({name!r}) brings yours back.")


def switch_on(name: str):
    """Let the learner's part run again. Raises ConfigError for a name that is no part."""
    require_part(name)
    keep("off", name, False)
    say(f"{name} is switched on: yours runs from the next model on.")


def require_part(name: str):
    if not isinstance(name, str) or name not in PARTS:
        raise ConfigError(f"There is no part {name!r}; the parts are {', '.join(PARTS)}.")


def keep_work(name: str, work) -> list[str]:
    """Store the source of work that passed its check, or None where Python has no source: the pass still counts.

    The source holds what the work uses of its notebook; returns the names of values that no source can hold.
    """
    source, left_out = source_with_names(work, names_at_hand())
    keep("work", name, source)
    return left_out


def names_at_hand() -> dict:
    """The names that stored work can use without importing them: torch, nn, F, math, Tensor and foundry_lib's."""
    names = {name: getattr(foundry_lib, name) for name in foundry_lib.__all__}
    return names | {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math, "Tensor": torch.Tensor}


def own_work(name: str):
    """The learner's function or class that passed the check `name`, built from its stored source; None without one."""
    source, file = read()["work"].get(name), f"<your {name}>"
    if not source:
        return None
    names = {"__name__": "__main__", **names_at_hand()}
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file  # shown in error messages
    try:
        exec(compile(source, file, "exec"), names)  # the learner's text, from the learner's file
        return names[defined_name(source)]
    except (Exception, SystemExit) as error:  # noqa: BLE001
        warnings.warn(f"Your {name} could not be read back ({type(error).__name__}: {error}).", Notice, 2)
        return None


def defined_name(source: str) -> str:
    """The name of the last function or class in a source: those before it are used by it.

    >>> defined_name("import math\\n\\ndef my_silu(x):\\n    return x")
    'my_silu'
    """
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)][-1]


def tick(lesson: str):
    """Print the checklist item of a lesson. It is ticked if every exercise of the lesson has passed its check and every
    exit question has a right answer."""
    item, stored = read_questions(lesson)["checklist"], read()
    done = {f"check {name}" for name in stored["work"]}
    done |= {name for name, answer in stored["answers"].items() if isinstance(answer, dict) and answer.get("right")}
    missing = [need for need in item["needs"] if need not in done]
    say(f"{'☐' if missing else '☑'} {item['says']} ({len(item['needs']) - len(missing)} of {len(item['needs'])})")
    if missing:
        say("still to do: " + ", ".join(in_words(need) for need in missing))


def in_words(need: str) -> str:
    """What a checklist asks for, in words.

    >>> in_words("check rms_norm"), in_words("01-exit-2")
    ('exercise rms_norm', 'exit question 2')
    """
    return (
        need.replace("check ", "exercise ")
        if need.startswith("check ")
        else re.sub(r"^\d\d-exit-", "exit question ", need)
    )
