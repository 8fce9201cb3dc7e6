"""Predictions, recall and exit questions. The questions, with a reason for every choice, are in questions/.

    predict("01-gain", "?")      # shows the question; replace the ? by your letter and run the cell again
    confront("01-gain")          # after the measurement: which choice is right, and why the others are wrong
    ask("01-exit-1", "?")        # a question that is answered at once

An answer is plain text in the cell: it needs no widget and stays in the learner's notebook.
"""

from ..console import say
from ..errors import ConfigError
from . import progress
from .questions import read_questions

given: dict[str, dict] = {}  # key of a question → the answer of this session


def question(key: str) -> dict:
    """The question with this key, such as "01-exit-1". Raises ConfigError if there is none."""
    entry = read_questions(key.split("-")[0]).get(key)
    if entry is None:
        raise ConfigError(f"There is no question {key!r}.")
    return entry


def choices(entry: dict) -> list[str]:
    """The letters of the choices of a question."""
    return [name for name in entry if len(name) == 1]


def show(entry: dict):
    """Print a question and its choices."""
    say(entry["question"])
    for letter in choices(entry):
        say(entry[letter], f"  {letter}) ")


def read_answer(key: str, answer) -> str | None:
    """The letter of a choice; None for an unanswered question; for anything else None, and a sentence is printed."""
    if answer in ("?", "", None, ...):
        return None
    letter = str(answer).strip().removesuffix(")").lower()  # "b)" counts too, because a choice is printed like this
    if letter not in choices(question(key)):
        print(f"There is no choice {answer!r}; write one of {', '.join(choices(question(key)))}.")
        return None
    return letter


def predict(key: str, answer="?", sure: int | None = None):
    """Show a question before the measurement and store the prediction. sure: 1 a guess, 2 likely, 3 certain."""
    show(question(key))
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
    """After the measurement, print which choice is right and why the others are wrong, and mark the prediction."""
    entry, prediction = question(key), given.get(key)
    say(entry["question"])
    if prediction is None:
        print("You made no prediction.")
    elif prediction["answer"] == entry["right"]:
        print(f"You predicted {prediction['answer']}, and that is what was measured.")
    else:
        sure = " and were certain: read the next lines twice" if prediction["sure"] == 3 else ""
        print(f"You predicted {prediction['answer']}{sure}.")
    for letter in choices(entry):
        mark = "✓" if letter == entry["right"] else "✗"
        you = "  ← you" if prediction and prediction["answer"] == letter else ""
        say(f"{entry[letter]}{you}", f"  {mark} {letter}) ")
        say(entry["why"][letter], " " * 7)


def ask(key: str, answer="?"):
    """Show a question. With an answer, print whether it is right and why, and store it."""
    entry = question(key)
    show(entry)
    letter = read_answer(key, answer)
    if letter is None:
        return print("Not yet: put a letter where the ? is.")
    right = letter == entry["right"]
    given[key] = {"answer": letter, "right": right}
    progress.keep("answers", key, given[key])
    say(entry["why"][letter], f"{'✓' if right else '✗'} {letter}: ")
