"""Checks that print the same text in every run, so that the regression check can compare it.

A measured number moves in its last digits with the processor and the thread count. A lesson therefore prints the
expected number and a tolerance, and raises when the measured number is further away.
"""

import math


def within(name: str, value: float, expected: float, tolerance: float, unit: str = ""):
    """Print "name expected ± tolerance unit ✓"; raise AssertionError when |value − expected| > tolerance or NaN.

    A training cell that runs twice continues with the trained model, so the error names the cell to run again.
    """
    unit = f" {unit}" if unit else ""
    if not (math.isfinite(value) and abs(value - expected) <= tolerance):
        raise AssertionError(
            f"{name}: found {value:.6g}{unit}, expected {expected:g} ± {tolerance:g}{unit}. If you ran a cell twice or "
            f"stopped it, run the cell that makes the model again, then the cells after it."
        )
    print(f"{name} {expected:g} ± {tolerance:g}{unit} ✓")


def below(name: str, value: float, bound: float, what: str):
    """Print "name is below what ✓"; raise AssertionError when value ≥ bound or not finite."""
    if not (math.isfinite(value) and value < bound):
        raise AssertionError(f"{name}: found {value:.6g}, which is not below {what}, {bound:.6g}")
    print(f"{name} is below {what} ✓")
