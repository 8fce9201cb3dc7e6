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
    return one_factor(pairs) or other_positions(pairs) or nearly(pairs)


def one_factor(pairs) -> str | None:
    """The factor by which all numbers differ from the expected ones, where it is one number."""
    found, expected = (torch.cat(side) for side in zip(*pairs, strict=True))
    if len(found) < 3 or not expected.any():
        return None
    factor = ((found @ expected) / (expected @ expected)).item()
    if not factor or not torch.allclose(found, factor * expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item()):
        return None
    if abs(factor + 1) < 1e-4:
        return "Every number has the opposite sign."
    if abs(factor) > 1:
        return f"Every number is {factor:,.6g} times the expected one."
    return f"Every expected number is {1 / factor:,.6g} times the one found."


def other_positions(pairs) -> str | None:
    """Whether the numbers are right and stand at other positions."""
    if min(len(expected.unique()) for _, expected in pairs) < 3:
        return None
    alike = all(torch.allclose(found.sort().values, expected.sort().values, rtol=1e-4) for found, expected in pairs)
    return "The numbers are right, but they stand at other positions." if alike else None


def nearly(pairs) -> str | None:
    """Whether all numbers are right to two or three digits."""
    furthest = max(((found - expected).abs().max() / expected.abs().max()).item() for found, expected in pairs)
    if furthest < ROUNDED:
        return "The numbers are right to two or three digits. Is a number rounded, or a step done in too few bits?"
    return None
