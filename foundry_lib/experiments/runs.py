"""Runs: the files of a training, read from its folder, compared and drawn. `sweeps` writes them."""

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np

from .. import plots
from ..analysis.statistics import Difference, against_first
from ..errors import CheckpointError, ConfigError
from ..files import write_whole
from ..training.checkpoint import checkpoints


@dataclass(frozen=True)
class Run:
    """One training, read from its folder. config: run.json. log: one record per step. result: result.json, None for a
    training that has not ended."""

    row: str
    seed: int
    folder: Path
    config: dict
    log: list[dict]
    result: dict | None

    @property
    def done(self) -> bool:
        """Whether all steps were trained; a training that diverged is not done."""
        return self.result is not None and self.result["status"] == "done"

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, or None."""
        return next(reversed(checkpoints(self.folder)), None)


def safe(name: str) -> str:
    """The same name, if every operating system takes it as the name of one folder; otherwise raises ConfigError.

    A name is never changed, so that two names cannot end in the same folder.
    """
    if not isinstance(name, str) or not name.strip() or re.search(r'[<>:"/\\|?*\x00-\x1f]', name) or len(name) > 80:
        raise ConfigError(f'{name!r} cannot name a folder: use 1 to 80 characters without any of / \\ : * ? " < > |.')
    if name[0] in " ." or name[-1] in " .":
        raise ConfigError(f"{name!r} cannot name a folder: it begins or ends with a space or a dot.")
    return name


@contextmanager
def write_errors(path: Path):
    """Turn the system's refusal to write (a full disk, a read-only folder) into a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}. Free some disk space, or choose another root= "
            f"that you may write to. The same call then skips the runs that are done and resumes the saved ones."
        ) from error


def write(path: Path, text: str):
    """Replace a file in one step, so that a reader finds it whole. Raises CheckpointError."""
    with write_errors(path):
        write_whole(path, text, sync=False)


def read_run(folder: Path) -> Run | None:
    """The run in a folder; None if there is none, or if its files cannot be read."""
    try:
        config = json.loads((folder / "run.json").read_text("utf-8"))
        log, result = folder / "log.jsonl", folder / "result.json"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        ending = json.loads(result.read_text("utf-8")) if result.exists() else None
        config["hash"], config["decides"], config["when"]  # KeyError for a file that no sweep wrote
        return Run(config["row"], config["seed"], folder, config, [json.loads(line) for line in lines], ending)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load(experiment: str, root: Path | str = "runs") -> list[Run]:
    """The runs of an experiment, row by row, in the order in which the rows were started.

    Raises ConfigError if there are none.
    """
    folder = Path(root) / safe(experiment)
    runs = [run for path in folder.glob("*/run.json") if (run := read_run(path.parent))]
    if not runs:
        raise ConfigError(f"There are no runs in {folder} (working folder: {Path.cwd()}); `sweep` makes some.")
    runs.sort(key=lambda run: (run.config["when"], run.row, run.seed))
    order = list(dict.fromkeys(run.row for run in runs))
    return sorted(runs, key=lambda run: (order.index(run.row), run.seed))


UNITS = {"share": ("% above the floor", 100), "bits_per_byte": ("bits/byte", 1), "val_loss": ("nats/token", 1)}


def by_row(runs: list[Run]) -> dict[str, list[Run]]:
    """Row → its runs."""
    rows = {}
    for run in runs:
        rows.setdefault(run.row, []).append(run)
    return rows


def compare(runs: list[Run], measure: str | None = None) -> str:
    """The rows as a table: the mean, the lowest and highest over the seeds, and the difference from the first row with
    its 95 % interval and p (`against_first`: Welch's test, with Holm's correction for all rows of the table).

    measure: "share" (loss above the floor, in per cent of the floor), "bits_per_byte" or "val_loss"; None: the first of
    these that every run has. seconds: of the processor. Raises ConfigError for no runs, and for another measure.
    """
    if not runs:
        raise ConfigError("There are no runs to compare; a sweep gives them.")
    if measure not in (None, *UNITS):
        raise ConfigError(f"There is no measure {measure!r}; there are {', '.join(UNITS)}.")
    done = [run for run in runs if run.done]
    measure = measure or ("share" if all("share" in run.result for run in done) else "bits_per_byte")
    width, unit = max(len(run.row) for run in runs), UNITS[measure][0]
    head = f"{'':<{width}} seeds steps seconds {unit:>18} {'lowest to highest':>18}"
    lines, rows = [head + f"{'minus the first row':>26} {'p':>7}"], by_row(runs)
    values = {row: [UNITS[measure][1] * run.result[measure] for run in some if run.done] for row, some in rows.items()}
    found = differences(values)
    for row, members in rows.items():
        remarks = "; ".join(unfinished(members))
        difference = in_columns(found[row], 1 if measure == "share" else 3) if row in found else f"{'':34}"
        lines.append(f"{row:<{width}} {numbers(members, values[row], measure)}{difference}  {remarks}")
    return "\n".join(line.rstrip() for line in lines)


def differences(values: dict[str, list[float]]) -> dict[str, Difference]:
    """`against_first` for the rows with at least two seeds; nothing where the first row has fewer."""
    some = {row: seeds for row, seeds in values.items() if len(seeds) > 1}
    return against_first(some) if next(iter(values)) in some else {}


def in_columns(found: Difference, digits: int) -> str:
    """The columns of a difference: its value with the interval, and p.

    >>> in_columns(Difference(0.7, 0.47, 0.93, 0.00009), 2)
    '    +0.70 (+0.47 to +0.93) < 0.001'
    """
    interval = f"{found.value:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"
    return f"{interval:>26} {'< 0.001' if found.p < 0.001 else f'{found.p:7.3f}'}"


def unfinished(members: list[Run]) -> list[str]:
    """How many runs of a row diverged, and how many have not ended."""
    diverged = sum(run.result is not None and not run.done for run in members)
    open_ended = sum(run.result is None for run in members)
    counts = {"diverged": diverged, "not finished": open_ended}
    return [f"{count} of {len(members)} {what}" for what, count in counts.items() if count]


def numbers(members: list[Run], values: list[float], measure: str) -> str:
    """The columns of a row: seeds, steps, seconds, mean, lowest to highest; only the first where no run is done."""
    if not values:
        return f"{0:>5} {'':51}"
    seconds = fmean(run.result.get("processor_seconds", run.result["seconds"]) for run in members if run.done)
    steps = fmean(run.result["steps"] for run in members if run.done)
    digits = 1 if measure == "share" else 3
    span = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
    return f"{len(values):>5} {steps:>5.0f} {seconds:>7.1f} {fmean(values):>18.{digits}f} {span:>18}"


def time_apart(runs: list[Run]) -> float:
    """By which share the slowest row took more processor seconds than the fastest one, means over the seeds."""
    means = [fmean(run.result["processor_seconds"] for run in members if run.done) for members in by_row(runs).values()]
    return max(means) / min(means) - 1


def tokens_per_second(runs: list[Run], row: str) -> float:
    """Training tokens per processor second, over all seeds of a row."""
    results = [run.result for run in runs if run.row == row and run.done]
    return sum(result["tokens"] for result in results) / sum(result["processor_seconds"] for result in results)


def curves(runs: list[Run], x: str = "step", y: str = "train_loss") -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Row → one curve per seed, as two arrays, x and y.

    A training loss is smoothed: the running mean over a tenth of the steps, at most over 20 steps. Seconds are those of
    the processor: the same share of them for every step.
    """
    rows = {}
    for run in runs:
        records = [record for record in run.log if y in record]
        if x == "seconds" and run.done and "processor_seconds" in run.result:
            pace = run.result["processor_seconds"] / run.result["steps"]
            records = [{**record, "seconds": pace * record["step"]} for record in records]
        values = np.array([record[y] for record in records])
        if y == "train_loss":
            values = plots.running_mean(values, min(20, max(1, len(values) // 10)))
        if len(values):
            rows.setdefault(run.row, []).append((np.array([record[x] for record in records], dtype=float), values))
    return rows


def overlay(runs: list[Run], x: str = "step", y: str = "train_loss", ax=None) -> str:
    """Draw the curves of all runs, one colour per row, against "step" or "seconds": on `ax`, or shown at once.

    Returns the last values as a sentence. Raises ConfigError for another x or y.
    """
    if x not in ("step", "seconds") or y not in ("train_loss", "val_loss"):
        raise ConfigError(f'x is "step" or "seconds", y "train_loss" or "val_loss"; found {x!r} and {y!r}.')
    axes = ax or plt.subplots()[1]
    rows = curves(runs, x, y)
    label = "training loss, running mean" if y == "train_loss" else "validation loss"
    plots.draw_runs(axes, rows, "step" if x == "step" else "processor seconds of training", f"{label} (nats)")
    ends = [
        f"{row} {fmean(v[-1] for _, v in seeds):.2f} nats after {fmean(s[-1] for s, _ in seeds):.0f}"
        for row, seeds in rows.items()
    ]
    sentence = f"{label}, at the end: {', '.join(ends)} {'steps' if x == 'step' else 'seconds'}."
    if ax is None:
        plots.show(axes.figure, sentence)
    return sentence
