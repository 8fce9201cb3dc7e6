"""The learner's own trained model, which the lessons open where there is one.

    shown = learners_model()
    head_explorer(shown.model, shown.tokenizer, title=shown.title)

It is the newest whole checkpoint that lesson 07 wrote: of its training on tales, else of its training on the learner's
own text. Before lesson 07 it is the model that comes with the course.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, Notice
from ..models.model import PARTS, MiniLLM
from ..paths import DATA, RUNS
from ..runtime import best_device
from ..text.tokenizer import Tokenizer
from ..training.checkpoint import Checkpoint, checkpoints, load_checkpoint
from . import own_parts

STARTER = "starter-en"
TRAINED = ("07_training", "07_own_text")  # folders in RUNS, the first choice first


@dataclass(frozen=True)
class ShownModel:
    """A model to show. grammar: "en" or "zh" for tales, None for any other text. title: its name for a reader.

    yours: True for a model of the learner, False for the course's starter.
    """

    model: MiniLLM
    tokenizer: Tokenizer
    grammar: str | None
    title: str
    yours: bool


def learners_model(device: str | None = None, grammar: str | None = None) -> ShownModel:
    """The learner's model of lesson 07, else the course's starter, on `device` (None: the best there is).

    grammar: "en" or "zh" takes only a model of these tales, for a lesson that goes on with their words; None takes any.
    A damaged or half-written checkpoint is passed over, and one Notice says so.
    """
    damage = None
    for name in TRAINED:
        for checkpoint in saved_trainings(name):
            try:
                model, tokenizer = load_with_own_parts(checkpoint, device)
            except (CheckpointError, OSError) as error:
                damage = damage or error
                continue
            if grammar in (None, language := grammar_of(tokenizer.corpus_name)):
                return with_notice(ShownModel(model, tokenizer, language, title_of(tokenizer), True), damage)
    model, tokenizer = load_checkpoint(DATA / STARTER, device or best_device())
    language = grammar_of(tokenizer.corpus_name)
    return with_notice(ShownModel(model, tokenizer, language, "the course's starter", False), damage)


def saved_trainings(name: str) -> list[Path]:
    """The checkpoints in RUNS/name and in its numbered neighbours (name-2, name-3), the last written first."""
    folders = [path for path in RUNS.glob(f"{name}*") if re.fullmatch(rf"{name}(-\d+)?", path.name)]
    saved = [checkpoint for folder in folders for checkpoint in checkpoints(folder)]
    return sorted(saved, key=lambda checkpoint: (checkpoint.stat().st_mtime_ns, checkpoint.name), reverse=True)


def load_with_own_parts(checkpoint: Path, device: str | None = None) -> tuple[MiniLLM, Tokenizer]:
    """The model of a checkpoint with the learner's parts that it names; the library's part for one that is gone."""
    names = Checkpoint.open(checkpoint).part_names
    own = own_parts.model_parts() if names else {}
    parts = {name: own.get(name, PARTS.get(name)) for name in names}
    device = device or best_device()
    return load_checkpoint(checkpoint, device, {name: part for name, part in parts.items() if part or name == "model"})


def with_notice(shown: ShownModel, damage: Exception | None) -> ShownModel:
    """The model, after a Notice about a checkpoint that could not be loaded."""
    if damage is not None:
        warnings.warn(f"Here is {shown.title}, because a newer one could not be loaded: {damage}", Notice, 3)
    return shown


def grammar_of(corpus_name: str) -> str | None:
    """The language of a built-in text of tales, by its name; None for any other text.

    >>> grammar_of("400 tales-en, seed 3"), grammar_of("tales-zh"), grammar_of("tales-en of your own grammar")
    ('en', 'zh', None)
    """
    match = re.fullmatch(r"(?:\d+ )?tales-(en|zh)(?:, seed \d+)?", corpus_name)
    return match[1] if match else None


def title_of(tokenizer: Tokenizer) -> str:
    """The name of the learner's model: its lesson, and its text unless that is the tales of the lesson."""
    text = "" if tokenizer.corpus_name == "tales-en" else f", trained on {tokenizer.corpus_name}"
    return f"your model of lesson 07{text}"
