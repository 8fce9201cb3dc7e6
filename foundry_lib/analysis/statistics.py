"""Is it a difference, or chance? Tests and intervals that statisticians know, computed by scipy, and the noise rule.

welch(base, other)            # two settings, some seeds each: the difference, its interval, p
holm([0.01, 0.04, 0.03])      # many comparisons: p-values that may be read one by one
against_first(rows)           # many settings, each against the first one: Welch's test with Holm's correction
mean_interval(values)         # a mean over seeds: its interval
wilson(97, 100)               # a share: its interval
power_law(tokens, losses)     # y = c · x^exponent, fitted on logarithmic axes
beyond_noise(base, other)     # the course's rule; a learner can check each step by hand
"""

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy import stats

from ..errors import ConfigError

CONFIDENCE = 0.95
FEWEST_SEEDS = 3  # the noise rule needs as many in each setting
SPREADS = 3  # the means must differ by more than this many spreads of the first setting


@dataclass(frozen=True)
class Difference:
    """Mean of the second group minus mean of the first, the ends of its 95 % interval, and p: how often chance
    gives a difference at least this large where the true difference is 0."""

    value: float
    low: float
    high: float
    p: float


def welch(base: list[float], other: list[float]) -> Difference:
    """Welch's t-test: do two groups differ in their means, if their variances may differ too?

    base, other: at least two values each, one per seed. Raises ConfigError for fewer. Source: Welch 1947, "The
    generalization of Student's problem when several different population variances are involved".

    >>> difference = welch([1.0, 1.1, 1.2], [1.7, 1.8, 1.9])
    >>> f"{difference.value:.2f}, {difference.low:.2f} to {difference.high:.2f}, p = {difference.p:.4f}"
    '0.70, 0.47 to 0.93, p = 0.0010'
    """
    if min(len(base), len(other)) < 2:
        raise ConfigError(
            f"Welch's test needs two values in each group, found {len(base)} and {len(other)}. Train more seeds."
        )
    difference = fmean(other) - fmean(base)
    if len(set(base)) == len(set(other)) == 1:  # without any variation the t-value is a division by zero
        return Difference(difference, difference, difference, float(difference == 0))
    result = stats.ttest_ind(other, base, equal_var=False)
    interval = result.confidence_interval(CONFIDENCE)
    return Difference(difference, float(interval.low), float(interval.high), float(result.pvalue))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values for several comparisons, in the order of `p_values`.

    Call those below 0.05 a difference: then the chance of even one false alarm among all is at most 5 %. Each p is
    multiplied by the number of comparisons that are not decided yet, from the smallest p to the largest. Source: Holm
    1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def against_first(rows: dict[str, list[float]]) -> dict[str, Difference]:
    """Each row against the first one: Welch's test, with `holm`'s p for all these comparisons together.

    rows: at least two values per row, one per seed. The intervals are those of single comparisons. Raises ConfigError
    for a row with fewer values.

    >>> found = against_first({"whole": [1.0, 1.1, 1.2], "a": [1.7, 1.8, 1.9], "b": [1.0, 1.2, 1.4]})
    >>> {row: round(difference.p, 4) for row, difference in found.items()}
    {'a': 0.002, 'b': 0.4961}
    """
    base, *others = rows.values()
    differences = [welch(base, other) for other in others]
    adjusted = holm([difference.p for difference in differences])
    corrected = [replace(difference, p=p) for difference, p in zip(differences, adjusted, strict=True)]
    return dict(zip(list(rows)[1:], corrected, strict=True))


def mean_interval(values: list[float]) -> tuple[float, float]:
    """The ends of the 95 % interval of a mean, by Student's t. Raises ConfigError for fewer than two values.

    >>> [round(end, 2) for end in mean_interval([1.0, 1.1, 1.2])]  # 1.1 ± 4.30 · 0.1 / √3
    [0.85, 1.35]
    """
    if len(values) < 2:
        raise ConfigError(f"The interval of a mean needs two values, found {len(values)}. Train more seeds.")
    half = stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return fmean(values) - float(half), fmean(values) + float(half)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The ends of the 95 % interval of a share, `successes` of `n` trials.

    The interval stays between 0 and 1 and has a width also where no trial or every trial succeeds. Raises ConfigError
    for no trials. Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> [round(end, 3) for end in wilson(97, 100)]
    [0.915, 0.99]
    """
    if not 0 <= successes <= n or n < 1:
        raise ConfigError(f"A share needs at least one trial and 0 to n successes, found {successes} of {n}.")
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class PowerLaw:
    """y = factor · x^exponent. low, high: the ends of the exponent's 95 % interval."""

    factor: float
    exponent: float
    low: float
    high: float

    def __call__(self, x):
        return self.factor * x**self.exponent


def power_law(x: list[float], y: list[float]) -> PowerLaw:
    """The straight line through ln y over ln x, by least squares; its slope is the exponent of the law.

    x, y: at least three values each, above 0. Raises ConfigError for fewer.

    >>> law = power_law([1.0, 10.0, 100.0], [8.0, 4.0, 2.0])
    >>> f"{law.exponent:.3f}, {law(1000.0):.3f}"
    '-0.301, 1.000'
    """
    if len(x) < 3 or len(x) != len(y) or min(*x, *y) <= 0:
        raise ConfigError(f"A power law needs three or more values above 0, found {len(x)} and {len(y)}.")
    fit = stats.linregress(np.log(x), np.log(y))
    half = float(fit.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2))
    return PowerLaw(float(np.exp(fit.intercept)), float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)


def spread(values: list[float]) -> float:
    """Highest minus lowest.

    >>> spread([5.0, 11.5, 6.5])
    6.5
    """
    return max(values) - min(values)


def noise_border(base: list[float]) -> float:
    """The value above which the mean of another setting is beyond the noise: three spreads above the mean of `base`.

    >>> noise_border([1.0, 1.5, 2.0])
    4.5
    """
    return fmean(base) + SPREADS * spread(base)


def beyond_noise(base: list[float], other: list[float]) -> bool | None:
    """Whether two settings differ by more than seeds do: are their means more than three spreads of `base` apart?

    base, other: one value per seed. None with fewer than three seeds in either. The direction does not matter. Where
    there is no difference the rule sees one in 2 of 100 cases with three seeds (in 15 with two seeds).

    >>> beyond_noise([1.0, 1.1, 1.2], [1.7, 1.8, 1.9]), beyond_noise([1.0, 1.1, 1.2], [1.5, 1.6, 1.7])
    (True, False)
    """
    if min(len(base), len(other)) < FEWEST_SEEDS:
        return None
    return abs(fmean(other) - fmean(base)) > SPREADS * spread(base)
