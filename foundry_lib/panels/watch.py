"""A training, seen while it runs: the curve with its known lines, what is owed by rule, the pace, and texts.

    said = watch(trainer, reference_lines(trainer.loader), prompt="Once there was")

Looking takes at most about 3 % of the time: what pictures and texts have cost so far is measured, and each waits while
that is more than its share. The bar and the line of numbers cost next to nothing and never wait.
"""

import base64
import math
import time
import weakref
from dataclasses import dataclass
from html import escape

import ipywidgets
import numpy as np
from IPython.display import display

from .. import plots, tales
from ..config import SampleConfig
from ..inference.generation import sample_text
from ..tales.floor import FREE
from ..training.trainer import learning_rate
from .live_figure import LiveFigure

SHARES = {"texts": 0.017, "pictures": 0.006}  # of the time; apart, or the pictures would leave nothing for the texts
PAUSE = 0.5  # seconds between two looks, at least
TEXTS = 6  # are shown, the newest on top
LENGTH = 200  # tokens of a text, at most; a tale has about 130
SETTINGS = SampleConfig(temperature=0.7)
SEED = 0  # of each text, so that it is the model that changes and not the draw


class LossFigure(LiveFigure):
    """The loss curve of a Trainer with the lines to compare it with (`baselines.reference_lines`); below, its rate.

    For tales a picture beside it shows what is still owed, rule by rule, at the last evaluation. What stays the same
    (axes, lines, names) is drawn once and kept as pixels; an update draws only what moves, six times as fast.
    """

    def __init__(self, trainer, lines: dict[str, float]):
        self.floor = trainer.loader.floor
        super().__init__(9.5 if self.floor else 7.5, 4.2, name="loss curve")
        self.trainer, self.lines, self.total = trainer, lines, trainer.config.max_iters
        self._moving = []
        self.figure.clear()
        if self.floor:
            grid = self.figure.add_gridspec(2, 2, width_ratios=[2, 1], height_ratios=[4, 1])
            self.owed_axes = self.figure.add_subplot(grid[:, 1])
        else:
            grid = self.figure.add_gridspec(2, 1, height_ratios=[4, 1])
        self.axes, self.rate_axes = self.figure.add_subplot(grid[0, 0]), self.figure.add_subplot(grid[1, 0])
        self.update()

    def update(self):
        """Show the history as it is now."""
        history = self.trainer.history
        trained = [r for r in history if r.train_loss is not None]
        evaluated = [r for r in history if r.val_loss is not None]
        heights = [r.train_loss for r in trained] + [r.val_loss for r in evaluated]
        outgrown = not self._moving or not all(self.bottom <= height <= self.top for height in heights)
        if outgrown:
            self._lay_out(heights)
        self._move(trained, evaluated)
        if outgrown:
            self.redraw()
        else:
            self.repaint()

    def _lay_out(self, heights: list[float]):
        """Draw what stays: axes that have room for `heights`, known lines, the planned learning rate, rules."""
        plots.draw_losses(self.axes, [np.nan], [np.nan], [np.nan], [np.nan], self.lines, self.total)
        self._curves = self.axes.lines[:3]
        highest = max([1.0, 1.02 * self.lines.get("ln V", 0.0), *(1.05 * height for height in heights)])
        logarithmic = "floor" in self.lines
        if logarithmic:
            self.bottom, self.top = min([0.75 * self.lines["floor"], *heights]), 1.1 * highest
        else:
            self.bottom = max(0.0, math.floor(2 * min([*self.lines.values(), *heights], default=0.0)) / 2 - 0.5)
            self.top = highest
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10) if self.bottom < tick < self.top]
        self.axes.set(ylim=(self.bottom, self.top), xlabel="")
        if logarithmic:
            self.axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            self.axes.legend(fontsize=8, loc="center", bbox_to_anchor=(0.5, 0.58))  # above the bigram line
        self.axes.tick_params(labelbottom=False)
        self._title = self.axes.set_title("step", fontsize=9, loc="left")
        self.rate_axes.clear()
        config = self.trainer.config
        steps = np.unique(np.linspace(0, self.total - 1, 200).round().astype(int))
        plan = [learning_rate(int(step), config) for step in steps]
        self.rate_axes.plot(steps + 1, plan, color=plots.GREY, ls=":", lw=1)
        self.rate_axes.set(xlim=(0, self.total), ylim=(0, 1.15 * max(plan)), xlabel="step", yticks=[])
        self.rate_axes.set_ylabel("learning\nrate", fontsize=8)
        (rate,) = self.rate_axes.plot([], [], color=plots.GREEN, lw=1.8)
        self._rate = rate
        place = dict(transform=self.rate_axes.transAxes, ha="right", va="top", fontsize=8)
        self._rate_text = self.rate_axes.text(0.99, 0.95, "", **place)
        self._moving = [*self._curves, self.axes.get_legend(), self._title, rate, self._rate_text]
        if self.floor:
            self._rules = sorted(set(self.floor.rules) - {FREE}, key=lambda rule: self.floor.forgetful_by_rule[rule])
            forgetful = {rule: self.floor.forgetful_by_rule[rule] for rule in self._rules}
            plots.draw_owed(self.owed_axes, dict.fromkeys(self._rules, 0.0), forgetful)
            self._bars, marks = list(self.owed_axes.patches), self.owed_axes.lines[0]
            right = self.owed_axes.get_xlim()[1]
            inside = dict(color="white", fontsize=7, ha="right", va="center")
            self._beyond = [self.owed_axes.text(0.98 * right, y, "", **inside) for y in range(len(self._bars))]
            self._owed_title = self.owed_axes.set_title("what is still owed", fontsize=9)
            self._moving += [*self._bars, marks, *self._beyond, self._owed_title]
        for artist in self._moving:
            artist.set_animated(True)

    def _move(self, trained: list, evaluated: list):
        """Give curves, bars and titles the history's numbers."""
        steps, losses = [r.step for r in trained], [r.train_loss for r in trained]
        batches, mean, validation = self._curves
        batches.set_data(steps, losses)
        mean.set_data(steps, plots.running_mean(losses))
        validation.set_data([r.step for r in evaluated], [r.val_loss for r in evaluated])
        self._rate.set_data(steps, [r.lr for r in trained])
        self._rate_text.set_text(f"{trained[-1].lr:.2e}" if trained else "")
        self._title.set_text(pace(self.trainer))
        if self.floor and evaluated:
            last, right = evaluated[-1], self.owed_axes.get_xlim()[1]
            for rule, bar, beyond in zip(self._rules, self._bars, self._beyond, strict=True):
                bar.set_width(max(0.0, last.owed[rule]))
                beyond.set_text(f"{last.owed[rule]:.0f} →" if last.owed[rule] > right else "")
            self._owed_title.set_text(f"step {last.step}: {last.excess / self.floor.nats:.1%} above the floor")


def pace(trainer) -> str:
    """A line: where the training is, how fast, and how long it will still take."""
    total, trained = trainer.config.max_iters, [r for r in trainer.history[-20:] if r.train_loss is not None]
    if not trained:
        first = f", validation loss {trainer.history[-1].val_loss:.2f}" if trainer.history else ""
        return f"step 0 of {total}, before any training{first}"
    speed = float(np.median([r.tokens_per_s for r in trained]))
    left = "" if trained[-1].step == total else f"    about {trained[-1].remaining:.0f} s left"
    return f"step {trained[-1].step} of {total}    {speed:,.0f} tokens/s{left}"


@dataclass(frozen=True)
class Said:
    """A text from the fixed prompt. judged: the parser's word on it, None where no grammar is known."""

    step: int
    text: str
    valid: bool | None = None
    judged: str | None = None

    def __str__(self) -> str:
        verdict = "" if self.judged is None else f"{'✓' if self.valid else '✗'} {self.judged} · "
        return f"step {self.step} · {verdict}{self.text}"


def say(trainer, prompt: str) -> Said:
    """Let the model go on from the prompt and judge the whole. Its random numbers are its own; nothing else moves."""
    loader = trainer.loader
    text = sample_text(trainer.model, loader.tokenizer, prompt, LENGTH, SEED, **vars(SETTINGS))
    if loader.floor is None:
        return Said(trainer.step, text)
    verdict = tales.parse(text, loader.corpus.grammar)
    return Said(trainer.step, text, verdict.valid, verdict.message)


class View(ipywidgets.VBox):
    """Progress bar, picture, texts. Where there is no live front end, the picture alone."""

    def __init__(self, trainer, lines: dict[str, float], said: list[Said]):
        self.trainer, self.said = trainer, said
        style = {"bar_color": plots.BLUE, "description_width": "0"}
        self.bar = ipywidgets.IntProgress(0, 0, trainer.config.max_iters, style=style)
        self.numbers, self.words, self.figure = ipywidgets.HTML(), ipywidgets.HTML(), LossFigure(trainer, lines)
        self.tick()
        self.tell()
        super().__init__([ipywidgets.HBox([self.bar, self.numbers]), self.figure, self.words])

    def tick(self):
        self.bar.value, self.numbers.value = self.trainer.step, escape(pace(self.trainer))

    def tell(self):
        newest = [escape(str(one)) for one in self.said[: -TEXTS - 1 : -1]]
        self.words.value = "".join(f'<p style="max-width:900px;margin:4px 0">{one}</p>' for one in newest)

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = base64.b64encode(self.figure.value).decode()
        return {**data, "text/plain": "<loss curve>", "image/png": picture}, metadata


said_so_far: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # trainer → its texts, over stops


def watch(trainer, lines: dict[str, float], prompt: str | None = None) -> list[Said] | None:
    """Train to the end, or until ■ is pressed, and show how it goes; then say where it stands.

    ■ (Kernel → Interrupt) lets the present step finish and loses nothing: run the cell again to go on.
    prompt: the model goes on from it at each evaluation, and what it said is shown, judged where the grammar is known;
    the texts are returned, oldest first. They change no weight: training with and without them is equal bit for bit.
    """
    said = said_so_far.setdefault(trainer, [])
    view = View(trainer, lines, said)
    display(view)
    began = drawn = time.perf_counter()
    spent = dict.fromkeys(SHARES, 0.0)
    for record in trainer.run():
        now = time.perf_counter()
        allowed = {what: spent[what] <= share * (now - began) for what, share in SHARES.items()}
        last = record.step == trainer.config.max_iters
        if prompt is not None and record.val_loss is not None and (allowed["texts"] or last):
            said.append(say(trainer, prompt))
            view.tell()
            spent["texts"] += time.perf_counter() - now
        if now - drawn > PAUSE:
            drawn = time.perf_counter()
            view.tick()  # a bar and a line of words cost next to nothing
            if allowed["pictures"]:
                view.figure.update()
                if record.step:  # the one before any training lays out the axes, and would hold up the next for long
                    spent["pictures"] += time.perf_counter() - drawn
    view.tick()
    view.figure.update()
    print(trainer.status("run this cell again"))
    return said if prompt is not None else None
