"""What a learner's work gives on one case: tensors, or an error in words; and when two results are equal."""

import re
from copy import copy
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from ..traceback_in_words import error_in_words, line_of
from .torch_errors import torch_error_in_words

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
IN_16_BITS = (torch.float16, torch.bfloat16)


@dataclass
class Outcome:
    """The result of work on one case: tensors, or the error that it raised."""

    values: list[Tensor] | None = None
    wrapped: str | None = None  # "tuple" or "list", where the result is one value inside a tuple or list
    error: str | None = None
    kind: str | None = None
    words: str | None = None  # the beginning of the error's text, up to a part that differs between cases
    numbers: tuple[str, ...] = ()  # all numbers in the error's text, sorted
    unanswered: bool = False
    changed: str | None = None


def outcome(exercise, work, case: dict) -> Outcome:
    """Run the work on a copy of the case. An exception becomes a message with its line; it is not raised."""
    given = copies(case)
    try:
        result = exercise.run(work, given)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the learner's code raises is shown to the learner
        empty = isinstance(error, NotImplementedError)
        words, numbers = re.split(r"[\d:(\[]", str(error), maxsplit=1)[0], tuple(sorted(re.findall(r"\d+", str(error))))
        sentence = torch_error_in_words(str(error), exercise.with_letters(case))
        told = f"Your code raised {type(error).__name__}{line_of(error)}\n  {sentence}" if sentence else None
        told = told or error_in_words(error)
        return Outcome(unanswered=empty, error=told, kind=type(error).__name__, words=words, numbers=numbers)
    values = leaves(result)
    if values is None:
        empty = result is None or result is Ellipsis
        message = "It returned None. Is there a `return` on every way through it?"
        return Outcome(unanswered=empty, error=message if result is None else no_value(result), kind="value")
    changed = [name for name, value in case.items() if not unchanged(value, given[name])]
    wrapped = type(result).__name__ if isinstance(result, (tuple, list)) and len(result) == 1 else None
    return Outcome(values=values, wrapped=wrapped, changed=changed[0] if changed else None)


def no_value(result) -> str:
    """A message for a result that is neither tensors nor numbers; of several values, it names the wrong one."""
    if isinstance(result, (tuple, list)):
        for number, part in enumerate(result, 1):
            if leaves(part) is None:
                return f"The {ordinal(number)} thing that it returned is {shortened(part)}, no tensor and no number."
    return f"It returned {shortened(result)}, no tensor and no number."


def shortened(value) -> str:
    """A value in one short line. A longer value, or one that shows only a memory address, is named by its type."""
    spelled_out = repr(value)
    if len(spelled_out) > 60 or "\n" in spelled_out or " at 0x" in spelled_out:
        return f"a value of type {type(value).__name__}"
    return spelled_out


def copies(case: dict) -> dict:
    return {name: value.clone() if isinstance(value, Tensor) else copy(value) for name, value in case.items()}


def unchanged(value, after) -> bool:
    if not isinstance(value, Tensor):
        return not isinstance(value, list) or value == after
    return torch.equal(torch.nan_to_num(value), torch.nan_to_num(after))


def leaves(result) -> list[Tensor] | None:
    """The tensors in a result; None for anything else. A number or a NumPy array counts as a tensor."""
    if isinstance(result, Tensor):
        return [result.detach()]
    if isinstance(result, np.ndarray) and result.dtype.kind in "biuf":
        return leaves(result.item()) if result.ndim == 0 else [torch.from_numpy(result.copy())]
    if isinstance(result, np.generic):  # np.bool is not a Real
        result = result.item()
    if isinstance(result, int) and abs(result) > 2**1000:  # larger than a float can be
        return None
    if isinstance(result, Real):
        whole = float(result).is_integer()  # a count must be right to the last digit, a measured number need not
        return [torch.tensor(float(result), dtype=torch.float64 if whole else torch.float32)]
    if isinstance(result, (tuple, list)) and len(result):
        parts = [leaves(part) for part in result]
        return None if None in parts else [leaf for part in parts for leaf in part]
    return None


def close(answer: Outcome, expected: Outcome) -> bool:
    if (answer.values is None) != (expected.values is None):
        return False
    if answer.values is None:
        return answer.kind == expected.kind
    if len(answer.values) != len(expected.values):
        return False
    pairs = zip(answer.values, expected.values, strict=True)
    return all(a.shape == b.shape and (a.dtype == b.dtype or not b.dim()) and bool(near(a, b).all()) for a, b in pairs)


def near(a: Tensor, b: Tensor) -> Tensor:
    """True where two tensors agree, to the precision of the coarser dtype, relative to the largest value in b."""
    tolerance = max(TOLERANCE.get(t.dtype, 0.0) for t in (a, b))
    a, b = a.double(), b.double()
    finite = b[b.isfinite()]
    scale = max(1e-3, finite.abs().max().item() if finite.numel() else 0.0)
    return torch.isclose(a, b, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def same(some: list[Outcome], others: list[Outcome]) -> bool:
    """Whether two lists of outcomes are equal on all cases. If all are errors, their words must be equal too."""
    pairs = list(zip(some, others, strict=True))
    always_raises = all(outcome.values is None for outcome in some)
    return all(close(a, b) and (not always_raises or (a.words, a.numbers) == (b.words, b.numbers)) for a, b in pairs)


def has_dtype(case: dict, *dtypes: torch.dtype) -> bool:
    return any(isinstance(value, Tensor) and value.dtype in dtypes for value in case.values())


def ordinal(number: int) -> str:
    """The position in a sequence: "first" to "fifth", then "6th" and so on."""
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"
