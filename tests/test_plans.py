"""The form of lesson 09: it finds what is wrong with a plan, stores it before the first run, and reads the runs."""

import json
from dataclasses import replace

import pytest

from foundry_lib import ConfigError
from foundry_lib.experiments.plans import BASE, CHANGED, Plan, half_width, seeds_needed
from foundry_lib.experiments.runs import Run
from foundry_lib.text.corpus import told

GOOD = Plan("kv", "Does one kv head raise the loss?", {"n_kv_heads": 1}, "by 1 point", smallest=3.0)
SMALL = dict(text=told("en", 200), dim=16, batch_size=1, eval_interval=1000, val_fraction=0.05, max_iters=2)


def test_a_whole_plan_has_no_problem():
    assert GOOD.problems(noise=1.0) == [] and GOOD.report() == "✓ The plan can be run."


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"question": "larger models"}, "question:"),
        ({"question": "Why?"}, "question:"),
        ({"change": {}}, "change: one setting, found 0"),
        ({"change": {"dim": 64, "n_layers": 1}}, "change: one setting, found 2"),
        ({"settings": {"n_kv_heads": 1}}, "change: n_kv_heads has this value in both rows"),
        ({"prediction": "…"}, "prediction: write a number"),
        ({"seeds": (0, 1)}, "seeds: 3 or more"),
        ({"seeds": (0, 1, 1)}, "seeds: 3 or more"),
        ({"smallest": 0}, "smallest: a number above 0"),
        ({"smallest": 2.0}, "seeds: with 3 of them the interval will reach about ± 2.3, and you look for 2. Plan 4"),
        ({"smallest": 0.01}, "More than 30 seeds would be needed"),
        ({"measure": "loss"}, "measure: choose one of"),
    ],
)
def test_each_problem_is_named_alone(changes, said):
    (problem,) = replace(GOOD, **changes).problems(noise=1.0)
    assert said in problem


def test_the_seeds_that_are_needed_are_the_fewest():
    assert half_width(5, 2.0) <= 3.0 < half_width(4, 2.0) and seeds_needed(3.0, 2.0) == 5


def test_it_is_stored_before_the_runs_and_not_changed_after(tmp_path):
    runs = GOOD.run(tmp_path, **SMALL)
    assert [(run.row, run.seed) for run in runs] == [(row, seed) for row in (BASE, CHANGED) for seed in (0, 1, 2)]
    assert json.loads((tmp_path / "kv" / "plan.json").read_text("utf-8"))["prediction"] == "by 1 point"
    assert GOOD.run(tmp_path, **SMALL) == runs, "the same plan again: done before"
    with pytest.raises(ConfigError, match="another plan"):
        replace(GOOD, prediction="by 9 points").run(tmp_path, **SMALL)
    (tmp_path / "kv" / "plan.json").unlink()
    with pytest.raises(ConfigError, match="has runs already, and no plan"):
        GOOD.run(tmp_path, **SMALL)
    with pytest.raises(ConfigError, match="The plan has problems. prediction"):
        replace(GOOD, prediction="less").run(tmp_path)


def made_up(row, values):
    return [Run(row, k, None, {}, [], {"status": "done", "share": value / 100}) for k, value in enumerate(values)]


@pytest.mark.parametrize(
    "other, said",
    [
        ([20.0, 21.0, 22.0], "a difference: higher loss with the change, and at least the 3 that matters"),
        ([14.0, 15.0, 16.0], "a difference: higher loss with the change. You predicted"),
        ([4.0, 5.0, 6.0], "a difference: lower loss"),
        ([10.1, 11.2, 12.1], "no difference of 3 or more"),
        ([2.0, 11.0, 20.0], "undecided"),
    ],
)
def test_the_verdict_reads_the_interval(other, said):
    assert said in GOOD.verdict(made_up(BASE, [10.0, 11.0, 12.0]) + made_up(CHANGED, other))
