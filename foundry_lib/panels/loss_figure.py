"""The live loss curve of a training: the known lines, the learning rate, and for tales the excess loss by rule."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .. import plots
from ..tales.floor import FREE
from .live_figure import LiveFigure


class LossFigure(LiveFigure):
    """The loss curve of a Trainer with the lines to compare it with (`baselines.reference_lines`); below, its rate.

    For tales, dots beside it show the excess loss by rule at the last evaluation. Axes, lines and names are drawn once
    and stored as pixels; an update draws only what moves, six times as fast.
    """

    def __init__(self, trainer, lines: dict[str, float]):
        self.floor = trainer.loader.floor
        super().__init__(9.5 if self.floor else 7.5, 4.2, name="loss curve")
        self.trainer, self.lines, self.total = trainer, lines, trainer.config.max_iters
        self._moving = []
        self.figure.clear()
        if self.floor:
            grid = self.figure.add_gridspec(2, 2, width_ratios=[2, 1], height_ratios=[4, 1])
            self.rule_axes = self.figure.add_subplot(grid[:, 1])
        else:
            grid = self.figure.add_gridspec(2, 1, height_ratios=[4, 1])
        self.axes, self.rate_axes = self.figure.add_subplot(grid[0, 0]), self.figure.add_subplot(grid[1, 0])
        self.update()

    def stored_text(self) -> str:
        """What the picture shows. It must be true at every step, so it holds no number of the training."""
        lines = f", with lines for {', '.join(self.lines)}" if self.lines else ""
        dots = "; beside it a dot for each rule, its excess loss at the last evaluation" if self.floor else ""
        return f"<{self.name}: training and validation loss by step{lines}; below it the learning rate{dots}>"

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
        """Draw the still part, with room for `heights`, and note the artists that move."""
        self._moving = [*self._lay_out_curve(heights), *self._lay_out_rate()]
        if self.floor:
            self._moving += self._lay_out_rules()
        for artist in self._moving:
            artist.set_animated(True)

    def _lay_out_curve(self, heights: list[float]) -> list:
        plots.draw_losses(self.axes, [np.nan], [np.nan], [np.nan], [np.nan], self.lines, self.total)
        self._curves = self.axes.lines[:3]
        stretched = "floor" in self.lines
        room, highest = (1.25 if stretched else 1.0), max(heights, default=0.0)
        self.top = room * max(1.0, 1.1 * self.lines.get("ln V", 0.0))
        if highest > self.top:
            self.top = room * 1.05 * highest
        if stretched:
            self.bottom = min([0.9 * self.lines["floor"], *heights])
            plots.stretch_near_floor(self.axes, self.bottom, self.top)
        else:
            self.bottom = max(0.0, math.floor(2 * min([*self.lines.values(), *heights], default=0.0)) / 2 - 0.5)
        self.axes.set(ylim=(self.bottom, self.top), xlabel="")
        self.axes.tick_params(labelbottom=False)
        return [*self._curves]

    def _lay_out_rate(self) -> list:
        self.rate_axes.clear()
        config = self.trainer.config
        steps = np.unique(np.linspace(0, self.total - 1, 200).round().astype(int))
        plan = [self.trainer.schedule(int(step), config) for step in steps]
        self.rate_axes.plot(steps + 1, plan, color=plots.GREY, ls=":", lw=1)
        self.rate_axes.set(xlim=(0, self.total), ylim=(0, 1.15 * max(plan)), xlabel="step", yticks=[])
        self.rate_axes.set_ylabel("learning\nrate", fontsize=8)
        (self._rate,) = self.rate_axes.plot([], [], color=plots.ROLES["schedule"], lw=1.8)
        corner = dict(transform=self.rate_axes.transAxes, ha="right", va="top", fontsize=8)
        self._rate_text = self.rate_axes.text(0.99, 0.95, "", **corner)
        return [self._rate, self._rate_text]

    def _lay_out_rules(self) -> list:
        forgetful = self.floor.forgetful_by_rule
        self._rules = sorted(set(self.floor.rules) - {FREE}, key=forgetful.__getitem__)
        draw_excess(self.rule_axes, {}, {rule: forgetful[rule] for rule in self._rules})
        self._dots, self._stems, self._numbers = excess_artists(self.rule_axes, len(self._rules))
        self._rule_title = self.rule_axes.set_title("excess loss by rule", fontsize=9)
        return [self._stems, self._dots, *self._numbers, self._rule_title]

    def _move(self, trained: list, evaluated: list):
        """Give curves, bars and titles the history's numbers."""
        steps, losses = [r.step for r in trained], [r.train_loss for r in trained]
        batches, mean, validation = self._curves
        batches.set_data(steps, losses)
        mean.set_data(plots.running_mean(steps), plots.running_mean(losses))
        validation.set_data([r.step for r in evaluated], [r.val_loss for r in evaluated])
        self._rate.set_data(steps, [r.lr for r in trained])
        self._rate_text.set_text(f"{trained[-1].lr:.2e}" if trained else "")
        if self.floor and evaluated:
            last, forgetful = evaluated[-1], self.floor.forgetful_by_rule
            pairs = [(last.owed[rule], forgetful[rule]) for rule in self._rules]
            show_excess(self._dots, self._stems, self._numbers, *zip(*pairs, strict=True))
            self._rule_title.set_text(f"step {last.step}: {last.excess / self.floor.nats:.1%} above the floor")


LEAST, MOST = 0.002, 200.0  # nats: the ends of the axis. A smaller excess, or none, is at its left end


def draw_excess(ax: Axes, excess: dict[str, float], forgetful: dict[str, float]):
    """The excess loss by rule: a dot each, in nats above the floor for each word that the rule fixes, log scale.

    excess: rule → nats; {} draws no dots. forgetful: rule → the excess loss of the no-memory baseline, drawn as a mark;
    the rule with the largest is on top. A line runs from each dot to its mark, and the number is at the right edge.
    """
    ax.clear()
    rules = sorted(forgetful, key=lambda rule: forgetful[rule])
    marks, y = [forgetful[rule] for rule in rules], np.arange(len(rules))
    ax.plot(marks, y, "|", color=plots.ROLES["no memory"], ms=12, mew=2, label="no memory")
    moving = excess_artists(ax, len(rules))
    if excess:
        show_excess(*moving, [excess[rule] for rule in rules], marks)
    ax.set_yticks(y, rules, fontsize=8)
    ax.set(xscale="log", xlim=(LEAST, MOST), ylim=(-0.6, len(rules) - 0.4))
    ax.set_xlabel("nats above the floor, per word", fontsize=9)
    ax.set_xticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    ax.minorticks_off()
    ax.grid(visible=False, axis="y")
    # The legend is below the axis and its label: a mark among those of the rules would read as one more rule.
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, ncols=2)


def excess_artists(ax: Axes, n: int) -> tuple:
    """What moves in `draw_excess`: the dots, the lines from the dots to the marks, and a number for each dot."""
    blue, right = plots.ROLES["own model"], ax.get_yaxis_transform()  # x counts from 0 to 1 across the axes
    stems = ax.hlines([], [], [], color=blue, lw=1.5, alpha=0.6)
    (dots,) = ax.plot([], [], "o", color=blue, ms=6, label="the model")
    return dots, stems, [ax.text(0.99, y, "", transform=right, fontsize=8, ha="right", va="center") for y in range(n)]


def show_excess(dots, stems, numbers, excess: Sequence[float], marks: Sequence[float]):
    """Move dots, lines and numbers to `excess`, which is below 0 by chance where nearly all is learned."""
    at = [min(max(LEAST, nats), MOST) for nats in excess]
    dots.set_data(at, range(len(at)))
    stems.set_segments([[(x, y), (mark, y)] for y, (x, mark) in enumerate(zip(at, marks, strict=True))])
    for number, nats in zip(numbers, excess, strict=True):
        number.set_text(in_short(nats))


def in_short(nats: float) -> str:
    """An excess for a label, with more digits the smaller it is.

    >>> in_short(12.42), in_short(0.0134), in_short(-0.0002), in_short(-0.013), in_short(134.2)
    ('12', '0.013', '0.000', '-0.013', '134')
    """
    digits = 0 if abs(nats) >= 10 else 3 if abs(nats) < 0.1 else 2
    return f"{round(nats, digits) + 0.0:.{digits}f}"  # + 0.0: a zero without a sign


def end_in_words(trainer) -> str:
    """The numbers at which the curve ends, in one line for a reader who cannot see it; "" before the first step."""
    losses = [r.train_loss for r in trainer.history if r.train_loss is not None]
    evaluated = [r for r in trainer.history if r.val_loss is not None]
    if not losses or not evaluated:
        return ""
    lowest, last, floor = min(evaluated, key=lambda r: r.val_loss), evaluated[-1], trainer.loader.floor
    words = f"The curve at step {trainer.step}: training loss {plots.running_mean(losses)[-1]:.2f} (mean of 20 steps), "
    words += f"validation loss {last.val_loss:.2f}, lowest {lowest.val_loss:.2f} at step {lowest.step}"
    return words + (f", {last.excess / floor.nats:.1%} above the floor." if floor else ".")


def pace(trainer) -> str:
    """A line: the step, the speed, and the time that is left."""
    total, trained = trainer.config.max_iters, [r for r in trainer.history[-20:] if r.train_loss is not None]
    if not trained:
        first = f", validation loss {trainer.history[-1].val_loss:.2f}" if trainer.history else ""
        return f"step 0 of {total}, before any training{first}"
    speed = float(np.median([r.tokens_per_s for r in trained]))
    left = "" if trained[-1].step == total else f"    about {trained[-1].remaining:.0f} s left"
    return f"step {trained[-1].step} of {total}    {speed:,.0f} tokens/s{left}"
