"""What a learner can do after the course: sixteen sentences in four groups, each ticked by what they have done."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, FoundryError
from ..paths import DATA, RUNS
from ..training.checkpoint import Checkpoint, checkpoints
from . import progress
from .questions import read_questions

TRAINED, OWN_TEXT = "a finished training in runs/", "a finished training on a text of yours in runs/"


def of_lesson(lesson: str, kind: str = "") -> tuple[str, ...]:
    """What lesson `lesson` asks for, all of it or only what begins with `kind`: "check …" or "05-exit-…"."""
    try:
        needs = read_questions(lesson)["checklist"]["needs"]
    except (ConfigError, KeyError):  # a lesson without questions, or without a line in the checklist
        return ()
    return tuple(need for need in needs if need.startswith(kind))


@dataclass(frozen=True)
class Item:
    """One sentence, where it is learned, and what shows it. `needs` is empty for a lesson that does not exist yet."""

    says: str
    lesson: str
    needs: tuple[str, ...] = ()


MODEL_PARTS = tuple(f"check {name}" for name, lesson in progress.PARTS.items() if lesson <= "05")
BASIC_PARAMETERS = ("check learning_rate", "check temperature", "check equal_time_steps")  # 07, 08, 09
SAMPLING = ("check temperature", "check top_k", "check top_p", "check min_p")
NEW_FUNCTIONS = ("check min_p", "check accumulation", "check kv_cache")  # another filter, a larger batch, a cache
GROUPS = {
    "Basics": (
        Item("understand the architecture of a transformer", "05", of_lesson("05", "05-exit")),
        Item("explain the four steps of training", "07", of_lesson("07")),
        Item("understand how text is generated, token by token", "08", ("check generate", *of_lesson("08", "08-exit"))),
        Item("adjust the basic parameters", "09", BASIC_PARAMETERS),
    ),
    "Parts": (
        Item("explain what RMSNorm does", "01", of_lesson("01")),
        Item("understand how RoPE encodes a position", "02", of_lesson("02")),
        Item("know how GQA saves parameters and cache", "03", of_lesson("03")),
        Item("understand the gate of SwiGLU", "04", of_lesson("04")),
    ),
    "Practice": (
        Item("train a model", "07", ("check train_step", TRAINED)),
        Item("change a setting and see its effect", "09", of_lesson("09")),
        Item("use sampling strategies", "08", SAMPLING),
        Item("train on a text of your own", "09", ("check bits_per_byte", OWN_TEXT)),
    ),
    "Advanced": (
        Item("read and understand the core code", "05", of_lesson("05", "check")),
        Item("change the architecture", "05", MODEL_PARTS),
        Item("make training faster", "15"),
        Item("add something new", "08", NEW_FUNCTIONS),
    ),
}


def evidence() -> set[str]:
    """Everything that the learner has shown: "check NAME" for a passed check, a key for a right answer, trainings."""
    stored = progress.read()
    shown = {f"check {name}" for name in stored["work"]}
    shown |= {key for key, answer in stored["answers"].items() if isinstance(answer, dict) and answer.get("right")}
    return shown | trainings()


def trainings(runs: Path = RUNS) -> set[str]:
    """TRAINED and OWN_TEXT, where a checkpoint in `runs` shows a training that did all its steps."""
    shown = set()
    for folder in checkpoints(runs):
        try:
            values = Checkpoint.unverified(folder).values
            ended, text = values["step"] >= values["config"]["max_iters"], Path(values["loader"]["file_path"])
        except (FoundryError, KeyError, TypeError):  # damaged, or no training
            continue
        if ended:
            shown.add(TRAINED)
            if text.is_absolute() and not text.is_relative_to(DATA):
                shown.add(OWN_TEXT)
    return shown
