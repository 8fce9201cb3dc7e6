"""How a learner's work is judged: the first rung of a ladder that fails gives the message, and names a known mistake.

    interface → shape → dtype → NaN → properties → closeness to the reference

To each message a known mistake is added, where the learner's results are those of this mistake and of no other.

Each exercise has its own reference, in another form than the library's code, so that a check can judge that code too.
"""

import dis
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ...console import folded_lines
from ...shape import Shape
from .. import progress
from ..as_parts import trouble_in_words
from ..traceback_in_words import error_in_words, name_of
from .general import general
from .outcomes import (  # noqa: F401  exercises take `leaves` from here
    IN_16_BITS,
    Outcome,
    close,
    copies,
    has_dtype,
    leaves,
    near,
    ordinal,
    outcome,
    same,
)
from .patterns import pattern
from .trials import trials


@dataclass(frozen=True)
class Verdict:
    """status is "right", "wrong" or "not yet"; message says why, for the learner."""

    status: str
    message: str

    @property
    def passed(self) -> bool:
        return self.status == "right"


@dataclass(frozen=True)
class Exercise:
    """A piece of work and how to judge it. Call it with the work: `checks.rms_norm(my_rms_norm)`.

    usage: how the work is called, for messages. cases: the inputs, each a dictionary name → value, all of different
    shapes. reference: the right answer in another form.
    properties: checks without a reference, message → a function of the work and one case, True where it passes.
    run: calls the work on a case. kind: what the learner hands over, a "function" or a "class".
    case_in_words: describes a case. value_name: names a value of a run's result by its number, counted from 1.
    mistakes: message → a wrong implementation, in the order in which they are tried; `mistake` adds one.
    shapes: the letters of each tensor that goes in and comes out, for messages: "... D, D -> ... D".
    """

    name: str
    usage: str
    cases: list[dict]
    reference: Callable
    properties: dict[str, Callable] = field(default_factory=dict)
    run: Callable = lambda work, case: work(*case.values())
    kind: str = "function"
    case_in_words: Callable = lambda case: describe(case)
    value_name: Callable = lambda number, case: f"the {ordinal(number)} returned value"
    mistakes: dict[str, Callable] = field(default_factory=dict)
    shapes: str = ""

    def mistake(self, work):
        """Decorate a known wrong implementation, whose docstring is the message for the learner.

        The message describes the result and asks a question; it never gives the remedy. Where a property of the
        exercise has the same message, the decorator takes it: `@exercise.mistake(MESSAGE)`.
        """
        if isinstance(work, str):
            return partial(self._add, work)
        return self._add(" ".join((work.__doc__ or "").split()), work)

    def _add(self, message: str, work):
        if message in self.mistakes or not (message or sys.flags.optimize > 1):
            raise ValueError(f"{self.name}: {work.__name__} needs a docstring that no other mistake has: {message!r}")
        if message:  # python -OO has no docstrings; a wrong answer is then judged without the name of its mistake
            self.mistakes[message] = work
        return work

    def __call__(self, work):
        """Print the verdict, and store the learner's work when it passes (`foundry_lib.lessons.progress`)."""
        verdict = self.judge(work)
        library = inspect.isroutine(work) or inspect.isclass(work)  # unless it is of the notebook
        message = verdict.message
        if str(getattr(work, "__module__", None)).startswith("foundry_lib"):  # a lesson judges the library's part too
            message = message.replace(f"✓ {self.name}:", f"✓ {self.name} of foundry_lib:")
        print(folded_lines(message))
        if verdict.status == "not yet" and self.name in progress.PARTS and progress.read()["work"].get(self.name):
            print("  What you wrote earlier passed, and it still runs in your model.")
        if not verdict.passed or (library and getattr(work, "__module__", None) != "__main__"):
            return
        if not library or work.__name__ == "<lambda>":
            use = "have it in your model" if self.name in progress.PARTS else "keep it"
            print(f"  (Work without a name is not kept. Write it with def to {use}.)")
            return
        before = progress.read()["work"].get(self.name)
        left_out = progress.keep_work(self.name, work)
        why = self._why_it_does_not_run() if self.name in progress.PARTS else None
        if self.name in progress.PARTS and not why:
            progress.keep("off", self.name, False)
            print("  It is yours now: from here on it runs in the library's place.")
        if not why:
            return
        print(folded_lines(why))
        if left_out:
            print(folded_lines(f"  It uses {', '.join(left_out)} of this notebook. Pass it in, or make it inside."))
        progress.keep("work", self.name, before)
        print("  The work that passed before stays stored." if before else "  Until then the library's part runs.")

    def _why_it_does_not_run(self) -> str | None:
        """Why the work that was just stored does not run in later lessons; None if it does."""
        source = progress.read()["work"].get(self.name)
        if not source:
            return (
                "  It passes, but Python has no text of it to run in later lessons. Define it with def or class in a "
                "cell of its own, without %%time."
            )
        again = progress.own_work(self.name)
        if again is None:
            return "  Later lessons run it from its stored text, which does not run alone."
        verdict = self.judge(again)
        if not verdict.passed:
            return f"  Later lessons run it from its stored text, and there it fails:\n{verdict.message}"
        trouble = trouble_in_words(self.name, source)
        return trouble and f"  In a model or a training it does not run yet. {trouble}"

    def judge(self, work) -> Verdict:
        """The verdict: right, or the message of the first rung that fails."""
        if not callable(work):
            return self._wrong(f"Hand over the {self.kind} itself, found a value of type {type(work).__name__}.")
        if self.kind == "function" and inspect.isclass(work):
            return self._wrong(f"Hand over the function itself, found the class {work.__name__}.")
        if self.kind == "class" and isinstance(work, torch.nn.Module):
            return self._wrong(f"Hand over the class itself, found one object of class {type(work).__name__}.")
        answers = [outcome(self, work, case) for case in self.cases]
        right = [outcome(self, self.reference, case) for case in self.cases]
        if answers[0].unanswered and is_stub(work):
            todo = empty_method(work) or self.usage
            return Verdict("not yet", f"· {self.name}: not yet. Write {todo}, then run this cell again.")
        for case, answer, expected in zip(self.cases, answers, right, strict=True):
            value_name, wrong_shape = partial(self.value_name, case=case), partial(self.wrong_shape, case)
            message = answer.error or differs_in_form(answer, expected, value_name, wrong_shape)
            if message:
                return self._wrong(message, case, answers, right, work)
        for case, answer in zip(self.cases, answers, strict=True):
            if answer.changed:
                return self._wrong(f"It changed its input {answer.changed} in place.", case, answers, right)
        for case, answer, expected in zip(self.cases, answers, right, strict=True):
            message = not_a_number(answer, expected, partial(self.value_name, case=case))
            if message:
                return self._wrong(message, case, answers, right, work)
        for message, holds in self.properties.items():
            for case in self.cases:
                try:
                    passes = holds(work, copies(case))
                except Exception as error:  # noqa: BLE001  a property may use an input that no case has
                    passes, message = False, error_in_words(error)
                if not passes:
                    return self._wrong(message, case, answers, right, work)
        for case, answer, expected in zip(self.cases, answers, right, strict=True):
            if not close(answer, expected):
                message = first_difference(
                    answer, expected, partial(self.value_name, case=case), self.letters_out(case)
                )
                return self._wrong(message, case, answers, right, work)
        return Verdict("right", f"✓ {self.name}: right on {len(self.cases)} inputs of different shapes.")

    def sizes(self, case: dict) -> dict:
        """The size of each letter of `shapes` in the tensors of a case."""
        sizes: dict = {}
        going_in = [Shape(letters) for letters in self.shapes.split("->")[0].split(",")]
        tensors = [value for value in case.values() if isinstance(value, Tensor)]
        for shape, tensor in zip(going_in, tensors, strict=False):
            shape.bind(tensor.shape, sizes)
        return sizes

    def with_letters(self, case: dict) -> Callable[[int], str]:
        """A function that puts the letters beside a size: 8 → "8 (D)"."""
        sizes = self.sizes(case) if self.shapes else {}
        letters = {n: [x for x, size in sizes.items() if size == n] for n in sizes.values() if isinstance(n, int)}
        return lambda n: f"{n} ({' or '.join(letters[n])})" if n in letters else str(n)

    def letters_out(self, case: dict) -> list[str]:
        """The letters of each returned tensor's axes: "B H T d"; empty where the exercise has none."""
        return [letters.strip() for letters in self.shapes.split("->")[1].split(",")] if self.shapes else []

    def wrong_shape(self, case: dict, number: int, found: tuple, expected: tuple) -> str:
        """What is wrong with the shape of a returned tensor, in letters where the exercise has them."""
        if not self.shapes:
            return f"expected {expected}, found {found}"
        sizes = self.sizes(case)
        coming_out = Shape(self.letters_out(case)[number - 1])
        coming_out.bind(expected, sizes)
        return coming_out.difference(found, sizes)

    def _wrong(self, message: str, case: dict | None = None, answers=(), right=(), work=None) -> Verdict:
        lines = [f"✗ {self.name}{'' if case is None else ', with ' + self.case_in_words(case)}", f"  {message}"]
        reason = (
            self._matching_mistake(answers, right, case, work)
            or (work and general(self, work, answers, right))
            or (message.startswith("Found") and common(answers, right))
        )
        if reason:
            lines.append(f"  {reason}")
        return Verdict("wrong", "\n".join(lines))

    def _matching_mistake(self, answers, right, case: dict | None, work) -> str | None:
        """The message of the one mistake whose results equal the learner's on every case.

        None if there is no such mistake, or more than one. If there is none, the cases in 16 bits are left out, and
        then those in 64 bits too: there, two pieces of work with the same mistake may differ in precision. The last
        attempt is `_on_most_cases`.
        """
        if not answers:
            return None
        theirs = {m: [outcome(self, mistaken, case) for case in self.cases] for m, mistaken in self.mistakes.items()}
        all_cases = tuple(range(len(self.cases)))
        wide = tuple(index for index in all_cases if not has_dtype(self.cases[index], *IN_16_BITS))
        in_32_bits = tuple(index for index in wide if not has_dtype(self.cases[index], torch.float64))
        for indices in dict.fromkeys((all_cases, wide, in_32_bits)):
            some_answers, some_right = ([outcomes[index] for index in indices] for outcomes in (answers, right))
            fitting = []
            for message, outcomes in theirs.items():
                some = [outcomes[index] for index in indices]
                if same(some, some_answers) and not same(some, some_right):
                    fitting.append(message)
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        first = next(i for i in all_cases if self.cases[i] is case)
        words = self._on_most_cases(theirs, answers, right, first)
        return words and self._with_its_share(words, theirs[words], answers, right, work)

    def _on_most_cases(self, theirs: dict, answers, right, first: int) -> str | None:
        """The one mistake that the learner made together with another: it explains most of the wrong results.

        theirs: the results of each mistake. first: the number of the case that the message shows; a mistake that
        explains its result goes before others.
        """
        explained = {}
        for message, outcomes in theirs.items():
            shown = [i for i, (a, b) in enumerate(zip(outcomes, right, strict=True)) if a.values and not close(a, b)]
            equal = [i for i in shown if answers[i].values and close(answers[i], outcomes[i])]
            numbers = [value for i in equal for value in answers[i].values]
            whole = all(value.dim() == 0 and value.item().is_integer() for value in numbers)  # they meet by chance
            if len(equal) >= 2 and 2 * len(equal) >= len(shown) and (not whole or len(equal) >= len(shown) - 1 >= 3):
                explained[message] = first in equal, len(equal), len(shown)
        best = [message for message, counts in explained.items() if counts[:2] == max(explained.values())[:2]]
        if len(best) != 1:
            return None
        return best[0]

    def _with_its_share(self, words: str, theirs: list[Outcome], answers, right, work) -> str | None:
        """A mistake that explains most wrong results, with their number.

        None where some argument is changed and the learner's result never follows the mistake's. Then the two are equal
        on the cases by chance.
        """
        shown = [i for i, outcomes in enumerate(zip(theirs, right, strict=True)) if not close(*outcomes)]
        equal = sum(close(answers[i], theirs[i]) for i in shown)
        follows: dict[str, bool] = {}
        for trial in trials(self, work, answers, right)[len(self.cases) :] if work else ():
            mistaken = outcome(self, self.mistakes[words], trial.case)
            if trial.is_wrong and mistaken.values and not close(mistaken, trial.right):
                follows[trial.changed] = follows.get(trial.changed, False) or close(trial.answer, mistaken)
        if not all(follows.values()):
            return None
        return f"On {equal} of {len(shown)} inputs it gives what this mistake gives: {words}"


def common(answers, right) -> str | None:
    """What all wrong numbers have in common, of those of several results that are wrong."""
    if any(outcome.values is None for outcome in (*answers, *right)) or len({len(o.values) for o in right}) > 1:
        return None
    results = zip(*(zip(a.values, b.values, strict=True) for a, b in zip(answers, right, strict=True)), strict=True)
    wrong = [pairs for pairs in results if not all(near(a, b).all() for a, b in pairs)]
    return pattern(wrong[0]) if len(wrong) == 1 else None


STUB_STEPS = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


def is_stub(work) -> bool:
    """Whether a function, or a method of a class, has an empty body: `...`, pass or NotImplementedError."""
    functions = (
        [work] if inspect.isfunction(work) else filter(inspect.isfunction, getattr(work, "__dict__", {}).values())
    )
    return any(is_empty(function) for function in functions)


def is_empty(function) -> bool:
    """Whether nothing is written yet; a constructor that only calls its parent's counts as empty."""
    steps, names = {step.opname for step in dis.get_instructions(function)}, set(function.__code__.co_names)
    only_parent = function.__name__ == "__init__" and names == {"super", "__init__"}
    return steps <= STUB_STEPS or only_parent or "NotImplementedError" in names


def empty_method(work) -> str | None:
    """The one method of a class that is still empty, where another is written: "the method forward"."""
    methods = [method for method in vars(work).values() if inspect.isfunction(method)] if inspect.isclass(work) else []
    empty = [method.__name__ for method in methods if is_empty(method)]
    return f"the method {empty[0]} too" if len(methods) > 1 == len(empty) else None


def differs_in_form(answer: Outcome, expected: Outcome, value_name: Callable, wrong_shape: Callable) -> str | None:
    """A message where the number of results, a shape or a dtype differs; else None."""
    if answer.wrapped and not expected.wrapped and len(expected.values) == 1:
        comma = " Is there a comma after the value?" if answer.wrapped == "tuple" else ""
        return f"It returned a {answer.wrapped} with one thing in it, expected the thing itself.{comma}"
    if len(answer.values) != len(expected.values):
        what = "result" if any(value.dim() for value in answer.values + expected.values) else "number"
        some = f"{len(answer.values)} {what}{'' if len(answer.values) == 1 else 's'}"
        return f"It returned {some}, expected {len(expected.values)}."
    for number, (a, b) in enumerate(zip(answer.values, expected.values, strict=True), 1):
        which = value_name(number) if len(expected.values) > 1 else "the result"
        if a.shape != b.shape:
            difference = wrong_shape(number, tuple(a.shape), tuple(b.shape))
            return f"Shape of {which}: {difference}" + "." * (not difference.endswith("?"))
        if b.dim() and a.dtype != b.dtype:
            return f"{which[0].upper()}{which[1:]} has dtype {name_of(a.dtype)}, expected {name_of(b.dtype)}."
    return None


def not_a_number(answer: Outcome, expected: Outcome, value_name: Callable[[int], str]) -> str | None:
    """A message where NaN, or infinity where the reference has none, stands in a result; else None."""
    for number, (a, b) in enumerate(zip(answer.values, expected.values, strict=True), 1):
        infinite = (a == torch.inf) & (not b.isinf().any())  # a filter removes tokens by −∞
        bad, name = (a.isnan() & ~b.isnan(), "NaN") if a.isnan().any() else (infinite, "infinity")
        if bad.any():
            position = tuple(bad.nonzero()[0].tolist())
            where = f" at {list(position)}, and in {bad.sum().item()} of {bad.numel()} positions" if position else ""
            which = f" in {value_name(number)}" if len(expected.values) > 1 else ""
            source = (
                "0/0, 0 · ∞, ∞ − ∞ and ∞/∞" if name == "NaN" else "A division by 0 and a number too large for its dtype"
            )
            return f"Found {name}{where}{which}, where a number is expected. {source} give {name}. Which line has one?"
    return None


def first_difference(answer: Outcome, expected: Outcome, value_name: Callable[[int], str], letters=()) -> str:
    """The first wrong number and its index. letters: those of each result's axes, "B H T d"."""
    for number, (a, b) in enumerate(zip(answer.values, expected.values, strict=True), 1):
        bad = ~near(a, b)
        if bad.any():
            position = tuple(bad.nonzero()[0].tolist())
            which = value_name(number) if len(expected.values) > 1 else ""
            axes = letters[number - 1].split() if len(letters) >= number else []
            at = f" at {list(position)}" if position else ""
            at += f" of ({', '.join(axes)})" if position and axes and axes != ["..."] else ""
            at += f" {'in' if position else 'as'} {which}" if which else ""
            share = f", and wrong in {bad.sum().item()} of {bad.numel()} positions" if position else ""
            share += only_at(bad, axes)
            answer_text, expected_text = spelled(a[position].item()), spelled(b[position].item())
            if answer_text == expected_text:  # they differ in a later digit
                answer_text, expected_text = f"{a[position].item():.12g}", f"{b[position].item():.12g}"
            return f"Found {answer_text}{at}, expected {expected_text}{share}."
    return "It differs."


def only_at(bad: Tensor, axes: list[str]) -> str:
    """The indices at which wrong numbers stand, on the first axis that is right elsewhere: ", only at T = 1, 2"."""
    named = [letter for letter in axes if letter != "..."]
    for axis, letter in enumerate(named, bad.dim() - len(named)):
        letter = f"index {axis}" if letter.isdecimal() else letter
        wrong = [index for index in range(bad.shape[axis]) if bad.select(axis, index).any()]
        if 0 < len(wrong) < bad.shape[axis]:
            return f", only at {letter} = {', '.join(map(str, wrong[:6]))}{', …' * (len(wrong) > 6)}"
    return ""


def spelled(value: float) -> str:
    """A number for a message; a count with all its digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.5g}"


def describe(case: dict) -> str:
    """The inputs of a case in one line: shapes of tensors, values of numbers."""
    words = []
    for name, value in case.items():
        if isinstance(value, Tensor):
            dtype = "" if value.dtype in (torch.float32, torch.int64) else f" {name_of(value.dtype)}"
            words.append(f"{name} {tuple(value.shape)}{dtype}")
        else:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words)
