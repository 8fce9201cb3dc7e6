"""The learner's own parts: what has passed its check runs in the learner's models and trainings.

    parts, own = model_parts(), training_parts()
    trainer = new_trainer("tales-en", parts=parts, own=own)      # MiniLLM(config, **parts), Trainer(…, **own)
    model, tokenizer = load_checkpoint(folder, parts=parts)

Where nothing is stored, or a part is switched off (`progress.switch_off`) or no longer passes, the library's part
stands in.
"""

from collections.abc import Callable

from ..console import folded_lines, say
from . import checks, progress
from .as_parts import LIBRARY, MODEL_PARTS, TRAINING_PARTS, guarded, own_parts, slow_in_words, trouble_in_words


def status() -> list[tuple[str, str, str]]:
    """(name, lesson, "yours" or "the library's") of every part. It reads only the stored progress and runs nothing."""
    stored = progress.read()
    return [
        (name, lesson, "yours" if stored["work"].get(name) and not stored["off"].get(name) else "the library's")
        for name, lesson in progress.PARTS.items()
    ]


def whose(lesson: str) -> str:
    """One line: which of a lesson's parts are the learner's and which the library's."""
    sentences = []
    for who in ("yours", "the library's"):
        parts = [f"{progress.WORDS[name]} ({name})" for name, of, its in status() if of == lesson and its == who]
        if parts:
            sentences.append(f"{who}: {', '.join(parts)}")
    return "; ".join(sentences)


def model_parts() -> dict[str, Callable | None]:
    """Keyword arguments of MiniLLM: the learner's parts, and the library's where there is none.

    Each stored part is judged again. One that does not pass is named, with its message.
    """
    return LIBRARY | own_parts(**{name: stored(name) for name in MODEL_PARTS})


def training_parts() -> dict[str, Callable | None]:
    """The learner's loss, schedule and step, as arguments of Trainer; None for the library's. Judged as model_parts."""
    return {piece: (work := stored(name)) and guarded(name, work) for name, piece in TRAINING_PARTS.items()}


def stored(name: str):
    """The stored work `name`, if it is switched on and passes its check; else None."""
    if progress.read()["off"].get(name):
        return None
    work, exercise = progress.own_work(name), checks.EXERCISES.get(name)
    if work is None or exercise is None:
        return None
    verdict = exercise.judge(work)
    source = progress.read()["work"][name]
    if verdict.passed and (trouble := trouble_in_words(name, source)):
        say(f"{name}: the library's part runs. {trouble}")
        return None
    if verdict.passed:
        slow = slow_in_words(name, source)
        if slow:
            say(f"Your {name} {slow}. progress.switch_off({name!r}) lets the library's run.")
        return work
    say(f"{name}: the library's part runs. Yours no longer passes the check of lesson {progress.PARTS[name]}:")
    print(folded_lines(verdict.message))
    return None
