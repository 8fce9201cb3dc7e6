"""Whether a wrong result is the right one for another input: two arguments exchanged, one of them too large by one."""

from collections.abc import Iterator
from itertools import permutations

import torch
from torch import Tensor

from .outcomes import close, outcome
from .trials import SCALARS, Trial


def right_for_another_input(exercise, made: list[Trial]) -> str | None:
    """A change of the arguments with which the right answer is the learner's, in all trials; of several, the first.

    None if there is none, or if fewer than three wrong trials show it.
    """
    first = next((trial for trial in made if trial.is_wrong), None)
    if first is None:
        return None
    tried = sorted(changes_of(first.case), key=lambda change: "axis" in change[0])  # the simpler ones first
    fitting = (words for words, change in tried if fits(exercise, made, first, change))
    words = next(fitting, None)
    return words and f"It would be the right result for {words}."


def fits(exercise, made: list[Trial], first: Trial, change) -> bool:
    """Whether the right answer to the changed input is the learner's; the first wrong trial is asked first."""
    wrong = 0
    for trial in (first, *made):
        if trial.answer.values is None:
            return False
        try:
            case = {**trial.case, **change(trial.case)}
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):  # a change that this input does not allow
            return False
        if not close(trial.answer, outcome(exercise, exercise.reference, case)):
            return False
        wrong += trial.is_wrong
    return wrong > 3  # the first one is counted twice


def changes_of(case: dict) -> Iterator:
    """(words, a function of the case that gives the changed arguments) for every change that is tried."""
    for name, value in case.items():
        for words, changed in changes_of_value(value):
            yield words.format(f"`{name}`"), lambda case, name=name, changed=changed: {name: changed(case[name])}
    for one, other in permutations(case, 2):
        if alike(case[one], case[other]):
            yield f"`{other}` in the place of `{one}`", lambda case, one=one, other=other: {one: case[other]}
            if one < other:
                yield (
                    f"`{one}` and `{other}` exchanged",
                    lambda case, one=one, other=other: {one: case[other], other: case[one]},
                )


def alike(a, b) -> bool:
    """Whether one argument can stand in the place of another."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype
    return type(a) is type(b) and isinstance(a, (*SCALARS, list))


def changes_of_value(value) -> list[tuple]:
    """(words with {} for the argument, a function of its value)."""
    if isinstance(value, bool):
        return [("`not` {}", lambda x: not x)]
    if isinstance(value, int):
        return [("{} + 1", lambda n: n + 1), ("{} − 1", lambda n: n - 1), ("2 · {}", lambda n: 2 * n)]
    if isinstance(value, float):
        return [
            ("{} = 0", lambda x: 0.0),
            ("{} = 1", lambda x: 1.0),
            ("−{}", lambda x: -x),
            ("1 − {}", lambda x: 1 - x),
            ("1 / {}", lambda x: 1 / x),
            ("2 · {}", lambda x: 2 * x),
            ("{} / 2", lambda x: x / 2),
            ("{} squared", lambda x: x**2),
            ("the root of {}", lambda x: x**0.5),
        ]
    if isinstance(value, list):
        return [
            ("{} in reverse order", lambda x: x[::-1]),
            ("{} sorted", lambda x: sorted(x)),
            ("{} without its last entry", lambda x: x[:-1]),
            ("{} without its first entry", lambda x: x[1:]),
        ]
    return changes_of_tensor(value) if isinstance(value, Tensor) and value.dim() else []


def changes_of_tensor(value: Tensor) -> list[tuple]:
    if value.dtype == torch.bool:
        return [("the opposite of {}", torch.logical_not)]
    changes = [
        ("{} in reverse order of its last axis", lambda x: x.flip(-1)),
        ("{} in reverse order of its first axis", lambda x: x.flip(0)),
        ("{} shifted by one along its last axis", lambda x: x.roll(1, -1)),
        ("{} shifted back by one along its last axis", lambda x: x.roll(-1, -1)),
        ("only the first index of the first axis of {}", lambda x: x[:1].expand_as(x)),
    ]
    if not value.is_floating_point():
        return changes if value.is_complex() else [*changes, ("{} + 1", lambda x: x + 1), ("{} − 1", lambda x: x - 1)]
    return [
        *changes,
        ("−{}", torch.neg),
        ("2 · {}", lambda x: 2 * x),
        ("{} / 2", lambda x: x / 2),
        ("1 + {}", lambda x: 1 + x),
        ("{} squared", torch.square),
        ("the size of {} without its sign", torch.abs),
        ("{} with 0 in place of negative numbers", torch.relu),
        ("{} = 0", torch.zeros_like),
        ("{} = 1", torch.ones_like),
        ("the softmax of {}", lambda x: x.softmax(-1)),
    ]
