"""The experiment of lesson 09: at each sampling setting the model writes some tales, and the parser counts the valid.

A setting is measured when it is first chosen. So the picture grows while one tries.
"""

import numpy as np
from matplotlib.figure import Figure

from .. import plots
from ..analysis.quality import Quality, measure
from ..config import SampleConfig
from ..errors import ConfigError
from .controls import Choice
from .panel import Panel

SETTINGS = {"temperature": (0.5, 1.0, 1.5), "top_k": (1, 5, 50), "top_p": (0.5, 0.9), "min_p": (0.02, 0.1)}


class Experiment:
    """Draws the settings measured so far: the share of valid tales with its 95 % interval, and of different ones.

    measured: (setting, value) → Quality. n: tales per setting.
    """

    def __init__(self, model, tokenizer, grammar: str, n: int, seed: int, title: str):
        self.model, self.tokenizer, self.grammar, self.n, self.seed = model, tokenizer, grammar, n, seed
        self.title, self.measured = title, {}
        self.settings = [(name, value) for name, values in SETTINGS.items() for value in values]

    def __call__(self, figure: Figure, setting: tuple[str, float]) -> str:
        name, value = setting
        if setting not in self.measured:
            config = SampleConfig(**{name: value})
            self.measured[setting] = measure(self.model, self.tokenizer, self.grammar, self.n, config, self.seed)
        self.draw(figure, setting)
        quality = self.measured[setting]
        low, high = quality.interval
        return (
            f"{named(setting)}: {quality.valid} of {quality.n} tales are valid, 95 % interval {low:.0%} to {high:.0%}; "
            f"{quality.distinct} {'is' if quality.distinct == 1 else 'are'} different. "
            f"Measured so far: {len(self.measured)} of {len(self.settings)} settings."
        )

    def draw(self, figure: Figure, chosen: tuple[str, float]):
        ax, places = figure.subplots(), {setting: x for x, setting in enumerate(self.settings)}
        x = np.array([places[setting] for setting in self.measured])
        qualities: list[Quality] = list(self.measured.values())
        valid = np.array([quality.valid / quality.n for quality in qualities])
        ends = np.array([quality.interval for quality in qualities]).T  # (2, settings)
        to_ends = np.maximum(0, [valid - ends[0], ends[1] - valid])  # rounding may make one negative
        ax.errorbar(x, valid, to_ends, color=plots.ROLES["right"], marker="o", ls="", capsize=3, label="valid")
        different = [quality.distinct / quality.n for quality in qualities]
        ax.plot(x + 0.2, different, "s", color=plots.ORANGE, ms=5, label="different")
        ax.axvline(places[chosen], color=plots.ROLES["marked"], lw=1, ls=":")
        ax.set_xticks(range(len(places)), [named(setting).replace(" ", "\n") for setting in places], fontsize=8)
        ax.set(xlim=(-0.5, len(places) - 0.5), ylim=(-0.03, 1.08), ylabel=f"share of {self.n} tales")
        ax.set_title(self.title, fontsize=9, loc="left")
        ax.legend(fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))


def named(setting: tuple[str, float]) -> str:
    """A setting in words.

    >>> named(("top_k", 5))
    'top-k 5'
    """
    return f"{setting[0].replace('_', '-')} {setting[1]:g}"


def sampling_experiment(
    model, tokenizer, grammar: str | None, n: int = 40, seed: int = 9, title: str = ""
) -> tuple[Panel, dict[tuple[str, float], Quality]]:
    """The panel, and what it has measured so far: (setting, value) → Quality.

    n: tales per setting; 40 take a second or two. Raises ConfigError for a model of no tales, because nobody can
    count the valid texts of another.
    """
    if grammar is None:
        raise ConfigError("Only the tales have a parser that counts valid texts; take a model of tales.")
    experiment = Experiment(model, tokenizer, grammar, n, seed, title)
    options = {named(setting): setting for setting in experiment.settings}
    name = f"sampling experiment, {title}" if title else "sampling experiment"
    first = Choice(experiment.settings[0], options, label="setting")
    return Panel(experiment, width=9, height=3.4, name=name, setting=first), experiment.measured
