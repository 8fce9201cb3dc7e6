"""Predictions, recall and exit questions. The questions, with a reason for every choice, are in questions/.

    predict("01-gain", "?")      # shows the question; put your letter where the ? is and run the cell again
    confront("01-gain")          # after the measurement: what is right, and why each other choice is not
    ask("01-exit-1", "?")        # a question with instant feedback

Answers are plain text in the cell, so that they work without any widget and stay in your own notebook.
"""

from ..console import say
from ..errors import ConfigError
from . import progress
from .questions import read_questions

given: dict[str, dict] = {}  # the answers of this session


def question(key: str) -> dict:
    found = read_questions(key.split("-")[0]).get(key)
    if found is None:
        raise ConfigError(f"There is no question {key!r}.")
    return found


def choices(asked: dict) -> list[str]:
    return [name for name in asked if len(name) == 1]


def show(asked: dict):
    say(asked["question"])
    for letter in choices(asked):
        say(asked[letter], f"  {letter}) ")


def read_answer(key: str, answer) -> str | None:
    """The letter of a choice; None while it is unanswered, with a sentence about anything else."""
    if answer in ("?", "", None, ...):
        return None
    letter = str(answer).strip().removesuffix(")").lower()  # "b)" as well, as it is printed
    if letter not in choices(question(key)):
        print(f"There is no choice {answer!r}; write one of {', '.join(choices(question(key)))}.")
        return None
    return letter


def predict(key: str, answer="?", sure: int | None = None):
    """Show a question before the measurement, and keep the prediction. sure: 1 a guess, 2 likely, 3 certain."""
    asked = question(key)
    show(asked)
    letter = read_answer(key, answer)
    if letter is None:
        print(f'No prediction yet: put a letter where the ? is, for example predict("{key}", "a", sure=2).')
        return print("(sure: 1 is a guess, 2 likely, 3 certain.)")
    if sure not in (None, 1, 2, 3):
        print(f"sure is 1, 2 or 3; {sure!r} was left out.")
        sure = None
    given[key] = {"answer": letter, "sure": sure}
    progress.keep("predictions", key, given[key])
    print(f"Noted: {letter}{'' if sure is None else f', sure {sure} of 3'}. The cells below will tell.")


def confront(key: str):
    """After the measurement: the right choice, and why each of the others is wrong; your own is marked."""
    asked, mine = question(key), given.get(key)
    say(asked["question"])
    if mine is None:
        print("You made no prediction.")
    elif mine["answer"] == asked["right"]:
        print(f"You predicted {mine['answer']}, and that is what was measured.")
    else:
        sure = " and were certain: read the next lines twice" if mine["sure"] == 3 else ""
        print(f"You predicted {mine['answer']}{sure}.")
    for letter in choices(asked):
        mark = "✓" if letter == asked["right"] else "✗"
        you = "  ← you" if mine and mine["answer"] == letter else ""
        say(f"{asked[letter]}{you}", f"  {mark} {letter}) ")
        say(asked["why"][letter], " " * 7)


def ask(key: str, answer="?"):
    """Show a question; with an answer, say whether it is right and why."""
    asked = question(key)
    show(asked)
    letter = read_answer(key, answer)
    if letter is None:
        return print("Not yet: put a letter where the ? is.")
    right = letter == asked["right"]
    given[key] = {"answer": letter, "right": right}
    progress.keep("answers", key, given[key])
    say(asked["why"][letter], f"{'✓' if right else '✗'} {letter}: ")
