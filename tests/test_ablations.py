"""The rows of the ablation table: what each takes out, and how the table is read."""

import json

import pytest
import torch

from foundry_lib import ConfigError, MiniLLM, ModelConfig
from foundry_lib.analysis.statistics import beyond_noise
from foundry_lib.experiments import ablations

CONFIG = ModelConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, n_kv_heads=1, max_seq_len=12, tie_embeddings=True)


def logits(change=None, idx=None):
    model = MiniLLM(CONFIG, seed=1)
    if change:
        change(model)
    idx = torch.arange(10)[None] if idx is None else idx
    with torch.no_grad():
        return model(idx)[0], model


@pytest.mark.parametrize("row", [row for row, (_, change) in ablations.ROWS.items() if change])
def test_each_row_takes_something_out(row):
    changed, _ = logits(ablations.ROWS[row][1])
    assert not torch.allclose(changed, logits()[0], atol=1e-3)


def test_what_is_taken_out():
    there_and_back = torch.tensor([[1, 2, 3, 4, 5], [1, 3, 2, 4, 5]])
    without_order, _ = logits(ablations.no_rope, there_and_back)
    one_layer_of_it = MiniLLM(CONFIG.with_(n_layers=1), seed=1)
    ablations.no_rope(one_layer_of_it)
    last = one_layer_of_it(there_and_back)[0][:, -1]
    assert torch.allclose(last[0], last[1], atol=1e-5), "one layer without positions cannot see the order"
    alone, _ = logits(ablations.no_attention, torch.tensor([[1, 2, 3], [4, 2, 3]]))
    close = torch.allclose(alone[0, 1:], alone[1, 1:], atol=1e-5)  # not to the bit: threads share out the rows
    assert close, "without attention a token sees itself alone"
    _, model = logits(ablations.no_norm)
    assert not [name for name, _ in model.named_parameters() if "norm" in name]
    _, model = logits(ablations.no_mlp)
    assert not [name for name, _ in model.named_parameters() if "feed_forward" in name]


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


def test_a_row_trains(tmp_path):
    found = ablations.train("one kv head", seed=3, steps=2)
    assert found["parameters"] == 549_504 and found["row"] == "one kv head" and json.dumps(found)
    assert found["share"] > 5 and set(found["by rule"]) >= {"mirror", "sum"}
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
