"""A training, seen while it runs."""

import time

from IPython.display import display

from . import plots
from .tales.floor import FREE
from .widgets import LiveFigure


class LossFigure(LiveFigure):
    """The loss curve of a Trainer with the lines to compare it with (`baselines.reference_lines`).

    For tales a second picture beside it shows what is still owed, rule by rule, at the last evaluation.
    """

    def __init__(self, trainer, lines: dict[str, float]):
        with_rules = trainer.loader.floor is not None
        super().__init__(9.5 if with_rules else 7.5, 3.6, name="loss curve")
        self.trainer, self.lines = trainer, lines
        if with_rules:
            self.figure.clear()
            self.axes, self.owed_axes = self.figure.subplots(1, 2, width_ratios=[2, 1])
        self.update()

    def update(self):
        history, total = self.trainer.history, self.trainer.config.max_iters
        trained = [r for r in history if r.train_loss is not None]
        evaluated = [r for r in history if r.val_loss is not None]
        plots.draw_losses(
            self.axes,
            [r.step for r in trained],
            [r.train_loss for r in trained],
            [r.step for r in evaluated],
            [r.val_loss for r in evaluated],
            self.lines,
            total,
        )
        floor = self.trainer.loader.floor
        if floor is not None and evaluated:
            last = evaluated[-1]
            rules = [rule for rule in floor.rules if rule != FREE]
            plots.draw_owed(self.owed_axes, {rule: last.owed[rule] for rule in rules}, floor.forgetful_by_rule)
            self.owed_axes.set_title(f"step {last.step}: {last.excess / floor.nats:.1%} above the floor", fontsize=9)
        if trained:
            last = trained[-1]
            self.axes.set_title(
                f"step {last.step} of {total}    {last.tokens_per_s:,.0f} tokens/s    "
                f"about {last.remaining:.0f} s left",
                fontsize=9,
                loc="left",
            )
        self.redraw()


# A redraw waits until at least this many times its own cost has passed, so that watching costs at most 1/40.
PATIENCE = 40


def watch(trainer, lines: dict[str, float]):
    """Train to the end, or until ■ is pressed, and show the loss curve as it grows; then say where it stands.

    ■ (Kernel → Interrupt) lets the present step finish and loses nothing: run the cell again to go on.
    """
    figure = LossFigure(trainer, lines)
    display(figure)
    drawn = time.perf_counter()
    for _ in trainer.run():
        if time.perf_counter() - drawn > max(0.5, PATIENCE * figure.seconds_to_draw):
            figure.update()
            drawn = time.perf_counter()
    figure.update()
    print(trainer.status())
