"""The ablation table: how it is read, and how one row is trained. What each row is: test_variants.py."""

import json

import pytest

from foundry_lib import ConfigError
from foundry_lib.analysis.statistics import beyond_noise
from foundry_lib.experiments import ablations


def test_the_table_reads_the_shipped_runs():
    found = ablations.means(["whole model", "no norm"])
    runs = ablations.measured()["no norm"]
    assert len(runs) == 3 and found["no norm"]["mirror"] == pytest.approx(sum(r["by rule"]["mirror"] for r in runs) / 3)
    text = ablations.table(["whole model", "no norm"], ["mirror", "gift"]).splitlines()
    assert text[0].split() == ["all,", "%", "mirror", "gift"]
    seeds = ablations.by_row()
    assert seeds["no norm"]["all"] == [100 * run["share"] for run in runs]
    starred = beyond_noise(seeds["whole model"]["mirror"], seeds["no norm"]["mirror"])
    assert (f"{found['no norm']['mirror']:.2f}*" in text[2]) == starred and "*" not in text[1]
    with pytest.raises(ConfigError, match="There is no rule 'mirorr'; there are all, "):
        ablations.table(["whole model"], ["mirorr"])
    with pytest.raises(ConfigError, match="There is no row .'no head'.; the rows are whole model"):
        ablations.means(["no head"])


def test_a_row_trains():
    found = ablations.train("one kv head", seed=3, steps=2)
    assert found["parameters"] == 549_504 and found["row"] == "one kv head" and json.dumps(found)
    assert found["share"] > 5 and set(found["by rule"]) >= {"mirror", "sum"} and found["steps"] == 2
    with pytest.raises(ConfigError, match="There is no row 'no head'; the rows are whole model"):
        ablations.train("no head", seed=0)


def test_a_star_is_worse_by_three_spreads(tmp_path, monkeypatch):
    """Seeds of the first row differ by 0.1: 0.25 above its mean has no star, 0.35 has one; 0.35 below has none, and two
    seeds have none."""

    def run(row, value):
        return {"kind": "ablation", "row": row, "seed": 0, "share": 0.1, "by rule": {"sum": value, "free": 0.0}}

    means = {"first": 0.5, "near": 0.75, "far": 0.85, "better": 0.15}
    runs = [run(row, mean + seed) for row, mean in means.items() for seed in (-0.05, 0.0, 0.05)]
    runs += [run("two seeds", 0.9)] * 2
    monkeypatch.setattr(ablations, "RUNS", tmp_path / "runs.jsonl")
    ablations.RUNS.write_text("".join(json.dumps(one) + "\n" for one in runs), encoding="utf-8")
    _, first, near, far, better, two = ablations.table([*means, "two seeds"]).splitlines()
    assert "*" not in first + near + better + two and far.endswith("0.85*")
