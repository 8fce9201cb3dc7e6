"""The command that trains the ablations: what is due, what is skipped, what is shipped, and the tables."""

import json
import sys
from pathlib import Path

import pytest
import torch

from foundry_lib.analysis.statistics import against_first, mean_interval, welch
from foundry_lib.experiments import ablations, variants
from foundry_lib.experiments.runs import Run, load
from foundry_lib.text.corpus import told
from foundry_lib.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import tales_runs
from tales_runs import Kind

PARTS = {"rope_table": variants.no_rotation, "block": variants.LearnedPositions}
TINY = {"text": told("en", 200), "dim": 16, "batch_size": 1, "max_iters": 3, "val_fraction": 0.05}
ROWS = {"whole model": {}, "learned positions": {"parts": PARTS}}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two kinds of two rows and one row; trainings of three steps; shipped files in a folder of their own."""
    kinds = {"ablation": Kind(ROWS, TINY, (0, 1)), "grid": Kind({"std 1": {"embedding_std": 1.0}}, TINY, (0, 1))}
    monkeypatch.setattr(tales_runs, "KINDS", kinds)
    monkeypatch.setattr(tales_runs, "WHOLE_SEEDS", (0, 1, 2))
    monkeypatch.setattr(ablations, "RUNS", tmp_path / "tales_runs.jsonl")
    monkeypatch.setattr(tales_runs, "TABLE", tmp_path / "tales_runs.md")
    threads = torch.get_num_threads()
    yield lambda *words: tales_runs.main([*words, "--folder", str(tmp_path / "runs")])
    torch.set_num_threads(threads)


def test_it_trains_what_is_missing_resumes_and_ships(small, tmp_path, capsys, monkeypatch):
    old = {"kind": "sweep", "row": "old", "seed": 0, "parameters": 1, "seconds": 1, "share": 0.5, "by rule": {"sum": 1}}
    ablations.RUNS.write_text(json.dumps(old) + "\n" + json.dumps(old | {"kind": "ablation"}) + "\n", "utf-8")
    for words in (("ship",), ("ship", "grid")):
        with pytest.raises(SystemExit, match="5 trainings of ablation are missing in .*whole model-seed0"):
            small(*words)

    def stops(self, until=None, run=Trainer.run):
        stop = bool(self.model.parts) and self.config.seed == 1
        yield from run(self, until=2 if stop else None)
        self.interrupted = stop

    with monkeypatch.context() as stopped:
        stopped.setattr(Trainer, "run", stops)
        small("run")
    ended = {(run.row, run.seed): run.result is not None for run in load("ablation", tmp_path / "runs")}
    assert [key for key, done in ended.items() if not done] == [("learned positions", 1)]
    assert ("whole model", 2) not in ended and not (tmp_path / "runs" / "grid").exists(), "stopped means stopped"
    capsys.readouterr()
    small("run")
    said = capsys.readouterr().out
    assert said.count("done before, skipped") == 3 and "learned positions-seed1: went on from step 2, 3 steps" in said
    assert "whole model-seed2: trained" in said and said.count("std 1-seed") == 2

    small("table")
    assert "Comparisons in each column: 1." in capsys.readouterr().out
    small("ship")
    lines = [json.loads(text) for text in ablations.RUNS.read_text("utf-8").splitlines()]
    assert [run["row"] for run in lines if run["kind"] == "ablation"] == ["whole model"] * 3 + ["learned positions"] * 2
    assert lines[0] == old, "the kinds that were not trained stay"
    (run,) = (run for run in load("ablation", tmp_path / "runs") if (run.row, run.seed) == ("whole model", 0))
    assert lines[1]["share"] == round(run.result["share"], 4) and lines[1]["parameters"] == run.config["parameters"]
    page = tales_runs.TABLE.read_text("utf-8")
    assert page.startswith("# The tales") and "## Grid: 3 steps\n\n| row |" in page
    assert page.split("## Grid")[1].splitlines()[4].startswith("| whole model | 3 |"), "a grid begins with the whole"
    assert set(ablations.by_row()) == set(ROWS), "the lessons read what was shipped"


def test_other_code_or_settings_are_trained_again(small, tmp_path, capsys, monkeypatch):
    small("run", "grid")
    capsys.readouterr()
    monkeypatch.setattr("foundry_lib.experiments.sweeps.code_hash", lambda: "other code")
    small("run", "grid")
    assert capsys.readouterr().out.count("trained again (the library's code has changed)") == 2
    monkeypatch.setitem(tales_runs.KINDS, "grid", Kind({"std 1": {"embedding_std": 0.9}}, TINY, (0, 1)))
    with pytest.raises(SystemExit, match=r"other settings \(embedding_std 1.0 → 0.9\)"):
        small("run", "grid")


def test_words_that_name_nothing_are_refused(small, capsys):
    for words, said in ((("run", "gird"), "no kind 'gird'"), (("run", "grid", "--rows", "std 9"), "no row 'std 9'")):
        with pytest.raises(SystemExit):
            small(*words)
        assert said in capsys.readouterr().err


def test_every_row_has_three_seeds_and_the_whole_model_five():
    assert tales_runs.seeds_of("ablation", "whole model") == (0, 1, 2, 3, 4)
    assert {tales_runs.seeds_of(kind, row) for kind in ("grid", "twice") for row in tales_runs.KINDS[kind].rows} == {
        (0, 1, 2)
    }
    assert len(tales_runs.missing("ablation", [])) == 5 + 3 * 17 and len(tales_runs.missing("grid", [])) == 33


def made_up(row: str, seed: int, share: float, mirror: float = 0.0) -> dict:
    rules = {"mirror": mirror, "free": 0.0}
    run = {"kind": "ablation", "row": row, "seed": seed, "parameters": 1234, "seconds": 100 + seed}
    return run | {"share": share, "by rule": rules}


def test_the_table_has_intervals_and_tests_that_know_how_many_they_are():
    excess = {"whole": [2.0, 2.5, 3.0, 2.2, 2.8], "near": [2.6, 3.2, 2.4], "far": [30.0, 31.0, 32.0]}
    found = [made_up(row, k, v / 100, v / 10) for row, seeds in excess.items() for k, v in enumerate(seeds)]
    found += [made_up("alone", 0, 0.5)] + [{"kind": "ablation", "row": "wild", "seed": 1, "diverged": "NaN"}]
    lines = tales_runs.table(found).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:6]}
    low, high = mean_interval(excess["near"])
    assert cells["near"][:4] == ["3", "1,234", "101", f"2.7 ({low:.1f} to {high:.1f})"]
    test = against_first(excess)["far"]
    assert cells["far"][4:6] == [f"28.5 ({test.low:.1f} to {test.high:.1f})", tales_runs.probability(test.p)]
    assert test.p == 2 * welch(excess["whole"], excess["far"]).p, "two comparisons"
    assert cells["far"][6] == "3.100★" and cells["near"][6] == "0.273" and cells["whole"][4:6] == ["", ""]
    assert cells["alone"][3:6] == ["50.0", "", ""]
    assert "Comparisons in each column: 2." in lines and lines[-1] == "Diverged: wild (seed 1)."


def test_two_languages_are_not_compared():
    found = [made_up(text, seed, 0.02) for text in ("tales-en", "tales-zh") for seed in range(3)]
    found = [run | {"kind": "recipe"} for run in found]
    page = tales_runs.page({"recipe": found})
    assert page.startswith("## Recipe: 1,600 steps\n\n| row |") and "| tales-zh | 3 |" in page
    assert "Comparisons" not in page and "★" not in page and "Comparisons" in tales_runs.table(found)


def test_the_seconds_are_those_of_an_undisturbed_step():
    log = [{"step": k, "seconds": seconds} for k, seconds in enumerate([0.0, 1.0, 2.0, 60.0, 61.0])]
    result = {"status": "done", "steps": 4, "seconds": 61.0, "share": 0.1, "owed": {"sum": 0.0}}
    assert tales_runs.line("ablation", Run("a", 0, Path(), {"parameters": 7}, log, result))["seconds"] == 4
