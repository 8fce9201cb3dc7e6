"""Predictions, recall and exit questions. The questions, with a reason for every choice, are in questions/.

    predict("01-gain", "?")      # shows the question before the measurement
    confront("01-gain")          # after it: which choice is right, and why the others are wrong
    ask("01-exit-1", "?")        # a question that is answered at once

A click on a choice answers. So does its letter in place of the ?, when the cell runs again. Both are stored in
progress.json. `confront` keeps the answer back until there is a prediction.
"""

from IPython.display import display

from ..errors import ConfigError
from . import progress
from .question_card import SURENESS, QuestionCard, SharedChoices, State, Words
from .questions import read_questions

answered: dict[tuple[str, str], dict] = {}  # kind and key → a record of this session; the file has earlier ones


def question(key: str) -> dict:
    """The question with this key, such as "01-exit-1". Raises ConfigError if there is none."""
    entry = read_questions(key.split("-")[0]).get(key)
    if entry is None:
        raise ConfigError(f"There is no question {key!r}.")
    return entry


def choices(entry: dict) -> dict[str, str]:
    """The choices of a question: letter → text."""
    return {name: text for name, text in entry.items() if len(name) == 1}


def read_answer(key: str, answer) -> str | None:
    """The letter of a choice. None for an unanswered question, and for anything else after a printed sentence."""
    if answer in ("?", "", None, ...):
        return None
    letter = str(answer).strip().removesuffix(")").lower()  # "b)" counts too, because a choice is printed like this
    if letter not in choices(question(key)):
        print(f"There is no choice {answer!r}; write one of {', '.join(choices(question(key)))}.")
        return None
    return letter


# ---- What is stored


def record(kind: str, key: str) -> dict:
    """The stored record of a question, of this session or an earlier one; {} without one."""
    stored = answered.get((kind, key)) or progress.read()[kind].get(key)
    usable = isinstance(stored, dict) and stored.get("answer") in (None, *choices(question(key)))
    return stored if usable else {}


def store(kind: str, key: str, **values):
    answered[kind, key] = values
    progress.keep(kind, key, values)


def is_prediction(stored: dict) -> bool:
    """True if the answer was given before the right one was shown."""
    return stored.get("answer") is not None and not stored.get("after_answer")


def store_prediction(key: str, letter: str, sure: int | None):
    """Store a prediction. After the answer was shown, a prediction stays, and a first one is marked `after_answer`."""
    before = record("predictions", key)
    if not before.get("revealed"):
        store("predictions", key, answer=letter, sure=sure)
    elif not is_prediction(before):
        store("predictions", key, answer=letter, sure=sure, revealed=True, after_answer=True)


def store_answer(key: str, letter: str):
    store("answers", key, answer=letter, right=letter == question(key)["right"])


# ---- What is said about it


def prediction_state(key: str) -> State:
    stored = record("predictions", key)
    letter, sure = stored.get("answer"), stored.get("sure")
    how_sure = f", {SURENESS[sure]}" if sure in (1, 2, 3) else ""
    if letter is None:
        sentences = [
            f'No prediction yet: click a choice, or write its letter in quotes, as in predict("{key}", "a", sure=2).',
            "(sure: 1 is a guess, 2 likely, 3 certain.)",
        ]
    elif stored.get("after_answer"):
        sentences = [f"Noted: {letter}, after the answer was shown. It does not count as a prediction."]
    elif stored.get("revealed"):
        sentences = [f"You predicted {letter}{how_sure}. The answer has been shown, so your prediction stays."]
    else:
        sentences = [f"Noted: {letter}{how_sure}. The cells below will tell. Until then you may change it."]
    return State(letter, sure if sure in (1, 2, 3) else None, sentences)


def answer_state(key: str) -> State:
    letter, entry = record("answers", key).get("answer"), question(key)
    if letter is None:
        return State(None, None, [f'Not yet: click a choice, or write its letter in quotes, as in ask("{key}", "a").'])
    return State(letter, None, [f"{'✓' if letter == entry['right'] else '✗'} {letter}: {entry['why'][letter]}"])


# ---- What a lesson calls


def predict(key: str, answer="?", sure: int | None = None):
    """Show a question before the measurement and store the prediction. sure: 1 a guess, 2 likely, 3 certain."""
    entry, letter = question(key), read_answer(key, answer)
    if sure not in (None, *SURENESS):
        print(f"sure is 1, 2 or 3; {sure!r} was left out.")
        sure = None
    if letter is not None:
        store_prediction(key, letter, sure)
    display(
        QuestionCard(
            entry["question"],
            choices(entry),
            state=lambda: prediction_state(key),
            answer=lambda letter, sure: store_prediction(key, letter, sure),
            with_sureness=True,
        )
    )


def confront(key: str, reveal: bool = False):
    """After the measurement, show which choice is right and why the others are wrong, and mark the prediction.

    Without a prediction the answer stays hidden, unless `reveal` is True.
    """
    entry, stored = question(key), record("predictions", key)
    predicted = is_prediction(stored)
    if not (predicted or reveal):
        how = f'Predict above and run this cell again, or see it without: confront("{key}", reveal=True).'
        return display(Words([("", f"The answer waits for your prediction. {how}")]))
    if not stored.get("revealed"):
        store("predictions", key, **({"answer": None, "sure": None} | stored | {"revealed": True}))
    lines = [("", entry["question"])]
    if predicted and stored["answer"] == entry["right"]:
        lines.append(("", f"You predicted {stored['answer']}, and that is what was measured."))
    elif predicted:
        sure = " and were certain: read the next lines twice" if stored.get("sure") == 3 else ""
        lines.append(("", f"You predicted {stored['answer']}{sure}."))
    for letter, text in choices(entry).items():
        mark = "✓" if letter == entry["right"] else "✗"
        you = " ← you" if predicted and stored["answer"] == letter else ""
        lines += [(f"  {mark} {letter}) ", f"{text}{you}"), (" " * 7, entry["why"][letter])]
    display(Words(lines))


def ask(key: str, answer="?"):
    """Show a question. An answer is stored, and whether it is right and why is shown at once."""
    entry, letter = question(key), read_answer(key, answer)
    if letter is not None:
        store_answer(key, letter)
    display(
        QuestionCard(
            entry["question"],
            choices(entry),
            state=lambda: answer_state(key),
            answer=lambda letter, sure: store_answer(key, letter),
        )
    )


def ask_each(answers: dict[str, str]):
    """Ask several questions that have the same choices, which stand once. answers: key → "?" or a letter."""
    entries = {key: question(key) for key in answers}
    shared = choices(next(iter(entries.values())))
    if any(choices(entry) != shared for entry in entries.values()):
        raise ConfigError(f"These questions do not have the same choices: {', '.join(answers)}. Use ask for each.")
    for key, answer in answers.items():
        letter = read_answer(key, answer)
        if letter is not None:
            store_answer(key, letter)
    asked = {key: entry["question"] for key, entry in entries.items()}
    hint = 'Click a letter in each row, or write it in quotes in place of a "?" and run the cell again.'
    display(SharedChoices(asked, shared, hint, answer_state, store_answer))
