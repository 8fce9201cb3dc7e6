"""More inputs than an exercise has: each case, and each case with one argument changed.

A fact about wrong results is named only if it holds on all of these trials. Then chance does not explain it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .outcomes import Outcome, close, outcome

SCALARS = (bool, int, float)
SMALLER = 50  # a number divided by this reaches where a limit such as grad_clip acts


@dataclass
class Trial:
    """One input with the learner's answer and the right one.

    number: the case that it was made from. changed: the argument that differs from this case; None for the case itself.
    extreme: whether it differs so much that rounding errors may count.
    """

    number: int
    changed: str | None
    case: dict
    answer: Outcome
    right: Outcome
    extreme: bool = False

    @property
    def is_wrong(self) -> bool:
        return not close(self.answer, self.right)


def trials(exercise, work, answers: list[Outcome], right: list[Outcome]) -> list[Trial]:
    """The cases, and after them each case with one argument changed, where the reference has an answer to it."""
    cases = enumerate(zip(exercise.cases, answers, right, strict=True))
    made = [Trial(number, None, case, answer, expected) for number, (case, answer, expected) in cases]
    for number, case in enumerate(exercise.cases):
        for name in case:
            for value in other_values(exercise.cases, number, name):
                changed = {**case, name: value}
                expected = outcome(exercise, exercise.reference, changed)
                if expected.values and not any(x.isnan().any() for x in expected.values):
                    extreme = isinstance(value, float) and value == case[name] / SMALLER
                    made.append(Trial(number, name, changed, outcome(exercise, work, changed), expected, extreme))
    return made


def other_values(cases: list[dict], number: int, name: str) -> list:
    """Other values for an argument: for a number those of other cases, for a tensor or list its own, changed.

    >>> other_values([{"k": 2}, {"k": 2}, {"k": 5}], 0, "k"), other_values([{"ids": [1, 2, 3]}], 0, "ids")
    ([5], [[3, 2, 1], [2, 3, 4]])
    """
    value = cases[number][name]
    if isinstance(value, SCALARS):
        others = [case[name] for case in cases if type(case[name]) is type(value) and case[name] != value]
        return list(dict.fromkeys(others))[:2] + [value / SMALLER] * (isinstance(value, float) and value > 0)
    if isinstance(value, list):
        numbers = all(isinstance(x, SCALARS) for x in value)
        others = [value[::-1], [x * 2 if isinstance(x, float) else x + 1 for x in value] if numbers else value]
        return [other for other in others if other != value]
    if not isinstance(value, Tensor) or not value.dim():
        return []
    other_order = value.flatten().roll(1).reshape(value.shape)
    others = [other_order, next_numbers(value) if value.dtype == torch.int64 else scaled(value)]
    return [other for other in others if not torch.equal(other, value)]


def next_numbers(x: Tensor) -> Tensor:
    """Each whole number plus 1, in place of the largest the smallest. Numbers below 0 stay."""
    return torch.where(x < 0, x, torch.where(x == x.max(), x[x >= 0].min() if (x >= 0).any() else x, x + 1))


def scaled(x: Tensor) -> Tensor:
    """Each number times another factor between 0.7 and 1.3: its sign and its dtype stay."""
    if x.dtype == torch.bool:
        return ~x
    factors = 0.7 + 0.6 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    return (x * factors).to(x.dtype)
