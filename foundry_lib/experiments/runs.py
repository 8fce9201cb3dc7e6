"""What trainings have left behind: a folder each, read back, compared and drawn. `experiments` makes them."""

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from .. import plots
from ..errors import CheckpointError, ConfigError
from ..files import write_whole
from ..training.checkpoint import checkpoints

FEWEST = 3  # seeds that a verdict needs


@dataclass(frozen=True)
class Run:
    """One training as its folder tells it. `result` is None while it is not finished."""

    row: str
    seed: int
    folder: Path
    config: dict
    log: list[dict]
    result: dict | None

    @property
    def done(self) -> bool:
        """Whether it came to its end; a training that diverged did not."""
        return self.result is not None and self.result["status"] == "done"

    @property
    def checkpoint(self) -> Path | None:
        found = checkpoints(self.folder)
        return found[-1] if found else None


def safe(name: str) -> str:
    """A name that any system takes as that of one folder, or ConfigError; names are refused and never changed, so that
    two of them cannot end in the same folder."""
    if not isinstance(name, str) or not name.strip() or re.search(r'[<>:"/\\|?*\x00-\x1f]', name) or len(name) > 80:
        raise ConfigError(f'{name!r} cannot name a folder: use 1 to 80 characters without any of / \\ : * ? " < > |.')
    if name[0] in " ." or name[-1] in " .":
        raise ConfigError(f"{name!r} cannot name a folder: it begins or ends with a space or a dot.")
    return name


@contextmanager
def said_when_refused(path: Path):
    """Let the system's refusal to write (a full disk, a folder that is read-only) end in one sentence."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}. Free some room, or choose another root= that you "
            f"may write to; the same call skips the runs that are done and goes on with those that were saved."
        ) from error


def write(path: Path, text: str):
    """Replace a file as a whole, so that it is never half written. Raises CheckpointError."""
    with said_when_refused(path):
        write_whole(path, text, sync=False)


def read_run(folder: Path) -> Run | None:
    """The run in a folder; None where there is none that can be read."""
    try:
        config = json.loads((folder / "run.json").read_text("utf-8"))
        log, result = folder / "log.jsonl", folder / "result.json"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        found = json.loads(result.read_text("utf-8")) if result.exists() else None
        config["hash"], config["decides"], config["when"]
        return Run(config["row"], config["seed"], folder, config, [json.loads(line) for line in lines], found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load(experiment: str, root: Path | str = "runs") -> list[Run]:
    """The runs of an experiment, row by row in the order in which they were begun. ConfigError when there is none."""
    folder = Path(root) / safe(experiment)
    runs = [run for path in folder.glob("*/run.json") if (run := read_run(path.parent))]
    if not runs:
        raise ConfigError(f"There are no runs in {folder}, seen from {Path.cwd()}; `sweep` makes some.")
    runs.sort(key=lambda run: (run.config["when"], run.row, run.seed))
    order = list(dict.fromkeys(run.row for run in runs))
    return sorted(runs, key=lambda run: (order.index(run.row), run.seed))


def beyond_noise(base: list[float], other: list[float]) -> bool | None:
    """Whether two rows differ by more than seeds do: their means are apart by more than three times the spread of
    `base`, highest less lowest (the rule of `ablations.table`). None with fewer than three seeds in either.

    Where there is no difference it sees one in 2 of 100 cases with three seeds (in 15 with two, hence the three).
    """
    if min(len(base), len(other)) < FEWEST:
        return None
    return abs(fmean(other) - fmean(base)) > 3 * (max(base) - min(base))


VERDICTS = {True: "a difference", False: "none that can be seen", None: f"fewer than {FEWEST} seeds: cannot be said"}
UNITS = {"share": ("% above the floor", 100), "bits_per_byte": ("bits/byte", 1), "val_loss": ("nats/token", 1)}


def by_row(runs: list[Run]) -> dict[str, list[Run]]:
    rows = {}
    for run in runs:
        rows.setdefault(run.row, []).append(run)
    return rows


def compare(runs: list[Run], measure: str | None = None) -> str:
    """The rows as a table with mean, lowest and highest over the seeds, and a verdict against the first row.

    measure: "share" (of the floor, above it), "bits_per_byte" or "val_loss"; None: the first that all runs have.
    """
    done = [run for run in runs if run.done]
    if not runs:
        raise ConfigError("There are no runs to compare; a sweep gives them.")
    if measure not in (None, *UNITS):
        raise ConfigError(f"There is no measure {measure!r}; there are {', '.join(UNITS)}.")
    measure = measure or ("share" if all("share" in run.result for run in done) else "bits_per_byte")
    unit, factor = UNITS[measure]
    width = max(len(run.row) for run in runs)
    head = f"{'':<{width}} seeds steps seconds {unit:>18} {'lowest to highest':>18}  against the first row"
    lines, base = [head], None
    for row, members in by_row(runs).items():
        values = [factor * run.result[measure] for run in members if run.done]
        diverged = sum(run.result is not None and not run.done for run in members)
        left = len(members) - len(values) - diverged
        counts = {"diverged": diverged, "not finished": left}
        notes = [f"{count} of {len(members)} {what}" for what, count in counts.items() if count]
        if not values:
            lines.append(f"{row:<{width}} {0:>5} {'':51}  {'; '.join(notes)}")
            continue
        seconds = fmean(run.result["seconds"] for run in members if run.done)
        steps = fmean(run.result["steps"] for run in members if run.done)
        verdict = "" if base is None else VERDICTS[beyond_noise(base, values)]
        base = values if base is None else base
        digits = 1 if measure == "share" else 3
        said = "; ".join([verdict] * bool(verdict) + notes)
        span = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
        mean = f"{fmean(values):.{digits}f}"
        lines.append(f"{row:<{width}} {len(values):>5} {steps:>5.0f} {seconds:>7.1f} {mean:>18} {span:>18}  {said}")
    return "\n".join(line.rstrip() for line in lines)


def curves(runs: list[Run], x: str = "step", y: str = "train_loss") -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Row → for each seed the curve, as two arrays; a training loss is the running mean of a tenth of its steps, at
    most of twenty."""
    rows = {}
    for run in runs:
        known = [record for record in run.log if y in record]
        values = [record[y] for record in known]
        values = (
            plots.running_mean(values, min(20, max(1, len(values) // 10))) if y == "train_loss" else np.array(values)
        )
        if len(values):
            rows.setdefault(run.row, []).append((np.array([record[x] for record in known], dtype=float), values))
    return rows


def overlay(runs: list[Run], x: str = "step", y: str = "train_loss", ax=None) -> str:
    """Draw the curves of all runs, a colour a row, against "step" or "seconds"; returns the reading in words."""
    if x not in ("step", "seconds") or y not in ("train_loss", "val_loss"):
        raise ConfigError(f'x is "step" or "seconds", y "train_loss" or "val_loss"; found {x!r} and {y!r}.')
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    found = curves(runs, x, y)
    label = "training loss, running mean" if y == "train_loss" else "validation loss"
    plots.draw_runs(ax, found, "step" if x == "step" else "seconds of training", f"{label} (nats)")
    ends = [
        f"{row} {fmean(v[-1] for _, v in seeds):.2f} nats after {fmean(s[-1] for s, _ in seeds):.0f}"
        for row, seeds in found.items()
    ]
    return f"{label}, at the end: {', '.join(ends)} {'steps' if x == 'step' else 'seconds'}."
