"""A plan of an experiment, written down before its first run, and what the runs say about it afterwards.

plan = Plan("kv heads", question="Does one kv head in place of two raise the loss?", change={"n_kv_heads": 1}, …)
print(plan.report(noise=2.0))     # what is still wrong with it
runs = plan.run(paths.RUNS)       # stores the plan, then trains both rows
print(plan.verdict(runs))
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scipy import stats

from ..analysis.statistics import CONFIDENCE, welch
from ..errors import ConfigError
from .runs import UNITS, Run, safe, write, write_errors
from .sweeps import sweep

BASE, CHANGED = "as it was", "changed"
FEWEST, MOST = 3, 30  # seeds: below FEWEST an interval says next to nothing


def half_width(seeds: int, noise: float) -> float:
    """Half the 95 % interval of a difference between two rows of `seeds` trainings each.

    noise: the standard deviation between the seeds of a row.

    >>> round(half_width(3, 2.0), 2)  # 2.776 · 2.0 · √(2/3)
    4.53
    """
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, 2 * seeds - 2)) * noise * math.sqrt(2 / seeds)


def seeds_needed(smallest: float, noise: float) -> int | None:
    """The fewest seeds per row with which a difference of `smallest` is as large as `half_width`; None for over 30.

    >>> seeds_needed(3.0, 2.0), seeds_needed(0.1, 2.0)
    (5, None)
    """
    return next((n for n in range(FEWEST, MOST + 1) if half_width(n, noise) <= smallest), None)


@dataclass(frozen=True)
class Plan:
    """One change, tried with seeds.

    name: of the experiment and its folder. change: one setting and its new value, as `new_trainer` takes them.
    prediction: what you expect, with a number. smallest: the smallest difference that would matter to you, in the unit
    of the measure. settings: what both rows share. measure: "share" (% above the floor), "bits_per_byte" or "val_loss".
    """

    name: str
    question: str
    change: dict
    prediction: str
    smallest: float
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: dict = field(default_factory=dict)
    measure: str = "share"

    def problems(self, noise: float | None = None) -> list[str]:
        """What is wrong with the plan, a sentence each. noise: standard deviation between seeds, from earlier runs."""
        found = []
        if not self.question.strip().endswith("?") or len(self.question.split()) < 4:
            found.append('question: write one sentence that ends with "?".')
        if len(self.change) != 1:
            found.append(f"change: one setting, found {len(self.change)}. With two nobody can tell which one acted.")
        same = [name for name, value in self.change.items() if name in self.settings and self.settings[name] == value]
        if same:
            found.append(f"change: {same[0]} has this value in both rows.")
        if not any(sign.isdigit() for sign in self.prediction):
            found.append("prediction: write a number. Without one every outcome fits.")
        if self.measure not in UNITS:
            found.append(f"measure: choose one of {', '.join(UNITS)}.")
        if len(set(self.seeds)) < FEWEST:
            found.append(f"seeds: {FEWEST} or more, all different, found {self.seeds}.")
        elif not self.smallest > 0:
            found.append("smallest: a number above 0. Which difference would change what you do?")
        elif noise is not None and half_width(len(self.seeds), noise) > self.smallest:
            found.append(self._too_few(noise))
        return found

    def _too_few(self, noise: float) -> str:
        needed = seeds_needed(self.smallest, noise)
        way = f"Plan {needed} seeds" if needed else f"More than {MOST} seeds would be needed: train longer"
        half = half_width(len(self.seeds), noise)
        return (
            f"seeds: with {len(self.seeds)} of them the interval will reach about ± {half:.2g}, and you look for "
            f"{self.smallest:g}. {way}, or look for a larger difference."
        )

    def report(self, noise: float | None = None) -> str:
        """The problems as lines, or a line that says that the plan can be run."""
        found = self.problems(noise)
        return "\n".join(f"✗ {problem}" for problem in found) or "✓ The plan can be run."

    def run(self, root: Path | str, **common) -> list[Run]:
        """Store the plan as plan.json, train both rows, and return the runs. common: as `sweep` takes it.

        Raises ConfigError for a plan with problems, and where the folder holds runs of another plan: a plan that is
        written after the runs is none.
        """
        if found := self.problems():
            raise ConfigError("The plan has problems. " + " ".join(found))
        path = Path(root) / safe(self.name) / "plan.json"
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, default=str)
        if path.exists() and path.read_text("utf-8") != text:
            raise ConfigError(
                f"{path} holds another plan. A plan is not changed after it was stored: choose a new name."
            )
        if not path.exists() and path.parent.exists():
            raise ConfigError(f"{path.parent} has runs already, and no plan. Choose a new name.")
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text)
        return sweep(self.name, {BASE: {}, CHANGED: self.change}, self.seeds, root=root, **self.settings, **common)

    def verdict(self, runs: list[Run]) -> str:
        """The difference, its 95 % interval, and what it says about `smallest`. Raises ConfigError for too few runs."""
        unit, factor = UNITS[self.measure]
        values = [[factor * run.result[self.measure] for run in runs if run.row == row and run.done]
                  for row in (BASE, CHANGED)]  # fmt: skip
        found = welch(*values)
        if found.low > 0 or found.high < 0:
            words = f"a difference: {'higher' if found.low > 0 else 'lower'} loss with the change"
            sure = min(abs(found.low), abs(found.high)) >= self.smallest
            words += f", and at least the {self.smallest:g} that matters" if sure else ""
        elif max(-found.low, found.high) < self.smallest:
            words = f"no difference of {self.smallest:g} or more"
        else:
            words = "undecided: the interval holds 0 and differences that would matter. Train more seeds, or longer"
        return (
            f"{found.value:+.2f} {unit}, 95 % interval {found.low:+.2f} to {found.high:+.2f} (Welch's test, p = "
            f"{found.p:.3f}; {len(values[0])} and {len(values[1])} seeds): {words}. You predicted: {self.prediction}"
        )
