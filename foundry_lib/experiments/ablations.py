"""What is lost without a part: models with a part taken out, trained on the tales, and the table of such trainings.

ablations.table(["whole model", "no norm"])       # what was measured, three seeds a row
ablations.train("no norm", seed=0)                # one row again, on this machine
"""

import json
import time

import torch
from torch import nn

from .. import tales
from ..analysis.quality import excess
from ..errors import ConfigError, FoundryError
from ..paths import DATA
from ..training.recipes import new_trainer

RUNS = DATA / "tales_runs.jsonl"
UNSEEN = 999_983  # the seed of tales that no training has read
STEPS = 1000


class Nothing(nn.Module):
    """A part that adds nothing to the stream."""

    def forward(self, x, *rest):
        return torch.zeros_like(x)


def no_rope(model):
    model.freqs_cis[0], model.freqs_cis[1] = 1.0, 0.0  # turn by no angle, at every place


def no_norm(model):
    model.norm = nn.Identity()
    for layer in model.layers:
        layer.attention_norm = layer.ffn_norm = nn.Identity()


def no_attention(model):
    for layer in model.layers:
        layer.attention = Nothing()


def no_mlp(model):
    for layer in model.layers:
        layer.feed_forward = Nothing()


# row → (settings that differ, what is done to the model)
ROWS = {
    "whole model": ({}, None),
    "no RoPE": ({}, no_rope),
    "no norm": ({}, no_norm),
    "no attention": ({}, no_attention),
    "no MLP": ({}, no_mlp),
    "one layer": ({"n_layers": 1}, None),
    "one kv head": ({"n_kv_heads": 1}, None),
}
SAME = {"learning_rate": 2.5e-3}  # of every row, so that rows of different days compare


def train(row: str, seed: int, steps: int = STEPS) -> dict:
    """Train the model of a row on tales-en and compare it with the floor on 300 unseen tales."""
    if row not in ROWS:
        raise ConfigError(f"There is no row {row!r}; the rows are {', '.join(ROWS)}.")
    settings, change = ROWS[row]
    trainer = new_trainer("tales-en", seed=seed, max_iters=steps, eval_interval=10_000, **SAME, **settings)
    if change:
        change(trainer.model)
    return finish({"kind": "ablation", "row": row, "seed": seed}, trainer)


def finish(found: dict, trainer) -> dict:
    """Run a training to its end and add what was measured to `found`."""
    found = found | {"parameters": sum(p.numel() for p in trainer.model.parameters())}
    started = time.monotonic()
    try:
        list(trainer.run())
    except FoundryError as error:
        return found | {"diverged": str(error)[:60]}
    unseen = tales.generate(trainer.loader.corpus.grammar, UNSEEN, 300)
    measured = excess(trainer.model, trainer.loader.tokenizer, unseen)
    return found | {
        "seconds": round(time.monotonic() - started),
        "share": round(measured.share, 4),
        "by rule": {rule: round(nats, 4) for rule, nats in measured.by_rule.items()},
    }


def measured(kind: str = "ablation") -> dict[str, list[dict]]:
    """The shipped runs of a kind: row → one result a seed."""
    runs = [json.loads(line) for line in RUNS.read_text("utf-8").splitlines()]
    found = {}
    for run in runs:
        if run["kind"] == kind and "share" in run:
            found.setdefault(run["row"], []).append(run)
    return found


def means(rows: list[str]) -> dict[str, dict[str, float]]:
    """Mean over the seeds of each row: "all" is the excess in per cent of the floor, the rules are nats a word."""
    found = measured()
    unknown = [row for row in rows if row not in found]
    if unknown or not rows:
        raise ConfigError(f"There is no row {unknown or rows}; the rows are {', '.join(found)}.")
    result = {}
    for row in rows:
        runs = found[row]
        result[row] = {"all": 100 * sum(run["share"] for run in runs) / len(runs)}
        for rule in runs[0]["by rule"]:
            if rule != "free":
                result[row][rule] = sum(run["by rule"][rule] for run in runs) / len(runs)
    return result


def spread(row: str, rule: str) -> float:
    """Highest less lowest over the seeds of a row, in the units of `means`."""
    known = means([row])[row]
    if rule not in known:
        raise ConfigError(f"There is no rule {rule!r}; there are {', '.join(known)}.")
    values = [100 * run["share"] if rule == "all" else run["by rule"][rule] for run in measured()[row]]
    return max(values) - min(values)


def table(rows: list[str], rules: list[str] | None = None) -> str:
    """The rows side by side as text; * marks what is above the first row by more than three of its seed spreads."""
    found = means(rows)
    first = found[rows[0]]
    rules = ["all", *(rules or [rule for rule in first if rule != "all"])]
    spreads = {rule: spread(rows[0], rule) for rule in rules}
    lines = [f"{'':<14}" + "".join(f"{'all, %' if rule == 'all' else rule:>11}" for rule in rules)]
    for row in rows:
        cells = []
        for rule in rules:
            value = max(0.0, found[row][rule])
            star = "*" if value - first[rule] > 3 * spreads[rule] else " "
            cells.append(f"{value:>9.1f}{star} " if rule == "all" else f"{value:>9.2f}{star} ")
        lines.append(f"{row:<14}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)
