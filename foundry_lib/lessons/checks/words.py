"""Checks of a measured number: the line shows it and what the lesson expects; an error says when it is too far off.

A measured number moves in its last digits with the processor and the thread count. The regression check therefore
compares these lines without the number before "(expected" or "(allowed" (tests/sanitize.cfg), and the rest as printed.
"""

import math
import re

import torch


def decimals(tolerance: float) -> int:
    """As many as show where a number stands within its tolerance.

    >>> decimals(0.01), decimals(1.2), decimals(50)
    (3, 1, 0)
    """
    return max(0, 1 - math.floor(math.log10(tolerance)))


def within(name: str, value: float, expected: float, tolerance: float, unit: str = ""):
    """Print "name value (expected … ± tolerance unit) ✓"; raise AssertionError when |value − expected| > tolerance.

    >>> within("validation loss", 0.4891, 0.487, 0.01, "nats")
    validation loss 0.489 (expected 0.487 ± 0.01 nats) ✓

    A training cell that runs twice continues with the trained model, so the error names the cell to run again.
    """
    require_measured(name, value)
    unit = f" {unit}" if unit else ""
    if not (math.isfinite(value) and abs(value - expected) <= tolerance):
        raise AssertionError(
            f"{name}: found {value:.6g}{unit}, expected {expected:g} ± {tolerance:g}{unit}. If you ran a cell twice or "
            f"stopped it, run the cell that makes the model again, then the cells after it."
        )
    print(f"{name} {value:.{decimals(tolerance)}f} (expected {expected:g} ± {tolerance:g}{unit}) ✓")


def below(name: str, value: float, bound: float, what: str):
    """Print "name value (expected below what, bound) ✓"; raise AssertionError when value ≥ bound or not finite.

    >>> below("validation loss", 1.31, 2.24, "the bigram's")
    validation loss 1.31 (expected below the bigram's, 2.24) ✓
    """
    require_measured(name, value)
    require_measured(what, bound)
    if not (math.isfinite(value) and value < bound):
        raise AssertionError(f"{name}: found {value:.6g}, which is not below {what}, {bound:.6g}")
    limit = what if re.search(r"\d", what) else f"{what}, {bound:.3g}"  # "0.1 nats" says its number itself
    print(f"{name} {value:.3g} (expected below {limit}) ✓")


def check_equal(name: str, ours, theirs, atol: float = 1e-6):
    """Print "name: max difference 2e-07 (allowed 1e-06) ✓"; raise AssertionError when they differ by more than `atol`.

    ours, theirs: two tensors, arrays, lists or numbers of one shape. NaN is never equal; an infinity equals itself.

    >>> check_equal("square root of 4 and 2", [4**0.5], [2.0])
    square root of 4 and 2: max difference 0 (allowed 1e-06) ✓
    """
    ours, theirs = (torch.as_tensor(value).detach().cpu().double() for value in (ours, theirs))
    if ours.shape != theirs.shape:
        raise AssertionError(f"{name}: the shapes differ, {tuple(ours.shape)} and {tuple(theirs.shape)}")
    difference = torch.where(ours == theirs, 0.0, (ours - theirs).abs())  # ∞ − ∞ would be NaN
    largest = difference.max().item() if difference.numel() else 0.0
    if not largest <= atol:  # NaN fails too
        first = tuple((~(difference <= atol)).nonzero()[0].tolist())
        raise AssertionError(
            f"{name}: max difference {largest:.2g}, allowed {atol:g}. {f'At index {first}: ' if first else ''}"
            f"{ours[first].item():.6g} and {theirs[first].item():.6g}"
        )
    print(f"{name}: max difference {largest:.1g} (allowed {atol:g}) ✓")


def require_measured(name: str, value):
    """Raise AssertionError for None: a training that was stopped has not measured all of its numbers."""
    if value is None:
        raise AssertionError(f"{name}: no number was measured. Run the training's cell again, and let it end.")
