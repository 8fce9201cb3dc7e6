"""The questions of the lessons: one TOML file per lesson, with the right choice and a reason for every choice."""

import tomllib
from functools import cache
from pathlib import Path

from ...errors import ConfigError

FOLDER = Path(__file__).resolve().parent


@cache
def read_questions(lesson: str) -> dict:
    """The questions of a lesson such as "01", and its item of the checklist.

    Raises ConfigError for a lesson without questions.
    """
    file = FOLDER / f"{lesson}.toml"
    if not file.exists():
        raise ConfigError(f"There are no questions for lesson {lesson!r}.")
    return tomllib.loads(file.read_text(encoding="utf-8"))
