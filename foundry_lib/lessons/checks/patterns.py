"""What wrong numbers have in common where no known mistake fits: a fact about them, and no guess at its cause."""

import torch
from torch import Tensor

ROUNDED = 5e-3  # relative to the largest number: what is closer than this was computed from rounded numbers


def pattern(pairs: list[tuple[Tensor, Tensor]]) -> str | None:
    """A fact that holds for all pairs (found, expected) of tensors of equal shapes; None if there is none.

    >>> pattern([(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0]))])
    'Every number is 2 times the expected one.'
    """
    pairs = [(found.double().flatten(), expected.double().flatten()) for found, expected in pairs]
    if not all(found.isfinite().all() and expected.isfinite().all() for found, expected in pairs):
        return None
    return one_factor(pairs) or a_factor_per_input(pairs) or other_positions(pairs) or nearly(pairs)


def one_factor(pairs) -> str | None:
    """The factor by which all numbers differ from the expected ones, where it is one number."""
    found, expected = (torch.cat(side) for side in zip(*pairs, strict=True))
    if len(found) < 3 or not expected.any():
        return None
    factor = factor_of(found, expected)
    if not factor or not all(alike(one, factor * other) for one, other in pairs):
        return None
    if abs(factor + 1) < 1e-4:
        return "Every number has the opposite sign."
    if abs(factor) > 1:
        return f"Every number is {factor:,.6g} times the expected one."
    return f"Every expected number is {1 / factor:,.6g} times the one found."


def a_factor_per_input(pairs) -> str | None:
    """The factor on the first wrong input, where each input has a factor of its own."""
    factors = [factor_of(found, expected) for found, expected in pairs if len(found) >= 3]
    wrong = [factor for factor in factors if factor and abs(factor - 1) > 1e-3]
    if len(factors) < len(pairs) or None in factors or not wrong:
        return None
    return f"On each input all numbers are off by one factor; on the first wrong one it is {wrong[0]:,.4g}."


def factor_of(found: Tensor, expected: Tensor) -> float | None:
    """c, where found = c · expected; None if there is no such number."""
    c = ((found @ expected) / (expected @ expected).clamp(min=1e-30)).item()
    return c if alike(found, c * expected) else None


def alike(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


def other_positions(pairs) -> str | None:
    """Whether the numbers are right and stand at other positions."""
    if min(len(expected.unique()) for _, expected in pairs) < 3:
        return None
    same = all(torch.allclose(found.sort().values, expected.sort().values, rtol=1e-4) for found, expected in pairs)
    return "The numbers are right, but they stand at other positions." if same else None


def nearly(pairs) -> str | None:
    """Whether all numbers are right to two or three digits."""
    furthest = max(((found - expected).abs().max() / expected.abs().max()).item() for found, expected in pairs)
    if furthest < ROUNDED:
        return "The numbers are right to two or three digits. Is a number rounded, or a step done in too few bits?"
    return None
