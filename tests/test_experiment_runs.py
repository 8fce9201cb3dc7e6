"""The command that records lesson 09's trainings: rows with the same settings are one training, and what is shipped."""

import json
import sys
from pathlib import Path

import pytest
import torch

from foundry_lib import ConfigError
from foundry_lib.experiments import recorded
from foundry_lib.experiments.runs import Run, compare, load
from foundry_lib.text.corpus import told

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import experiment_runs

TINY = {"dim": 16, "batch_size": 1, "max_iters": 2, "val_fraction": 0.05}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two groups that share a training; trainings of two steps; shipped files in a folder of their own."""
    groups = {"rate": {"slow": {"learning_rate": 1e-4}, "base": {}}, "size": {"tiny": {}}}
    monkeypatch.setattr(recorded, "GROUPS", groups)
    monkeypatch.setattr(recorded, "BASE", {**recorded.BASE, **TINY})
    monkeypatch.setattr(recorded, "RUNS", tmp_path / "runs.jsonl")
    monkeypatch.setattr(experiment_runs, "TABLE", tmp_path / "runs.md")
    monkeypatch.setattr(experiment_runs, "TALES", 2)
    monkeypatch.setattr("foundry_lib.experiments.sweeps.read_corpus", lambda name: told("en", 200))
    monkeypatch.setattr("foundry_lib.training.recipes.read_corpus", lambda name: told("en", 200))
    threads = torch.get_num_threads()
    yield lambda *words: experiment_runs.main([*words, "--folder", str(tmp_path / "folder")])
    torch.set_num_threads(threads)


def test_it_trains_once_what_two_groups_share_judges_and_ships(small, tmp_path, capsys):
    small("run", "rate", "--seeds", "0")
    small("ship")
    assert [run.seed for run in recorded.recorded("rate")] == [0, 0], "one seed each"
    assert recorded.recorded("size") and "| slow | 1 |" in experiment_runs.TABLE.read_text("utf-8")
    small("run", "--seeds", "0", "1")
    assert capsys.readouterr().out.count("done before, skipped") == 2 + 2, "of seed 0, and the shared one of both"
    runs = load(experiment_runs.EXPERIMENT, tmp_path / "folder")
    assert len(runs) == 4 and len(list((tmp_path / "folder").rglob("tales.json"))) == 2
    small("ship")
    lines = [json.loads(line) for line in recorded.RUNS.read_text("utf-8").splitlines()]
    assert [(line["name"].split()[7], line["seed"]) for line in lines] == [
        ("0.0001", 0), ("0.0001", 1), ("0.004", 0), ("0.004", 1)]  # fmt: skip
    found = recorded.recorded("rate")
    assert [(run.row, run.seed) for run in found] == [("slow", 0), ("slow", 1), ("base", 0), ("base", 1)]
    assert all(run.done for run in found) and found[2].result["tales"] == 2 and "tales" not in found[0].result
    assert {run.result["share"] for run in found} == {round(run.result["share"], 4) for run in runs}
    assert "minus the first row" in compare(found) and "| tiny | 2 |" in experiment_runs.TABLE.read_text("utf-8")


def test_unknown_groups_are_refused(small):
    with pytest.raises(ConfigError, match="There is no group 'sizes'"):
        recorded.recorded("sizes")
    with pytest.raises(SystemExit):
        small("run", "sizes")


def test_every_shipped_line_belongs_to_a_row_and_says_what_was_trained():
    names = {recorded.name(recorded.settings(group, row)): recorded.settings(group, row)
             for group, rows in recorded.GROUPS.items() for row in rows}  # fmt: skip
    for line in map(json.loads, recorded.RUNS.read_text("utf-8").splitlines()):
        assert line["steps"] == names[line["name"]]["max_iters"]
        assert line["tokens"] % (line["steps"] * names[line["name"]]["batch_size"]) == 0


def sized(row, seed, share, valid):
    result = {
        "status": "done",
        "share": share,
        "tales": 100,
        "valid": valid,
        "text": f"{row} {seed}",
        "verdict": "valid",
    }
    return Run(row, seed, None, {}, [], result)


def test_sizes_are_judged_over_the_tales_of_all_seeds():
    runs = [sized("tiny", 0, 0.10, 30), sized("tiny", 1, 0.12, 50), sized("small", 0, 0.05, 97)]
    lines = recorded.judged_table(runs).splitlines()
    assert lines[1].split() == "tiny 2 11.0 (-1.7 to 23.7) 200 40 (33 to 47)".split()
    assert lines[2].split() == "small 1 5.0 100 97 (92 to 99)".split()
    unjudged = Run("medium", 0, None, {}, [], {"status": "done", "share": 0.04})
    assert recorded.judged_table([unjudged]).splitlines()[1].split() == "medium 1 4.0 0 not judged".split()
    assert recorded.first_tales([*runs, unjudged]).splitlines() == [
        "tiny: tiny 0",
        "    → valid",
        "small: small 0",
        "    → valid",
    ]
