"""The excess loss of a model without one of its parts: trainings without a part, and the table of such trainings.

ablations.table(["whole model", "no norm"])       # the shipped measurements, three seeds per row
ablations.train("no norm", seed=0)                # train one row again on this machine
"""

import json
import time
from statistics import fmean

import torch
from torch import nn

from .. import tales
from ..analysis.quality import excess
from ..analysis.statistics import beyond_noise
from ..errors import ConfigError, FoundryError
from ..paths import DATA
from ..training.recipes import new_trainer

RUNS = DATA / "tales_runs.jsonl"
UNSEEN = 999_983  # seed of the tales that are measured; no training uses it
STEPS = 1000


class Nothing(nn.Module):
    """A part that adds nothing to the residual stream."""

    def forward(self, x, *rest):
        return torch.zeros_like(x)


def no_rope(model):
    model.freqs_cis[0], model.freqs_cis[1] = 1.0, 0.0  # rotate by 0 at every position


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


# row → (settings that differ, function that changes the model)
ROWS = {
    "whole model": ({}, None),
    "no RoPE": ({}, no_rope),
    "no norm": ({}, no_norm),
    "no attention": ({}, no_attention),
    "no MLP": ({}, no_mlp),
    "one layer": ({"n_layers": 1}, None),
    "one kv head": ({"n_kv_heads": 1}, None),
}
SAME = {"learning_rate": 2.5e-3}  # in every row, so that rows trained on different days can be compared


def train(row: str, seed: int, steps: int = STEPS, device: str | None = None) -> dict:
    """Train the model of a row on tales-en and measure it on 300 unseen tales: a dictionary as in `RUNS`.

    device: None is the best there is. The shipped rows were trained on a CPU.
    Raises ConfigError for a row that does not exist.
    """
    if row not in ROWS:
        raise ConfigError(f"There is no row {row!r}; the rows are {', '.join(ROWS)}.")
    settings, change = ROWS[row]
    common = {"device": device, "max_iters": steps, "eval_interval": 10_000, **SAME}
    trainer = new_trainer("tales-en", seed=seed, **common, **settings)
    if change:
        change(trainer.model)
    return finish({"kind": "ablation", "row": row, "seed": seed}, trainer)


def finish(run: dict, trainer) -> dict:
    """Run a training to its end and return `run` with the measurements added."""
    run = run | {"parameters": sum(p.numel() for p in trainer.model.parameters())}
    started = time.monotonic()
    try:
        list(trainer.run())
    except FoundryError as error:
        return run | {"diverged": str(error)[:60]}
    unseen = tales.generate(trainer.loader.corpus.grammar, UNSEEN, 300)
    above = excess(trainer.model, trainer.loader.tokenizer, unseen)
    return run | {
        "seconds": round(time.monotonic() - started),
        "share": round(above.share, 4),
        "by rule": {rule: round(nats, 4) for rule, nats in above.by_rule.items()},
    }


def measured(kind: str = "ablation") -> dict[str, list[dict]]:
    """The shipped runs of a kind ("ablation", "sweep", "recipe"): row → one run per seed, as it is stored."""
    rows = {}
    for line in RUNS.read_text("utf-8").splitlines():
        run = json.loads(line)
        if run["kind"] == kind and "share" in run:
            rows.setdefault(run["row"], []).append(run)
    return rows


def by_row() -> dict[str, dict[str, list[float]]]:
    """The shipped ablations: row → column → one value per seed.

    The column "all" is the loss above the floor in per cent of the floor; each rule is in nats per word.
    """
    return {
        row: {"all": [100 * run["share"] for run in runs]}
        | {rule: [run["by rule"][rule] for run in runs] for rule in runs[0]["by rule"] if rule != "free"}
        for row, runs in measured().items()
    }


def chosen(rows: list[str], rules: list[str] | None = None) -> dict[str, dict[str, list[float]]]:
    """`by_row` for some rows and rules (none given: all rules). Raises ConfigError for a row or a rule without runs."""
    runs = by_row()
    unknown = [row for row in rows if row not in runs]
    if unknown or not rows:
        raise ConfigError(f"There is no row {unknown or rows}; the rows are {', '.join(runs)}.")
    columns = list(runs[rows[0]])
    wrong = [rule for rule in rules or () if rule not in columns]
    if wrong:
        raise ConfigError(f"There is no rule {wrong[0]!r}; there are {', '.join(columns)}.")
    if rules:
        columns = ["all", *(rule for rule in rules if rule != "all")]
    return {row: {column: runs[row][column] for column in columns} for row in rows}


def means(rows: list[str]) -> dict[str, dict[str, float]]:
    """The mean over the seeds of each row, in the columns and units of `by_row`."""
    return {row: {column: fmean(values) for column, values in cells.items()} for row, cells in chosen(rows).items()}


def table(rows: list[str], rules: list[str] | None = None) -> str:
    """The rows side by side as text, means over the seeds. A mean below 0 is chance and is printed as 0.

    A * marks a row that is worse than the first row by more than the noise of the seeds (`beyond_noise`).
    """
    cells = chosen(rows, rules)
    first = cells[rows[0]]
    lines = [f"{'':<14}" + "".join(f"{'all, %' if column == 'all' else column:>11}" for column in first)]
    for row, columns in cells.items():
        line = f"{row:<14}"
        for column, values in columns.items():
            mean = fmean(values)
            star = "*" if mean > fmean(first[column]) and beyond_noise(first[column], values) else " "
            line += f"{max(0.0, mean):>9.{1 if column == 'all' else 2}f}{star} "
        lines.append(line.rstrip())
    return "\n".join(lines)
