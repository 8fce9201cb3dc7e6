"""How wrong numbers follow from the right ones: a function of them, an argument added to them, another order."""

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from .outcomes import IN_16_BITS, near
from .trials import SCALARS, Trial

FUNCTIONS = {  # the number found as a function f of the expected one x
    "the square of the expected one": torch.square,
    "the root of the expected one": torch.sqrt,
    "e to the power of the expected one": torch.exp,
    "the logarithm of the expected one": torch.log,
    "2 to the power of the expected one": torch.exp2,
    "1 divided by the expected one": torch.reciprocal,
    "1 minus the expected one": lambda x: 1 - x,
    "the expected one without its sign": torch.abs,
    "the expected one with 0 in place of negative numbers": torch.relu,
    "the expected one, rounded to the nearest whole number": torch.round,
    "the expected one, rounded down": torch.floor,
    "the expected one, rounded up": torch.ceil,
    "the tanh of the expected one": torch.tanh,
    "the sigmoid of the expected one": torch.sigmoid,
    "the softmax of the expected ones": lambda x: x.softmax(-1) if x.dim() else x,
    "the log-softmax of the expected ones": lambda x: x.log_softmax(-1) if x.dim() else x,
}
BACK = {  # the expected number as a function of the one found
    "the square of the one found": torch.square,
    "the root of the one found": torch.sqrt,
    "the logarithm of the one found": torch.log,
    "the one found without its sign": torch.abs,
    "the one found with 0 in place of negative numbers": torch.relu,
    "the one found, rounded to the nearest whole number": torch.round,
    "the one found, rounded down": torch.floor,
    "the one found, rounded up": torch.ceil,
    "the softmax of the ones found": lambda x: x.softmax(-1) if x.dim() else x,
}
WITH = {  # the number found from the expected one x and a number or tensor v of the input
    "the expected one plus {}": lambda x, v: x + v,
    "the expected one minus {}": lambda x, v: x - v,
    "the expected one times {}": lambda x, v: x * v,
    "the expected one divided by {}": lambda x, v: x / v,
    "{} minus the expected one": lambda x, v: v - x,
    "{} divided by the expected one": lambda x, v: v / x,
    "the expected one times the root of {}": lambda x, v: x * v**0.5,
    "the expected one divided by the root of {}": lambda x, v: x / v**0.5,
    "the expected one times the square of {}": lambda x, v: x * v**2,
    "the expected one divided by the square of {}": lambda x, v: x / v**2,
}
ORDERS = {
    "in reverse order": lambda x, axis: x.flip(axis),
    "one index too far": lambda x, axis: x.roll(1, axis),
    "one index too early": lambda x, axis: x.roll(-1, axis),
    "with the two halves exchanged": lambda x, axis: x.roll(x.shape[axis] // 2, axis),
}


def relation(exercise, made: list[Trial], value: int) -> str | None:
    """The one rule that gives the learner's numbers from the right ones in all trials; value: which result, from 0.

    Where some trials are right, the rule may hold on the wrong ones only. Then they must be four at least.
    """
    triples = triples_of(made, value)
    if any(found.shape != expected.shape for _, found, expected in triples):
        return None
    wrong = [triple for triple in triples if not near(triple[1], triple[2]).all()]
    numbers = torch.cat([expected.flatten() for _, _, expected in wrong])
    if len(wrong) < 4 or len(numbers[numbers.isfinite()].unique()) < 4:
        return None
    for some, where in ((triples, ""), (wrong, "On every wrong input: ")):
        rules = [words for words, rule in rules_of(exercise, wrong[0], value) if follows(rule, wrong[:1] + some)]
        if rules:
            return where + rules[0] if len(rules) == 1 else None
        back = [(trial, expected, found.double()) for trial, found, expected in some]
        rules = [words for words, function in BACK.items() if follows(lambda _, x, f=function: f(x), back)]
        if rules:
            return f"{where}Every expected number is {rules[0]}." if len(rules) == 1 else None
    return None


def triples_of(made: list[Trial], value: int) -> list[tuple]:
    """(trial, the number or tensor found, the expected one) for each trial that has this result."""
    some = [trial for trial in made if trial.right.values and len(trial.right.values) > value]
    if any(trial.answer.values is None or len(trial.answer.values) <= value for trial in some):
        return []
    return [(trial, trial.answer.values[value], trial.right.values[value].double()) for trial in some]


def linear(made: list[Trial], value: int) -> str | None:
    """Whether every number is the same multiple of the expected one, or that plus or minus a constant."""
    triples = triples_of(made, value)
    if not triples or any(found.shape != expected.shape for _, found, expected in triples):
        return None
    exact = [triple for triple in triples if triple[1].dtype == torch.float64 and triple[1].dim()] or triples
    found = torch.cat([x.double().flatten() for _, x, _ in exact])
    expected = torch.cat([x.flatten() for _, _, x in exact])
    if len(expected.unique()) < 4 or not (found.isfinite().all() and expected.isfinite().all()):
        return None
    low, high = expected.argmin(), expected.argmax()
    slope = ((found[high] - found[low]) / (expected[high] - expected[low])).item()
    offset = (found[low] - slope * expected[low]).item()
    if not follows(lambda _, x: slope * x + offset, triples) or abs(slope) < 1e-6 or abs(offset) < 1e-4:
        return None
    if abs(slope - 1) < 1e-6:
        return f"Every number is {abs(offset):.6g} {'larger' if offset > 0 else 'smaller'} than the expected one."
    if abs(slope + 1) < 1e-6:
        return f"Every number is {offset:.6g} minus the expected one."
    return f"Every number is {slope:.6g} times the expected one, {'plus' if offset > 0 else 'minus'} {abs(offset):.6g}."


def sign_of_the_wrong(made: list[Trial], value: int) -> str | None:
    """Whether all wrong numbers have the opposite sign, and are right without it."""
    triples = triples_of(made, value)
    if any(found.shape != expected.shape for _, found, expected in triples):
        return None
    wrong = [(a[~near(a, b)].double(), b[~near(a, b)]) for _, a, b in triples]
    count = sum(len(a) for a, _ in wrong)
    if count < 12 or not all(torch.allclose(a, -b, rtol=1e-4, atol=1e-6) for a, b in wrong):
        return None
    return "Every wrong number has the opposite sign, and is right without it."


def follows(rule, triples: list) -> bool:
    """Whether the rule gives every number found."""
    for trial, found, expected in triples:
        try:
            target = rule(trial, expected)
        except (RuntimeError, IndexError, KeyError, TypeError, ZeroDivisionError):  # this shape does not allow it
            return False
        if target.shape != found.shape or not near(found, target.double()).all():
            return False
    return True


def rules_of(exercise, triple: tuple, value: int) -> Iterator:
    """(sentence, a function of a trial and the expected numbers) for every rule that is tried."""
    trial, _, expected = triple
    for words, function in FUNCTIONS.items():
        yield f"Every number is {words}.", lambda trial, x, function=function: function(x)
    for other in range(len(trial.right.values)):
        if other != value:
            words = [exercise.value_name(number + 1, trial.case) for number in (value, other)]
            yield (
                f"Here {words[0]} is what {words[1]} should be.",
                lambda trial, x, other=other: trial.right.values[other],
            )
    for name in numbers_of(exercise, trial, expected):
        for words, function in WITH.items():
            yield (
                f"Every number is {words.format(name)}.",
                lambda trial, x, name=name, function=function: function(x, numbers_of(exercise, trial, x)[name]),
            )
    for axis in range(-expected.dim(), 0):
        if expected.shape[axis] > 2:
            for words, function in ORDERS.items():
                where = axis_in_words(exercise, trial, expected, axis)
                yield (
                    f"The numbers are right, but stand {words} along the {where}.",
                    lambda trial, x, axis=axis, function=function: function(x, axis),
                )
    for one, other in combinations(range(-expected.dim(), 0), 2):
        if expected.shape[one] == expected.shape[other] > 1:
            yield (
                f"The numbers are right, but the axes {one} and {other} are exchanged.",
                lambda trial, x, one=one, other=other: x.transpose(one, other),
            )


def axis_in_words(exercise, trial: Trial, expected: Tensor, axis: int) -> str:
    """ "axis T", in letters where a result has them."""
    for letters in exercise.letters_out(trial.case):
        axes = letters.split()
        if len(axes) >= -axis and (len(axes) == expected.dim() or "..." in axes) and axes[axis] != "...":
            return f"axis {axes[axis]}"
    return "last axis" if axis == -1 else f"axis {axis}"


def numbers_of(exercise, trial: Trial, expected: Tensor) -> dict:
    """Name → number or tensor that could be added to a result: arguments, sizes by their letters, and products."""
    numbers = {}
    for name, value in trial.case.items():
        fits = isinstance(value, Tensor) and value.dim() and value.dtype != torch.bool and not value.is_complex()
        if fits and expected.dim() >= value.dim() and expected.shape[-value.dim() :] == value.shape:
            numbers[f"`{name}`"] = value.double()
        elif isinstance(value, SCALARS) and not isinstance(value, bool):
            numbers[f"`{name}`"] = float(value)
    if exercise.shapes:
        sizes = exercise.sizes(trial.case)
        numbers.update({f"the size of axis {letter}": float(n) for letter, n in sizes.items() if isinstance(n, int)})
    if not expected.dim():
        single = [(name, value) for name, value in numbers.items() if isinstance(value, float)]
        for count in (2, 3):
            for some in combinations(single, count):
                product = 1.0
                for _, value in some:
                    product *= value
                numbers[" · ".join(name for name, _ in some)] = product
    return numbers


def by_row(exercise, made: list[Trial], value: int) -> str | None:
    """Whether each token, or each channel, is off by one factor or by one difference of its own."""
    pairs = [
        (found.double(), expected)
        for trial, found, expected in triples_of(made, value)
        if trial.is_wrong and found.shape == expected.shape and found.dtype not in IN_16_BITS
    ]
    pairs = [(a, b) for a, b in pairs if b.dim() > 1 and b.shape[-1] > 2 and b[..., 0].numel() > 2]
    pairs = [(a, b) for a, b in pairs if (a - b).abs().max() > 1e-2 * b.abs().max()]
    if len(pairs) < 3 or not all(a.isfinite().all() and b.isfinite().all() and b.abs().min() > 1e-6 for a, b in pairs):
        return None
    letters = exercise.letters_out(made[0].case)
    last = letters[value].split()[-1] if len(letters) > value else "the last axis"
    for words, off in (("by one factor", [a / b for a, b in pairs]), ("by the same amount", [a - b for a, b in pairs])):
        if all(steady(x, x.flatten()[:1]) for x in off):
            continue
        if all(steady(x, x[..., :1]) for x in off):
            return f"At each position all numbers along {last} are off {words}."
        if all(steady(x, x.flatten(0, -2)[:1]) for x in off):
            return f"Each index of {last} is off {words}, which is the same at all positions."
    return None


def steady(x: Tensor, one: Tensor) -> bool:
    return torch.allclose(x, one.expand_as(x), rtol=1e-3, atol=1e-5)
