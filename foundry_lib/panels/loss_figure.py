"""The live loss curve of a training: the known lines, the learning rate, and for tales the excess loss by rule."""

import math

import numpy as np
from matplotlib.axes import Axes

from .. import plots
from ..tales.floor import FREE
from .live_figure import LiveFigure


class LossFigure(LiveFigure):
    """The loss curve of a Trainer with the lines to compare it with (`baselines.reference_lines`); below, its rate.

    For tales, bars beside it show the excess loss by rule at the last evaluation. Axes, lines and names are drawn once
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
        bars = "; beside it a bar for each rule, its excess loss at the last evaluation" if self.floor else ""
        return f"<{self.name}: training and validation loss by step{lines}; below it the learning rate{bars}>"

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
        logarithmic = "floor" in self.lines
        room, highest = (1.25 if logarithmic else 1.0), max(heights, default=0.0)
        self.top = room * max(1.0, 1.1 * self.lines.get("ln V", 0.0))
        if highest > self.top:
            self.top = room * 1.05 * highest
        if logarithmic:
            self.bottom = min([0.75 * self.lines["floor"], *heights])
        else:
            self.bottom = max(0.0, math.floor(2 * min([*self.lines.values(), *heights], default=0.0)) / 2 - 0.5)
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10) if self.bottom < tick < self.top]
        self.axes.set(ylim=(self.bottom, self.top), xlabel="")
        if logarithmic:
            self.axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
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
        draw_excess(self.rule_axes, dict.fromkeys(self._rules, 0.0), {rule: forgetful[rule] for rule in self._rules})
        self._bars, marks = list(self.rule_axes.patches), self.rule_axes.lines[0]
        self._numbers = [self.rule_axes.text(0, y, "", fontsize=8, va="center") for y in range(len(self._bars))]
        self._rule_title = self.rule_axes.set_title("excess loss by rule", fontsize=9)
        return [*self._bars, marks, *self._numbers, self._rule_title]

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
            last, right = evaluated[-1], self.rule_axes.get_xlim()[1]
            for rule, bar, number in zip(self._rules, self._bars, self._numbers, strict=True):
                bar.set_width(max(0.0, last.owed[rule]))
                number.set(**at_the_end(bar.get_width(), right))
            self._rule_title.set_text(f"step {last.step}: {last.excess / self.floor.nats:.1%} above the floor")


def draw_excess(ax: Axes, excess: dict[str, float], forgetful: dict[str, float]):
    """The excess loss by rule: a bar each, in nats above the floor for each word that the rule fixes.

    excess: rule → nats. forgetful: rule → the excess loss of the no-memory baseline, drawn as a mark; the rule with the
    largest is on top.
    """
    ax.clear()
    rules = sorted(excess, key=lambda rule: forgetful[rule])
    y, right = np.arange(len(rules)), 1.25 * max(forgetful.values())
    heights = [max(0.0, excess[rule]) for rule in rules]
    ax.barh(y, heights, color=plots.ROLES["own model"], label="excess loss")
    ax.plot(
        [forgetful[rule] for rule in rules],
        y,
        "|",
        color=plots.ROLES["no memory"],
        ms=12,
        mew=2,
        label="no memory",
    )
    for row, height in zip(y, heights, strict=True):
        if height > right:  # before any training the excess is larger than the no-memory baseline's
            number = at_the_end(height, right)
            ax.text(number.pop("x"), row, number.pop("text"), fontsize=8, va="center", **number)
    ax.set_yticks(y, rules, fontsize=8)
    ax.set(xlim=(0, right), ylim=(-0.6, len(rules) - 0.4), xlabel="nats above the floor, per word")
    ax.grid(visible=False, axis="y")
    # The legend is below the axis and its label: a mark among those of the rules would read as one more rule.
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, ncols=2)


def at_the_end(width: float, right: float) -> dict:
    """Where and how the number of a bar stands: after the bar, or inside it with an arrow if the axis is too short.

    >>> at_the_end(0.25, 4.0)["text"], at_the_end(12.4, 4.0)["text"]
    ('0.25', '12 →')
    """
    if width > right:
        return dict(x=0.98 * right, text=f"{width:.0f} →", color="white", ha="right")
    if width > 0.8 * right:
        return dict(x=width - 0.02 * right, text=f"{width:.2f}", color="white", ha="right")
    return dict(x=width + 0.02 * right, text=f"{width:.2f}", color=plots.INK, ha="left")


def pace(trainer) -> str:
    """A line: the step, the speed, and the time that is left."""
    total, trained = trainer.config.max_iters, [r for r in trainer.history[-20:] if r.train_loss is not None]
    if not trained:
        first = f", validation loss {trainer.history[-1].val_loss:.2f}" if trainer.history else ""
        return f"step 0 of {total}, before any training{first}"
    speed = float(np.median([r.tokens_per_s for r in trained]))
    left = "" if trained[-1].step == total else f"    about {trained[-1].remaining:.0f} s left"
    return f"step {trained[-1].step} of {total}    {speed:,.0f} tokens/s{left}"
