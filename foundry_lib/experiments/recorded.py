"""Recorded trainings for the experiments of lesson 09: which rows there are, and what was measured.

print(compare(recorded("rate")))      # the trainings of a group: Welch's test against its first row

`benchmarks/experiment_runs.py` trains them. Every row differs from `BASE` in what its name says, in nothing else.
"""

import json
import textwrap
from statistics import fmean

from ..analysis.statistics import mean_interval, wilson
from ..errors import ConfigError
from ..paths import DATA
from .runs import Run, by_row

RUNS = DATA / "experiment_runs.jsonl"

# The recipe of the tales with a smaller batch and fewer steps, so that a row takes seconds to minutes. Few validation
# tales, because an evaluation of all of them would take longer than a short training.
BASE = {
    "text": "tales-en",
    "preset": "tiny",
    "batch_size": 4,
    "learning_rate": 4e-3,
    "max_iters": 500,
    "val_fraction": 0.03,
}
WIDTH = 128  # of the preset tiny

# Group → row → what differs from BASE. The first row is that with which the others are compared. Two rows with the same
# settings are one training.
GROUPS = {
    "rate": {f"rate {rate:g}": {"learning_rate": rate} for rate in (4e-3, 1e-4, 1e-3, 1e-2, 4e-2)},
    "steps": {f"{steps:,} steps": {"max_iters": steps} for steps in (500, 1000, 2000)},
    "batch": {
        "batch 4, 500 steps": {},
        "batch 16, 500 steps": {"batch_size": 16},
        "batch 64, 500 steps": {"batch_size": 64},
        "batch 4, 2,000 steps": {"max_iters": 2000},
        "batch 64, 125 steps": {"batch_size": 64, "max_iters": 125},
    },
    "scaling": {
        f"width {width}, {steps:,} steps": ({} if width == WIDTH else {"dim": width}) | {"max_iters": steps}
        for width in (32, 64, WIDTH)
        for steps in (250, 500, 1000)
    },
    "size": {preset: {"preset": preset, "max_iters": 2000} for preset in ("tiny", "small", "medium")},
    "poems": {  # a rate of None is that of the recipe for prose
        f"{steps:,} steps": {"text": "tang-poems", "learning_rate": None, "val_fraction": 0.1, "max_iters": steps}
        for steps in (100, 300, 1000)
    },
}


def settings(group: str, row: str) -> dict:
    """All settings of a row, as `new_trainer` takes them.

    >>> settings("batch", "batch 16, 500 steps")["batch_size"], settings("batch", "batch 4, 500 steps")["batch_size"]
    (16, 4)
    """
    return {**BASE, **GROUPS[group][row]}


def name(values: dict) -> str:
    """The name of a training, made of its settings: rows with the same settings have the same name.

    >>> name(settings("rate", "rate 0.001"))
    'tales-en tiny batch_size 4 learning_rate 0.001 max_iters 500'
    """
    numbers = ("dim", "batch_size", "learning_rate", "max_iters")
    return " ".join([values["text"], values["preset"], *(f"{n} {values[n]:g}" for n in numbers if values.get(n))])


def recorded(group: str) -> list[Run]:
    """The recorded trainings of a group, row by row. A row that nobody has trained is left out.

    result: the line of data/experiment_runs.jsonl, with the status of the training. The runs have no folder and no log.
    Raises ConfigError for a group that does not exist.
    """
    if group not in GROUPS:
        raise ConfigError(f"There is no group {group!r}; the groups are {', '.join(GROUPS)}.")
    lines = [json.loads(line) for line in RUNS.read_text("utf-8").splitlines()]
    runs = []
    for row in GROUPS[group]:
        for line in (line for line in lines if line["name"] == name(settings(group, row))):
            status = "diverged" if "diverged" in line else "done"
            runs.append(Run(row, line["seed"], None, {}, [], {"status": status, **line}))
    return runs


def with_interval(value: float, ends: tuple[float, float], digits: int = 0) -> str:
    """
    >>> with_interval(2.71, (2.04, 3.5), 1)
    '2.7 (2.0 to 3.5)'
    """
    return f"{value:.{digits}f} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"


def judged_table(runs: list[Run]) -> str:
    """The loss above the floor and the share of valid tales of each row, in per cent, with their 95 % intervals.

    runs: of the group "size". The first interval is Student's, over the seeds; one seed has none. The second one is
    Wilson's, over the tales that the models of all seeds wrote.
    """
    lines = [f"{'':<7} seeds {'above the floor, %':>22} {'tales':>6} {'valid, %':>15}"]
    for row, members in by_row(runs).items():
        shares = [100 * run.result["share"] for run in members]
        loss = with_interval(fmean(shares), mean_interval(shares), 1) if len(shares) > 1 else f"{shares[0]:.1f}"
        written, valid = (sum(run.result.get(key, 0) for run in members) for key in ("tales", "valid"))
        ends = tuple(100 * end for end in wilson(valid, written)) if written else ()
        share = with_interval(100 * valid / written, ends) if written else "not judged"
        lines.append(f"{row:<7} {len(members):>5} {loss:>22} {written:>6} {share:>15}")
    return "\n".join(lines)


def first_tales(runs: list[Run], width: int = 96) -> str:
    """The start of the first tale that the first seed of each row wrote, and what the parser says of the whole tale."""
    lines = []
    for row, (run, *_) in by_row([run for run in runs if "text" in run.result]).items():
        start = textwrap.shorten(run.result["text"], 300, placeholder=" …")
        lines += [textwrap.fill(f"{row}: {start}", width), f"    → {run.result['verdict']}"]
    return "\n".join(lines)
