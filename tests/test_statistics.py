"""Statistics: values from textbooks, and the noise rule."""

import doctest
import itertools
import random

import pytest

from foundry_lib import ConfigError
from foundry_lib.analysis import statistics
from foundry_lib.analysis.statistics import beyond_noise, holm, noise_border, power_law, welch, wilson


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(statistics) == (0, 12)


def test_welch_as_in_the_textbook():
    """Student's sleep data, as R's manual prints t.test(extra ~ group, data = sleep)."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = welch(second, first)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert (found.low, found.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-7)
    assert found.value == pytest.approx(0.75 - 2.33)
    back = welch(first, second)
    assert (back.value, back.low, back.p) == pytest.approx((-found.value, -found.high, found.p))


def test_welch_gives_false_alarms_as_often_as_it_says():
    draw = random.Random(4).gauss
    alarms = sum(welch([draw(0, 1) for _ in range(3)], [draw(0, 3) for _ in range(3)]).p < 0.05 for _ in range(1000))
    assert 0.02 < alarms / 1000 < 0.08


def test_welch_without_variation_and_with_too_little():
    assert welch([1.0, 1.0], [1.0, 1.0]).p == 1 and welch([1.0, 1.0], [2.0, 2.0]).p == 0
    with pytest.raises(ConfigError, match="needs two values in each group, found 1 and 3"):
        welch([1.0], [1.0, 2.0, 3.0])


def test_holm_as_in_its_article():
    """The numbers of the article on the Holm-Bonferroni method in Wikipedia: H4 and H1 are rejected at 0.05."""
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p < 0.05 for p in adjusted] == [True, False, False, True]
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.9, 0.8]) == [1.0, 1.0]
    for order in itertools.permutations([0.01, 0.04, 0.03]):
        assert dict(zip(order, holm(list(order)), strict=True)) == pytest.approx({0.01: 0.03, 0.03: 0.06, 0.04: 0.06})


def test_wilson_as_in_the_textbook():
    """Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5) and wilson(20, 20)[1] == 1.0
    for successes, n in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ConfigError, match="at least one trial"):
            wilson(successes, n)


def test_the_noise_rule():
    assert beyond_noise([1.0, 1.1, 1.2], [1.7, 1.8, 1.9]) is True  # 0.7 apart, 3 spreads are 0.6
    assert beyond_noise([1.0, 1.1, 1.2], [1.5, 1.6, 1.7]) is False
    assert beyond_noise([1.7, 1.8, 1.9], [1.0, 1.1, 1.2]) is True, "in either direction"
    assert beyond_noise([1.0, 1.0], [5.0, 5.0, 5.0]) is None
    assert beyond_noise([1.0, 1.0, 1.1], [5.0, 5.0]) is None
    border = noise_border([1.0, 1.5, 2.0])
    assert beyond_noise([1.0, 1.5, 2.0], 3 * [border]) is False
    assert beyond_noise([1.0, 1.5, 2.0], 3 * [border + 0.01]) is True
    draw = random.Random(5).gauss
    alarms = sum(beyond_noise([draw(0, 1) for _ in range(3)], [draw(0, 1) for _ in range(3)]) for _ in range(20_000))
    assert 0.015 < alarms / 20_000 < 0.025, "2 of 100, as the docstring says"


def test_the_interval_of_a_power_law_contains_the_true_exponent_in_95_of_100_cases():
    noise, x = random.Random(1), [1.0, 2.0, 4.0, 8.0, 16.0]
    laws = [power_law(x, [3.0 * value**-0.7 * 2 ** noise.gauss(0, 0.2) for value in x]) for _ in range(400)]
    assert 0.93 < sum(law.low < -0.7 < law.high for law in laws) / 400 < 0.97
    assert laws[0](4.0) == pytest.approx(laws[0].factor * 4.0 ** laws[0].exponent)
    for wrong in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 0.0, 2.0])):
        with pytest.raises(ConfigError, match="three or more values above 0"):
            power_law(*wrong)
