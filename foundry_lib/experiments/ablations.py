"""The excess loss of a model without one of its parts: trainings without a part, and the table of such trainings.

ablations.table(["whole model", "no norm"])       # the shipped measurements, three seeds per row
ablations.train("no norm", seed=0)                # train one row again on this machine
"""

import json
from statistics import fmean

from torch import nn

from ..analysis.statistics import beyond_noise
from ..errors import ConfigError, DivergedError
from ..paths import DATA
from ..training.recipes import new_trainer
from . import variants
from .sweeps import result_of

RUNS = DATA / "tales_runs.jsonl"
UNSEEN = 999_983  # seed of tales that no training uses
STEPS = 1000  # the shipped rows' length and rate; `benchmarks/tales_runs.py` trains at the recipe's
RATE = 2.5e-3

# Row → what differs from the recipe, as `new_trainer` takes it. The whole model is pre-norm with RMSNorm; it has RoPE
# of base 500, four query heads on two kv heads (GQA), SwiGLU, two layers and a tied head.
ROWS = {
    "whole model": {},
    "no norm": {"parts": {"norm": variants.no_norm}},
    "LayerNorm": {"parts": {"norm": nn.LayerNorm}},
    "post-norm": {"parts": {"block": variants.PostNormBlock}},
    "QK-norm": {"parts": {"attention": variants.qk_norm_attention}},
    "no RoPE": {"parts": {"rope_table": variants.no_rotation}},
    "learned positions": {"parts": {"rope_table": variants.no_rotation, "block": variants.LearnedPositions}},
    "sinusoidal positions": {"parts": {"rope_table": variants.no_rotation, "block": variants.SinusoidalPositions}},
    "RoPE base 10,000": {"rope_theta": 10_000.0},
    "no attention": {"parts": {"attention": variants.Nothing}},
    "one kv head": {"n_kv_heads": 1},  # MQA
    "four kv heads": {"n_kv_heads": 4},  # MHA
    "no MLP": {"parts": {"feed_forward": variants.Nothing}},
    "plain MLP, ReLU²": {"parts": {"feed_forward": variants.relu_squared_mlp}},
    "plain MLP, GELU": {"parts": {"feed_forward": variants.gelu_mlp}},
    "one layer": {"n_layers": 1},
    "four layers": {"n_layers": 4},
    "untied head": {"tie_embeddings": False},
}

# Embedding std and learning rate: every pair, so that each std is judged at the rate that suits it. The recipe's pair,
# 0.3 and 4e-3, is the whole model.
STDS, RATES = (0.02, 0.088, 0.3, 1.0), (2e-3, 4e-3, 8e-3)
GRID = {
    f"std {std:g}, rate {rate:g}": {"embedding_std": std, "learning_rate": rate}
    for std in STDS
    for rate in RATES
    if (std, rate) != (0.3, 4e-3)
}


def train(row: str, seed: int, steps: int = STEPS, device: str | None = None) -> dict:
    """Train the model of a row on tales-en and measure it on the validation tales: a dictionary as in `RUNS`.

    device: None is the best there is. The shipped rows were trained on a CPU.
    Raises ConfigError for a row that does not exist.
    """
    if row not in ROWS:
        raise ConfigError(f"There is no row {row!r}; the rows are {', '.join(ROWS)}.")
    common = {"learning_rate": RATE, "max_iters": steps, "eval_interval": steps}
    trainer = new_trainer("tales-en", seed=seed, device=device, **{**common, **ROWS[row]})
    try:
        list(trainer.run())
    except DivergedError as error:
        result = {"status": "diverged", "why": str(error)}
    else:
        result = result_of(trainer)
    return stored("ablation", row, seed, trainer.model.n_params, result)


def stored(kind: str, row: str, seed: int, parameters: int, result: dict) -> dict:
    """A run as a line of `RUNS`. result: that of a training that has ended, as in result.json of a sweep."""
    run = {"kind": kind, "row": row, "seed": seed, "parameters": parameters}
    if result["status"] == "diverged":
        return run | {"diverged": result["why"][:60]}
    return run | {
        "steps": result["steps"],
        "seconds": round(result["seconds"]),
        "share": round(result["share"], 4),
        "by rule": {rule: round(nats, 4) for rule, nats in result["owed"].items()},
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
