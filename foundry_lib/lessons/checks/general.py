"""A diagnosis that needs no list of known mistakes: the first general fact that all trials of a wrong work prove."""

import io
from contextlib import redirect_stdout
from time import process_time

from .only_where import kept, only_at_indices, only_when, only_with
from .other_input import right_for_another_input
from .outcomes import Outcome, near, outcome
from .patterns import one_factor
from .probes import leak, no_effect, unread_end
from .relations import by_row, linear, relation, sign_of_the_wrong, triples_of
from .trials import trials

SLOW = 0.03  # seconds of one run


def general(exercise, work, answers: list[Outcome], right: list[Outcome]) -> str | None:
    """One sentence, or None. Each fact is checked on more inputs than the exercise has.

    The work runs some hundred times more, so what it prints is not shown, and work that is slow is not asked.
    """
    with redirect_stdout(io.StringIO()):
        start = process_time()
        outcome(exercise, work, exercise.cases[0])
        return first_fact(exercise, work, answers, right) if process_time() - start < SLOW else None


def first_fact(exercise, work, answers: list[Outcome], right: list[Outcome]) -> str | None:
    every = trials(exercise, work, answers, right)
    made = [trial for trial in every if not trial.extreme]
    cases = made[: len(answers)]
    if any(trial.answer.values is None for trial in cases):
        return only_when(exercise, made)
    if any(shapes(trial.answer) != shapes(trial.right) for trial in cases):
        return right_for_another_input(exercise, made) or only_when(exercise, made)
    wrong = [number for number in range(max(len(trial.right.values) for trial in made)) if is_wrong(made, number)]
    return (
        no_effect(exercise, every)
        or (same_factor(made, wrong[0]) if len(wrong) == 1 else None)
        or right_for_another_input(exercise, made)
        or next((found for number in wrong if (found := rule_of(exercise, made, number))), None)
        or leak(exercise, work, made)
        or unread_end(exercise, work, made)
        or only_with(exercise, work, made)
        or kept(made)
        or only_when(exercise, made)
        or (by_row(exercise, made, wrong[0]) if wrong else None)
        or (only_at_indices(exercise, made, wrong[0]) if wrong else None)
    )


def same_factor(made, number: int) -> str | None:
    """Whether every number of one result is off by the same factor, in all trials."""
    pairs = [(found.double().flatten(), expected.flatten()) for _, found, expected in triples_of(made, number)]
    finite = all(found.isfinite().all() and expected.isfinite().all() for found, expected in pairs)
    return one_factor(pairs) if pairs and finite and all(len(a) == len(b) for a, b in pairs) else None


def rule_of(exercise, made, number: int) -> str | None:
    """How the numbers of one result follow from the right ones."""
    return linear(made, number) or relation(exercise, made, number) or sign_of_the_wrong(made, number)


def shapes(result: Outcome) -> list:
    return [value.shape for value in result.values]


def is_wrong(made, number: int) -> bool:
    """Whether a result, counted from 0, has wrong numbers in a trial."""
    pairs = [(found, expected) for _, found, expected in triples_of(made, number) if found.shape == expected.shape]
    return any(not near(found, expected).all() for found, expected in pairs)
