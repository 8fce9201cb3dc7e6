"""Where a result is wrong, and where it is right: on which inputs, at which positions."""

from collections.abc import Iterator
from itertools import permutations

import torch
from torch import Tensor

from .outcomes import Outcome, close, near, outcome
from .trials import SCALARS, Trial


def only_with(exercise, work, made: list[Trial]) -> str | None:
    """What all wrong inputs have, if the same inputs without it give the right result."""
    wrong = [trial for trial in made if trial.changed is None and trial.is_wrong]
    fitting = (words for words, simpler in SIMPLER.items() if all(is_right(exercise, work, t, simpler) for t in wrong))
    return next(fitting, None) if wrong else None


def is_right(exercise, work, trial: Trial, simpler) -> bool:
    """Whether the simpler input gives the right result; False where it is the same input."""
    case = {name: simpler(value) if isinstance(value, Tensor) else value for name, value in trial.case.items()}
    same = all(
        a is b or isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        for a, b in zip(case.values(), trial.case.values(), strict=True)
    )
    expected = outcome(exercise, exercise.reference, case)
    return not same and expected.values is not None and close(outcome(exercise, work, case), expected)


def in_32_bits(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x


def without_ignored(x: Tensor) -> Tensor:
    return x.clamp(min=0) if x.dtype == torch.int64 and (x == -100).any() else x


def without_equal(x: Tensor) -> Tensor:
    """x with a small step between equal numbers."""
    equal = x.is_floating_point() and len(x.unique()) < x.numel()
    return x + 1e-3 * x.abs().max() * torch.linspace(0, 1, x.numel()).reshape(x.shape) if equal else x


def smaller(x: Tensor) -> Tensor:
    return x / (x.abs().max() / 2) if x.is_floating_point() and x.numel() and x.abs().max() > 40 else x


SIMPLER = {
    "In 32 bits the same numbers give the right result. Which line is made for one dtype?": in_32_bits,
    "With a target in the place of each −100 it is right. Where does −100 come in?": without_ignored,
    "Without equal numbers in the input it is right. What should happen to equal ones?": without_equal,
    "With smaller numbers in the input it is right. Which step cannot take large ones?": smaller,
}


def only_when(exercise, made: list[Trial]) -> str | None:
    """The one condition on the numbers of the input that is true in all wrong trials and in no right one."""
    wrong = [trial.is_wrong for trial in made]
    if len(made) < 10 or not 3 <= sum(wrong) <= len(made) - 3:
        return None
    tables = [dict(conditions(exercise, trial, made)) for trial in made]
    fitting = [words for words in tables[0] if [table.get(words) for table in tables] == wrong]
    if fitting:
        return f"It is wrong whenever {fitting[0]}, and right otherwise." if len(fitting) == 1 else None
    true = {words: sum(table.get(words, False) for table in tables) for words in tables[0] if " than " in words}
    narrow = [
        words
        for words, count in true.items()
        if count <= len(made) - 5
        and sum(wrong) >= max(5, 0.7 * count)
        and all(table.get(words) for table, is_wrong in zip(tables, wrong, strict=True) if is_wrong)
    ]
    best = [words for words in narrow if true[words] == min(true[other] for other in narrow)]
    return f"It is wrong only where {best[0]}." if len(best) == 1 else None


def conditions(exercise, trial: Trial, made: list[Trial]) -> Iterator:
    """(words, whether it is so) for each condition on one trial's numbers."""
    numbers = {f"`{name}`": value for name, value in trial.case.items() if isinstance(value, SCALARS)}
    for name, value in numbers.items():
        values = dict.fromkeys(other.case[name.strip("`")] for other in made)
        if len(values) < 5:
            yield from ((f"{name} is {v if isinstance(v, bool) else format(v, 'g')}", value == v) for v in values)
    sizes = exercise.sizes(trial.case) if exercise.shapes else {}
    sizes = {f"the size of axis {letter}": n for letter, n in sizes.items() if isinstance(n, int)}
    numbers = {name: value for name, value in numbers.items() if not isinstance(value, bool)}
    for name, other in permutations({**numbers, **sizes}, 2):
        if name in numbers and (other in sizes or type(numbers[name]) is type(numbers[other])):
            limit = {**numbers, **sizes}[other]
            yield f"{name} is larger than {other}", numbers[name] > limit
            yield f"{name} is smaller than {other}", numbers[name] < limit
            yield f"{name} equals {other}", numbers[name] == limit


def kept(made: list[Trial]) -> str | None:
    """Whether a filter keeps too many tokens, or too few, or the right ones with other scores."""
    wrong = [pairs_of(trial.answer, trial.right) for trial in made if trial.is_wrong]
    pairs = [pair for pairs in wrong for pair in pairs]
    if len(pairs) < 2 or not all(wrong) or not any((b == -torch.inf).any() for _, b in pairs):
        return None
    extra = [(a > -torch.inf) & (b == -torch.inf) for a, b in pairs]
    missing = [(a == -torch.inf) & (b > -torch.inf) for a, b in pairs]
    numbers = torch.cat([a[b == -torch.inf] for a, b in pairs]).unique()
    if len(numbers) == 1 and numbers.isfinite() and any(x.any() for x in extra):
        return f"In place of −∞ there is always {numbers.item():g}. Which number gives the probability 0?"
    too_many, too_few = any(x.any() for x in extra), any(x.any() for x in missing)
    scores = all(near(a, b)[(a > -torch.inf) & (b > -torch.inf)].all() for a, b in pairs)
    if too_many and not too_few and scores:
        return "On every wrong input it keeps the right tokens and some more. Where is the border?"
    if too_few and not too_many and scores:
        return "On every wrong input it removes tokens that should stay, and keeps no wrong one. Where is the border?"
    if not too_many and not too_few:
        return "It keeps the right tokens, but changes their scores. Which scores should come out?"
    return None


def pairs_of(answer: Outcome, right: Outcome) -> list:
    if answer.values is None or [x.shape for x in answer.values] != [x.shape for x in right.values]:
        return []
    return list(zip(answer.values, right.values, strict=True))


INDICES = {  # which of n indices are wrong
    "Only the first index of {} is wrong": lambda n: {0},
    "Only the last index of {} is wrong": lambda n: {n - 1},
    "The first index of {} is right, and all later ones are wrong": lambda n: set(range(1, n)),
    "The last index of {} is right, and all earlier ones are wrong": lambda n: set(range(n - 1)),
    "Only the second half of {} is wrong": lambda n: set(range(n // 2, n)),
    "Only the first half of {} is wrong": lambda n: set(range(n // 2)),
    "Only every second index of {}, from 1, is wrong": lambda n: set(range(1, n, 2)),
    "Only every second index of {}, from 0, is wrong": lambda n: set(range(0, n, 2)),
}


def only_at_indices(exercise, made: list[Trial], value: int) -> str | None:
    """The indices of one axis, in letters, that are wrong on every wrong input, where all others are right."""
    wrong = [pairs_of(t.answer, t.right)[value : value + 1] for t in made if t.is_wrong]
    letters = exercise.letters_out(made[0].case)
    if len(wrong) < 3 or not all(wrong) or len(letters) <= value:
        return None
    axes = letters[value].split()
    bad = [~near(a, b) for ((a, b),) in wrong]
    bad = [x for x in bad if x.any()]
    fitting = []
    for number, letter in enumerate(axes):
        axis = number - len(axes)
        if letter == "...":
            continue
        sets = [({i for i in range(x.shape[axis]) if x.select(axis, i).any()}, x.shape[axis]) for x in bad]
        if len(sets) > 2 and min(n for _, n in sets) > 2:
            fitting += [
                f"{words.format(letter)}, on every wrong input."
                for words, which in INDICES.items()
                if all(indices == which(n) for indices, n in sets)
            ]
    return fitting[0] if len(fitting) == 1 else None
